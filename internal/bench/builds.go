package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

const buildSection = "Container builds"

// buildCases are builds of trivial steps: what the tools add to the work itself.
func buildCases(l *lab) []benchmark {
	one, twenty := steps(1, ""), steps(20, "")
	return []benchmark{
		{buildSection, "1 step + commit", append(l.bakes(one, cold), l.peers(one, cold)...)},
		{buildSection, "20 steps", append(l.bakes(twenty, cold), l.peers(twenty, cold)...)},
		{buildSection, "20 steps, nothing changed", append(l.bakes(twenty, warm), l.peers(twenty, warm)...)},
		{buildSection, "20 steps, the last one changed", append(l.bakes(twenty, lastChanged), l.peers(twenty, lastChanged)...)},
		{buildSection, "20 steps + root filesystem tar", l.exports(twenty)},
	}
}

// A state is what a build finds of earlier ones.
type state int

const (
	cold        state = iota // nothing may be reused but the base
	warm                     // the same was built before
	lastChanged              // the same but for the last step was built before
)

// bakes are bake on both engines. A cold build uses --no-cache: the base is
// there, as it is for the peers, and no step is reused.
func (l *lab) bakes(list []string, s state) []contestant {
	var out []contestant
	for _, engine := range []string{"embedded", "docker"} {
		file := fmt.Sprintf("bake-%s-%d.yaml", engine, len(list))
		c := contestant{tool: "bake " + engine}
		build := func() *exec.Cmd {
			args := []string{file, "--engine", engine}
			if s == cold {
				args = append(args, "--no-cache")
			}
			return l.cmd(l.bake, args...)
		}
		write := func(ctx context.Context, last string) error {
			base, err := l.baseTar(ctx)
			if err != nil {
				return err
			}
			steps := append([]string{}, list...)
			if last != "" {
				steps[len(steps)-1] = "echo " + last + " > /last"
			}
			_, err = l.file(file, bakeTemplate("source: {rootfs: "+base+"}", steps, ""))
			return err
		}
		c.setup = func(ctx context.Context) error {
			if engine == "docker" {
				if err := l.baseDocker(ctx); err != nil {
					return err
				}
			}
			if err := write(ctx, ""); err != nil {
				return err
			}
			// The base is imported, and for the warm states all is built once.
			return l.do(ctx, build())
		}
		if s == lastChanged {
			c.before = func(ctx context.Context) error { return write(ctx, fmt.Sprint("change ", l.fresh())) }
		}
		if engine == "docker" {
			c.needs = "dockerd"
		}
		c.command = build
		out = append(out, c)
	}
	return out
}

// peers are the other tools at the same build.
func (l *lab) peers(list []string, s state) []contestant {
	return []contestant{l.dockerBuild(list, s), l.buildahBud(list, s), l.packerBuild(list, s)}
}

// fileFor makes the before of a peer, which writes its input anew.
func (l *lab) fileFor(name string, list []string, s state, render func([]string) string) func(context.Context) error {
	return func(context.Context) error {
		steps := append([]string{}, list...)
		if s == lastChanged {
			steps[len(steps)-1] = fmt.Sprintf("echo change %d > /last", l.fresh())
		}
		_, err := l.file(name, render(steps))
		return err
	}
}

func (l *lab) dockerBuild(list []string, s state) contestant {
	dir := fmt.Sprintf("docker-build-%d", len(list))
	write := l.fileFor(filepath.Join(dir, "Dockerfile"), list, s, dockerfile)
	build := func() *exec.Cmd {
		args := []string{"build", "-q", "-t", "bench-out", dir}
		if s == cold {
			args = append(args, "--no-cache")
		}
		return l.cmd("docker", args...)
	}
	return contestant{tool: "docker build (classic)", needs: "dockerd", before: write, command: build,
		setup: func(ctx context.Context) error {
			if err := errors.Join(l.baseDocker(ctx), write(ctx)); err != nil || s == cold {
				return err
			}
			return l.do(ctx, build())
		}}
}

func (l *lab) buildah(args ...string) *exec.Cmd {
	global := []string{"--root", l.path("buildah", "root"), "--runroot", l.path("buildah", "run"), "--storage-driver", "overlay"}
	cmd := l.cmd("buildah", append(global, args...)...)
	cmd.Env = append(cmd.Env, "BUILDAH_ISOLATION=chroot")
	return cmd
}

func (l *lab) buildahBud(list []string, s state) contestant {
	dir := fmt.Sprintf("buildah-bud-%d", len(list))
	write := l.fileFor(filepath.Join(dir, "Dockerfile"), list, s, func(steps []string) string {
		return "FROM localhost/bench-base\n" + dockerfile(steps)[len("FROM bench-base\n"):]
	})
	build := func() *exec.Cmd {
		args := []string{"bud", "--quiet", "--layers", "-t", "bench-out"}
		if s == cold {
			args = append(args, "--no-cache")
		}
		return l.buildah(append(args, dir)...)
	}
	return contestant{tool: "buildah bud", needs: "buildah", before: write, command: build, note: "a layer per step, chroot isolation",
		setup: func(ctx context.Context) error {
			if err := errors.Join(l.baseBuildah(ctx), write(ctx)); err != nil || s == cold {
				return err
			}
			return l.do(ctx, build())
		}}
}

func (l *lab) packerBuild(list []string, s state) contestant {
	file := fmt.Sprintf("packer-%d.json", len(list))
	return contestant{tool: "packer docker builder", needs: "packer", note: "one layer, no cache",
		setup:   l.baseDocker,
		before:  l.fileFor(file, list, s, func(steps []string) string { return packerTemplate(steps, `"commit": true`) }),
		command: func() *exec.Cmd { return l.cmd("packer", "build", file) }}
}

// exports build without a cache and write the root filesystem as a tar.
func (l *lab) exports(list []string) []contestant {
	out := l.bakes(list, cold)
	for i := range out {
		engine := []string{"embedded", "docker"}[i]
		file := "bake-export-" + engine + ".yaml"
		build := func() *exec.Cmd { return l.cmd(l.bake, file, "--engine", engine, "--no-cache") }
		out[i].command = build
		out[i].setup = func(ctx context.Context) error {
			if engine == "docker" {
				if err := l.baseDocker(ctx); err != nil {
					return err
				}
			}
			base, err := l.baseTar(ctx)
			if err != nil {
				return err
			}
			rest := "outputs:\n  - archive: {path: " + l.path("export", engine+".tar") + ", format: rootfs, compression: none}\n"
			if _, err := l.file(file, bakeTemplate("source: {rootfs: "+base+"}", list, rest)); err != nil {
				return err
			}
			return l.do(ctx, build())
		}
		out[i].before = func(context.Context) error {
			return errors.Join(os.RemoveAll(l.path("export")), os.MkdirAll(l.path("export"), 0o755))
		}
	}
	docker := l.dockerBuild(list, cold)
	docker.tool = "docker build, create, export"
	docker.command = func() *exec.Cmd {
		return l.cmd("sh", "-ec", `docker build -q --no-cache -t bench-out "$1"
id=$(docker create bench-out true)
docker export -o "$2" "$id"
docker rm "$id"`, "sh", fmt.Sprintf("docker-build-%d", len(list)), l.path("docker-export.tar"))
	}
	packer := contestant{tool: "packer docker builder", needs: "packer", setup: l.baseDocker,
		before: l.fileFor("packer-export.json", list, cold, func(s []string) string {
			return packerTemplate(s, fmt.Sprintf(`"export_path": %q`, l.path("packer.tar")))
		}),
		command: func() *exec.Cmd { return l.cmd("packer", "build", "-force", "packer-export.json") }}
	return append(out, docker, packer)
}
