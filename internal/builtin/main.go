package builtin

import (
	"context"
	"os"
	"path/filepath"
	"strings"

	"bake/internal/builtin/applet"
	"bake/internal/builtin/sh"
)

// shellBuiltins are the utilities that the interpreter has; as programs they
// are one-line scripts.
func shellBuiltins() []string { return []string{"echo", "printf", "pwd", "test", "["} }

// Main runs the utility that argv[0] names and returns its exit status; ok is
// false if the name is none of a utility, and nothing was done. It comes first
// in main: what stands before it slows every command of every script.
func Main(argv []string) (code int, ok bool) {
	name := strings.TrimPrefix(filepath.Base(argv[0]), "-") // a login shell's name has a minus
	if name == filepath.Base(applet.Program) {
		return 0, false
	}
	ctx := context.Background()
	table := applet.All()
	if name == "sh" {
		return sh.Main(ctx, argv[1:], table), true
	}
	for _, b := range shellBuiltins() {
		if name == b {
			return sh.Main(ctx, append([]string{"-c", name + ` "$@"`, name}, argv[1:]...), table), true
		}
	}
	f, ok := table[name]
	if !ok {
		return 0, false
	}
	dir, err := os.Getwd()
	if err != nil {
		dir = "/"
	}
	return f.Run(ctx, &applet.Call{Name: name, Args: argv[1:], Dir: dir, Env: os.Environ(), Table: table,
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr}), true
}

// names are the links in /bin, unsorted.
func names() []string {
	list := append([]string{"sh"}, shellBuiltins()...)
	for name := range applet.All() {
		list = append(list, name)
	}
	return list
}
