package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

const (
	pushSection = "Push to a registry on loopback"
	layerCount  = 5
)

// pushCases push an image of five layers, half compressible. "first" is to an
// empty registry, a new one each time; "again" is the same once more. What a
// tool needs, it has before: the image in its engine, store or layout.
func pushCases(l *lab) []benchmark {
	var cases []benchmark
	size := fmt.Sprintf("%d MiB", l.size>>20)
	for _, again := range []bool{false, true} {
		name := size + ", first"
		if again {
			name = size + ", again"
		}
		p := &pusher{lab: l, again: again}
		cases = append(cases,
			benchmark{pushSection, name + ", from the engine", []contestant{p.bakeDocker(), p.dockerPush(), p.skopeoEngine()}},
			benchmark{pushSection, name + ", from a store", []contestant{p.bakeStore(), p.bakeLayout(), p.skopeoLayout()}})
	}
	return cases
}

// A pusher makes the contestants of one state of the registry.
type pusher struct {
	*lab
	again    bool
	registry *registry
}

// target is a repository in the registry of this run.
func (p *pusher) target() string { return p.registry.address + "/bench" }

// ready gives a contestant its registry: empty, or, to push again, filled by a push of its own.
func (p *pusher) ready(c contestant) contestant {
	push := c.command
	setup, write := c.setup, c.before
	empty := func(ctx context.Context) error {
		if p.registry != nil {
			if err := p.registry.stop(); err != nil {
				return err
			}
		}
		var err error
		if p.registry, err = startRegistry(ctx, p.path(fmt.Sprint("registry-", p.fresh()))); err != nil {
			return err
		}
		p.closers = append(p.closers, p.registry.stop)
		if write != nil {
			return write(ctx)
		}
		return nil
	}
	c.before = nil
	if !p.again {
		c.before = empty
	}
	c.setup = func(ctx context.Context) error {
		if p.tools["docker-registry"] == "" {
			return errors.New("docker-registry is not installed")
		}
		if err := setup(ctx); err != nil || !p.again {
			return err
		}
		if err := empty(ctx); err != nil {
			return err
		}
		return p.do(ctx, push())
	}
	return c
}

// layout makes the image as an OCI layout, its layers already compressed, out
// of what docker holds.
func (p *pusher) layout(ctx context.Context) error {
	if err := p.engineImage(ctx); err != nil {
		return err
	}
	return p.once("writing the OCI layout", func() error {
		return p.do(ctx, p.cmd("skopeo", "copy", "-q", "--src-daemon-host", p.docker, "docker-daemon:bench-push:latest", "oci:"+p.path("layout")+":latest"))
	})
}

// data writes one file for each layer.
func (p *pusher) data() error {
	return p.once("writing the data", func() error {
		if err := os.MkdirAll(p.path("data"), 0o755); err != nil {
			return err
		}
		for i := range layerCount {
			if err := writeHalfCompressible(p.path("data", fmt.Sprintf("layer%d", i)), p.size/layerCount, uint64(i+1)); err != nil {
				return err
			}
		}
		return nil
	})
}

// engineImage makes the image in the Docker engine.
func (p *pusher) engineImage(ctx context.Context) error {
	if err := errors.Join(p.engine(), p.data()); err != nil {
		return err
	}
	return p.once("building the image in docker", func() error {
		text := "FROM scratch\n"
		for i := range layerCount {
			text += fmt.Sprintf("COPY layer%d /layer%d\n", i, i)
		}
		if _, err := p.file("data/Dockerfile", text); err != nil {
			return err
		}
		return p.do(ctx, p.cmd("docker", "build", "-q", "-t", "bench-push", p.path("data")))
	})
}

func (p *pusher) bakePush(tool, engine, source string, steps func() string, setup func(context.Context) error) contestant {
	file := "push-" + strings.ReplaceAll(tool, " ", "-") + ".yaml"
	write := func(ctx context.Context) error {
		rest := "outputs:\n  - registry: {repository: " + p.target() + ", tags: [latest]}\n"
		text := "name: bench\nsource: " + source + "\n"
		if s := steps(); s != "" {
			text += "steps:\n" + s
		}
		_, err := p.file(file, text+rest)
		return err
	}
	return p.ready(contestant{tool: tool, setup: setup, before: write,
		command: func() *exec.Cmd { return p.cmd(p.bake, file, "--engine", engine) }})
}

func noSteps() string { return "" }

func (p *pusher) bakeDocker() contestant {
	c := p.bakePush("bake docker", "docker", "{image: \"docker-daemon:bench-push:latest\"}", noSteps, p.engineImage)
	c.needs = "dockerd"
	return c
}

// bakeStore pushes layers that bake itself made, before: nothing is built in
// the time, but its plan and the digests of the five files are looked at.
func (p *pusher) bakeStore() contestant {
	return p.bakePush("bake, own store", "embedded", "{scratch: true}", copies, p.storeImage)
}

// copies are the steps that make the image: a layer each.
func copies() string {
	var b strings.Builder
	for i := range layerCount {
		fmt.Fprintf(&b, "  - copy: {from: data/layer%d, to: /layer%d}\n", i, i)
	}
	return b.String()
}

// storeImage makes the image in bake's own store.
func (p *pusher) storeImage(ctx context.Context) error {
	if err := p.data(); err != nil {
		return err
	}
	if _, err := p.file("store.yaml", "name: bench\nsource: {scratch: true}\nsteps:\n"+copies()); err != nil {
		return err
	}
	return p.do(ctx, p.cmd(p.bake, "store.yaml", "--engine", "embedded"))
}

func (p *pusher) bakeLayout() contestant {
	c := p.bakePush("bake, OCI layout", "embedded", "{image: \"oci:"+p.path("layout")+":latest\"}", noSteps, p.layout)
	c.needs = "skopeo"
	return c
}

func (p *pusher) dockerPush() contestant {
	return p.ready(contestant{tool: "docker push", needs: "dockerd", setup: p.engineImage,
		before:  func(ctx context.Context) error { return p.do(ctx, p.cmd("docker", "tag", "bench-push", p.target())) },
		command: func() *exec.Cmd { return p.cmd("docker", "push", "-q", p.target()) }})
}

func (p *pusher) skopeoEngine() contestant {
	return p.ready(contestant{tool: "skopeo, docker-daemon:", needs: "skopeo", setup: p.engineImage,
		command: func() *exec.Cmd {
			return p.cmd("skopeo", "copy", "-q", "--src-daemon-host", p.docker, "--dest-tls-verify=false", "docker-daemon:bench-push:latest", "docker://"+p.target())
		}})
}

func (p *pusher) skopeoLayout() contestant {
	return p.ready(contestant{tool: "skopeo, oci:", needs: "skopeo", setup: p.layout,
		command: func() *exec.Cmd {
			return p.cmd("skopeo", "copy", "-q", "--dest-tls-verify=false", "oci:"+p.path("layout")+":latest", "docker://"+p.target())
		}})
}

// A registry is Debian's docker-registry on a free port of loopback, with a
// storage of its own.
type registry struct {
	address string
	dir     string
	cmd     *exec.Cmd
}

func startRegistry(ctx context.Context, dir string) (*registry, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r := &registry{address: listener.Addr().String(), dir: dir}
	listener.Close()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	config := filepath.Join(dir, "config.yml")
	text := fmt.Sprintf("version: 0.1\nlog: {level: error}\nstorage: {filesystem: {rootdirectory: %q}}\nhttp: {addr: %q}\n", dir, r.address)
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		return nil, err
	}
	r.cmd = exec.Command("docker-registry", "serve", config)
	r.cmd.Stdout, r.cmd.Stderr = io.Discard, io.Discard
	if err := r.cmd.Start(); err != nil {
		return nil, err
	}
	return r, r.wait(ctx)
}

func (r *registry) wait(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+r.address+"/v2/", nil)
		if err != nil {
			return err
		}
		if response, err := http.DefaultClient.Do(request); err == nil {
			response.Body.Close()
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for docker-registry on %s: %w", r.address, errors.Join(ctx.Err(), r.stop()))
		case <-tick.C:
		}
	}
}

// stop ends the registry and removes its storage; once is enough.
func (r *registry) stop() error {
	if r.cmd == nil {
		return nil
	}
	cmd := r.cmd
	r.cmd = nil
	if err := cmd.Process.Kill(); err != nil {
		return err
	}
	cmd.Wait() // it was killed: no news
	return os.RemoveAll(r.dir)
}
