package docker

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/docker/docker/api/types/container"

	"bake/builder"
	"bake/internal/shell"
)

// A terminal echoes its input and gives it a meaning, so nothing can travel on
// it. With TTY the script goes ahead into a file in /dev/shm, which is memory
// of the container and part of no image, and the environment is the exec's own.

const (
	storeText = `umask 077; while IFS= read -r bake_l; do printf "%s\n" "$bake_l"; done >"$1"`
	// The descriptor, not the name, leads to the script: the file is gone before it runs.
	terminalText = `echo "$$"; bake_f=$1; shift; exec 3<"$bake_f"; rm -f "$bake_f" 2>/dev/null; exec "$@" /dev/fd/3`
	programText  = `echo "$$"; exec "$@"`
)

func (c *communicator) runTTY(ctx context.Context, cmd builder.Command) error {
	opts := container.ExecOptions{User: cmd.User, WorkingDir: cmd.Dir, Tty: true, Env: environ(cmd.Env)}
	if len(cmd.Argv) > 0 {
		opts.Cmd = append([]string{"/bin/sh", "-c", programText, "bake"}, cmd.Argv...)
		return c.exec(ctx, opts, cmd.Stdin, cmd.Stdout, cmd.Stderr)
	}
	file := "/dev/shm/bake-" + rand.Text()
	if err := c.store(ctx, cmd, file); err != nil {
		return err
	}
	interpreter := cmd.Shell
	if len(interpreter) == 0 {
		interpreter = []string{"/bin/sh", "-e"}
	}
	opts.Cmd = append([]string{"/bin/sh", "-c", terminalText, "bake", file}, interpreter...)
	return c.exec(ctx, opts, nil, cmd.Stdout, cmd.Stderr)
}

// store writes the script to a file that only the command's user may read.
func (c *communicator) store(ctx context.Context, cmd builder.Command, file string) error {
	err := c.exec(ctx, storing(cmd.User, file), scriptInput(cmd.Script), nil, nil)
	if exit, ok := errors.AsType[*builder.ExitError](err); ok {
		return errors.Join(errors.New("storing a script in /dev/shm"), exit)
	}
	return err
}

func environ(env map[string]string) []string {
	var list []string
	for _, name := range slices.Sorted(maps.Keys(env)) {
		list = append(list, name+"="+env[name])
	}
	return list
}

func storing(user, file string) container.ExecOptions {
	l := shell.LoadProgram([]string{"/bin/sh", "-c", storeText, "bake", file}, nil)
	return container.ExecOptions{User: user, Cmd: l.Argv}
}

func scriptInput(script string) io.Reader {
	head := shell.LoadProgram(nil, nil).Head
	return strings.NewReader(head + strings.TrimSuffix(script, "\n") + "\n")
}
