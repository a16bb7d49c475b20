package main

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
)

// parallelCases are ten independent builds of twenty steps in one template.
func parallelCases(l *lab) []benchmark {
	const section, count = "Ten builds of 20 steps", 10
	var cases []benchmark
	for _, engine := range []string{"embedded", "docker"} {
		file := "parallel-" + engine + ".yaml"
		bake := func(tool string, args ...string) contestant {
			build := func() *exec.Cmd {
				return l.cmd(l.bake, append([]string{file, "--engine", engine, "--no-cache"}, args...)...)
			}
			c := contestant{tool: tool, command: build, setup: func(ctx context.Context) error {
				if engine == "docker" {
					if err := l.baseDocker(ctx); err != nil {
						return err
					}
				}
				base, err := l.baseTar(ctx)
				if err != nil {
					return err
				}
				if _, err := l.file(file, manyBuilds(base, count)); err != nil {
					return err
				}
				return l.do(ctx, build())
			}}
			if engine == "docker" {
				c.needs = "dockerd"
			}
			return c
		}
		cases = append(cases, benchmark{section, engine + " engine",
			[]contestant{bake("bake, in parallel"), bake("bake, one after another", "--parallel", "1")}})
	}
	dir := "parallel-docker"
	write := l.fileFor(dir+"/Dockerfile", steps(20, ""), cold, dockerfile)
	cases[1].contestants = append(cases[1].contestants, contestant{tool: "docker build, 10 at once", needs: "dockerd",
		setup:  l.baseDocker,
		before: write,
		command: func() *exec.Cmd {
			return l.cmd("sh", "-ec", `for i in 0 1 2 3 4 5 6 7 8 9; do docker build -q --no-cache -t bench-out-$i "$1" & done; wait`, "sh", dir)
		}})
	return cases
}

// manyBuilds is a template of count builds that differ in one word of each step.
func manyBuilds(base string, count int) string {
	var b strings.Builder
	b.WriteString("name: bench\nbuilds:\n")
	for i := range count {
		fmt.Fprintf(&b, "  build%d:\n    source: {rootfs: %s}\n    steps:\n", i, base)
		for _, s := range steps(20, "") {
			fmt.Fprintf(&b, "      - run: %s\n", strings.Replace(s, "echo", fmt.Sprintf("echo build %d", i), 1))
		}
	}
	return b.String()
}
