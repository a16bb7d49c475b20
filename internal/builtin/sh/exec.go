package sh

import (
	"bytes"
	"context"
	"os"
	"sort"

	"mvdan.cc/sh/v3/expand"
	"mvdan.cc/sh/v3/interp"

	"bake/internal/builtin/applet"
)

// An executor runs the commands that are neither functions nor builtins.
type executor struct {
	table applet.Table
	traps *traps
	fds   *descriptors
}

func (e executor) exec(ctx context.Context, args []string) error {
	hc := interp.HandlerCtx(ctx)
	if args[0] == descriptor {
		return e.fds.run(hc, args[1:])
	}
	c := &applet.Call{
		Dir: hc.Dir, Env: environ(hc.Env), Table: e.table, Kill: e.traps.kill,
		Stdin: hc.Stdin, Stdout: hc.Stdout, Stderr: hc.Stderr,
	}
	if f, ok := hc.Stdin.(*os.File); hc.Stdin == nil || ok && f == nil {
		c.Stdin = bytes.NewReader(nil) // <&-
	}
	if args[0] == outliving {
		if code := c.Outlive(args[1:]); code != 0 {
			return interp.ExitStatus(code)
		}
		return nil
	}
	if args[0] == replacing {
		c.Forward, args = true, args[1:]
	}
	code := c.Exec(ctx, args)
	if err := ctx.Err(); err != nil {
		return err
	}
	if code != 0 {
		return interp.ExitStatus(code)
	}
	return nil
}

// environ lists the exported variables as programs get them.
func environ(env expand.Environ) []string {
	values := map[string]string{}
	for name, v := range env.Each {
		// An inner scope comes after the outer one it hides.
		delete(values, name)
		if v.Exported && v.IsSet() && v.Kind == expand.String {
			values[name] = v.Str
		}
	}
	list := make([]string, 0, len(values))
	for name, value := range values {
		list = append(list, name+"="+value)
	}
	sort.Strings(list)
	return list
}
