package main

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
)

// startCases are what a tool costs before it does anything.
func startCases(l *lab) []benchmark {
	const section = "Start"
	cases := []benchmark{{section, "version", []contestant{
		{tool: "bake", command: func() *exec.Cmd { return l.cmd(l.bake, "version") }},
		{tool: "packer", needs: "packer", command: func() *exec.Cmd { return l.cmd("packer", "version") }},
		{tool: "docker", needs: "docker", command: func() *exec.Cmd { return l.cmd("docker", "--version") }},
		{tool: "crane", needs: "crane", command: func() *exec.Cmd { return l.cmd("crane", "version") }},
	}}}
	for _, n := range []int{20, 100} {
		bakeFile, packerFile := fmt.Sprintf("validate-%d.yaml", n), fmt.Sprintf("validate-%d.json", n)
		cases = append(cases, benchmark{section, fmt.Sprintf("validate, %d steps", n), []contestant{
			{tool: "bake",
				setup: func(context.Context) error {
					_, err := l.file(bakeFile, bakeTemplate("source: {builtin: true}", steps(n, ""), ""))
					return err
				},
				command: func() *exec.Cmd { return l.cmd(l.bake, "validate", bakeFile) }},
			{tool: "packer", needs: "packer",
				setup: func(context.Context) error {
					_, err := l.file(packerFile, packerTemplate(steps(n, ""), `"discard": true`))
					return err
				},
				command: func() *exec.Cmd { return l.cmd("packer", "validate", packerFile) }},
		}})
	}
	return cases
}

// steps are n trivial commands, each of which leaves a file; last replaces the
// text of the last one if it is not empty.
func steps(n int, last string) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf("echo step %d > /step%d", i, i)
	}
	if last != "" {
		list[n-1] = "echo " + last + " > /last"
	}
	return list
}

// bakeTemplate is a template of one build; rest is what comes behind the steps.
func bakeTemplate(source string, steps []string, rest string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "name: bench\n%s\nsteps:\n", source)
	for _, s := range steps {
		fmt.Fprintf(&b, "  - run: %s\n", s)
	}
	return b.String() + rest
}

// packerTemplate is the same for packer: its docker builder with one shell
// provisioner for each step.
func packerTemplate(steps []string, how string) string {
	var b strings.Builder
	fmt.Fprintf(&b, `{"builders": [{"type": "docker", "image": "bench-base:latest", "pull": false, %s}], "provisioners": [`, how)
	for i, s := range steps {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, `{"type": "shell", "inline": [%q]}`, s)
	}
	return b.String() + "]}\n"
}

// dockerfile is the same as a Dockerfile.
func dockerfile(steps []string) string {
	return "FROM bench-base\nRUN " + strings.Join(steps, "\nRUN ") + "\n"
}
