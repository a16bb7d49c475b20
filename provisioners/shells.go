package provisioners

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"bake/builder"
	"bake/internal/shell"
	"bake/templates"
)

// strictFlags make a shell stop at the first command that fails.
func strictFlags(name string) []string {
	switch name {
	case "sh", "dash", "ash":
		return []string{"-e"}
	case "bash":
		return []string{"-euo", "pipefail"}
	case "zsh", "ksh", "mksh":
		return []string{"-euo", "pipefail"}
	}
	return nil
}

// isShell reports whether the interpreter is a shell, which takes `set --`.
func isShell(words []string) bool {
	for _, w := range words {
		name := path.Base(w)
		if strictFlags(name) != nil {
			return true
		}
		if name != "env" && name != "busybox" && !strings.HasPrefix(w, "-") {
			return false
		}
	}
	return false
}

// interpreter returns the program that reads a script. choice is what the
// template says: nothing, a name or path, which gets the flags of its strict
// mode, or a command line, which is taken as it stands. Without a choice the
// script's own #! line counts, else it is the strict /bin/sh.
func interpreter(choice, script string, strict bool) []string {
	words := strings.Fields(choice)
	if len(words) == 0 {
		if own := shebang(script); own != nil {
			return own
		}
		words = []string{"sh"}
	}
	alone := len(words) == 1
	name := path.Base(words[0])
	if !strings.Contains(words[0], "/") {
		words = slices.Concat(program(name), words[1:])
	}
	if alone && strict {
		words = append(words, strictFlags(name)...)
	}
	return words
}

// program returns how to start what is named without a path. Everything has
// its shells in /bin; the rest is looked up on the machine.
func program(name string) []string {
	if strictFlags(name) != nil {
		return []string{"/bin/" + name}
	}
	return []string{"/usr/bin/env", name}
}

// shebang returns the interpreter of a #! line as the kernel would start it:
// the program and, as one word, the rest of the line. Nil if there is none.
func shebang(script string) []string {
	line, _, _ := strings.Cut(script, "\n")
	line, ok := strings.CutPrefix(line, "#!")
	if !ok {
		return nil
	}
	prog, arg, _ := strings.Cut(strings.TrimSpace(line), " ")
	if prog == "" {
		return nil
	}
	if arg = strings.TrimSpace(arg); arg == "" {
		return []string{prog}
	}
	if path.Base(prog) == "env" {
		return append([]string{prog}, strings.Fields(strings.TrimPrefix(arg, "-S "))...)
	}
	return []string{prog, arg}
}

// allowed turns an exit code that the template allows into success and a note.
func allowed(err error, codes []int) (note string, _ error) {
	exit, ok := errors.AsType[*builder.ExitError](err)
	if len(codes) == 0 {
		codes = []int{0}
	}
	switch {
	case err == nil && slices.Contains(codes, 0):
		return "", nil
	case err == nil:
		return "", fmt.Errorf("exit status 0, want one of %v", codes)
	case ok && exit.Signal == "" && slices.Contains(codes, exit.Code):
		return fmt.Sprintf("exit status %d, which is allowed", exit.Code), nil
	}
	return "", err
}

// checkCodes reports exit codes that no program ends with.
func checkCodes(b templates.Block, codes []int) (ds templates.Diagnostics) {
	for i, c := range codes {
		if c < 0 || c > 255 {
			ds = append(ds, b.At("exit_codes", fmt.Sprint(i)).Errorf("exit code %d: must be from 0 to 255", c))
		}
	}
	return ds
}

// A guard decides on the machine whether a step has anything to do.
type guard struct {
	creates        []string
	unless, onlyIf string
}

// skip reports why there is nothing to do; empty if there is. It costs no
// exchange if the template has no guards.
func (g guard) skip(ctx context.Context, comm builder.Communicator) (string, error) {
	var s strings.Builder
	if len(g.creates) > 0 {
		s.WriteString("if")
		for i, p := range g.creates {
			if i > 0 {
				s.WriteString(" &&")
			}
			fmt.Fprintf(&s, " { [ -e %[1]s ] || [ -h %[1]s ]; }", shell.Quote(p))
		}
		s.WriteString("; then echo bake:creates; exit 0; fi\n")
	}
	if g.unless != "" {
		fmt.Fprintf(&s, "if (\n%s\n) >/dev/null 2>&1; then echo bake:unless; exit 0; fi\n", g.unless)
	}
	if g.onlyIf != "" {
		fmt.Fprintf(&s, "if (\n%s\n) >/dev/null 2>&1; then :; else echo bake:only_if; exit 0; fi\n", g.onlyIf)
	}
	if s.Len() == 0 {
		return "", nil
	}
	var out bytes.Buffer
	if err := comm.Run(ctx, builder.Command{Script: s.String(), Shell: []string{"/bin/sh"}, Stdout: &out, Stderr: io.Discard}); err != nil {
		return "", fmt.Errorf("asking whether there is anything to do: %w", err)
	}
	switch strings.TrimSpace(out.String()) {
	case "bake:creates":
		return strings.Join(g.creates, ", ") + " is there", nil
	case "bake:unless":
		return "`unless` holds", nil
	case "bake:only_if":
		return "`only_if` does not hold", nil
	}
	return "", nil
}

// ask runs one of bake's own scripts: /bin/sh, whose commands write for people
// to stderr and for bake lines "bake:key value" to stdout. It returns those by
// key, in order. User-visible output goes to show.
func ask(ctx context.Context, comm builder.Communicator, script string, show io.Writer) (map[string][]string, error) {
	var out bytes.Buffer
	err := comm.Run(ctx, builder.Command{Script: script, Shell: []string{"/bin/sh", "-e"}, Stdout: &out, Stderr: show})
	answers := map[string][]string{}
	for line := range strings.Lines(out.String()) {
		rest, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "bake:")
		if !ok {
			continue
		}
		key, value, _ := strings.Cut(rest, " ")
		answers[key] = append(answers[key], value)
	}
	return answers, err
}
