package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"bake/internal/rootfs"
)

// A Spec says what a container is made of and what runs in it.
type Spec struct {
	ID    string // a name that no other container has
	Image *Image
	// EntryPoint and Command replace the image's. As in Docker, an EntryPoint
	// without a Command drops the image's command too.
	EntryPoint, Command []string
	Env                 []string // "NAME=value", over the image's
	Dir, User           string   // empty: the image's
	Hostname            string
	ReadOnly            bool // the root, not the mounts
	Mounts              []Mount
	Network             *Network // nil: this machine's
	// Memory, in bytes, is how much all processes may have in memory; 0: any amount.
	Memory         int64
	Stdout, Stderr io.Writer // nil: thrown away
}

// A Mount is a directory or file of this machine that appears at To.
type Mount struct {
	From, To string
	ReadOnly bool
}

// An Exit is how a container's program ended.
type Exit struct {
	Code        int
	OutOfMemory bool
	Err         error // the program could not be watched to its end; Code is 137 then
}

// A Container runs one program, and others for as long as that one runs.
type Container struct {
	agent   *Agent
	spec    Spec
	root    *rootfs.Container
	signals chan int
	kill    context.CancelFunc
	killed  context.Context
	done    chan struct{}
	exit    Exit
	outgrew bool
}

// ErrClosed says that the agent does not run containers any more.
var ErrClosed = errors.New("the sandbox is closing")

// Start starts the container's program and returns when it runs. The error
// says why it could not be started. ctx bounds the start alone.
func (a *Agent) Start(ctx context.Context, s Spec) (*Container, error) {
	killed, kill := context.WithCancel(context.Background())
	c := &Container{agent: a, spec: s, signals: make(chan int, 1), kill: kill, killed: killed, done: make(chan struct{})}
	if err := a.register(c); err != nil {
		kill()
		return nil, err
	}
	if err := c.boot(ctx); err != nil {
		c.remove()
		close(c.done)
		return nil, err
	}
	started, failed := make(chan struct{}), make(chan error, 1)
	go c.run(started, failed)
	select {
	case <-started:
		return c, nil
	case err := <-failed:
		return nil, err
	case <-ctx.Done():
		c.Kill()
		<-c.done
		return nil, context.Cause(ctx)
	}
}

func (a *Agent) register(c *Container) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return ErrClosed
	}
	a.running[c] = true
	return nil
}

// boot makes the container's directories and its root.
func (c *Container) boot(ctx context.Context) error {
	a, s := c.agent, c.spec
	for _, d := range []string{"upper", "work", "root", "mounts"} {
		if err := os.MkdirAll(a.path("run", s.ID, d), 0o755); err != nil {
			return err
		}
	}
	cfg := rootfs.Config{
		Base: a.dir, Upper: filepath.Join("run", s.ID, "upper"), Work: filepath.Join("run", s.ID, "work"), Root: filepath.Join("run", s.ID, "root"),
		Hostname: s.Hostname, ReadOnly: s.ReadOnly, Files: rootfs.NetworkFiles(s.Hostname),
	}
	if n := s.Network; n != nil && !n.Shared() {
		cfg.Beside, cfg.Files = n.root, n.files(s.Hostname)
	}
	for _, l := range s.Image.layers {
		cfg.Lower = append(cfg.Lower, filepath.Join("layers", l))
	}
	cfg.Lower = append(cfg.Lower, filepath.Join("run", s.ID, "mounts"), filepath.Join("layers", "skeleton"))
	if err := c.mountPoints(&cfg); err != nil {
		return err
	}
	if dir := c.workdir(); dir != "" { // Docker makes it too
		if err := os.MkdirAll(a.path("run", s.ID, "mounts", filepath.Clean("/"+dir)), 0o755); err != nil {
			return err
		}
	}
	root, err := a.host.Start(ctx, cfg)
	if err != nil {
		return err
	}
	c.root = root
	return nil
}

// mountPoints makes a place for each mount in a layer below the image's, where
// it changes nothing of a directory that the image has.
func (c *Container) mountPoints(cfg *rootfs.Config) error {
	for _, m := range c.spec.Mounts {
		place := c.agent.path("run", c.spec.ID, "mounts", filepath.Clean("/"+m.To))
		st, err := os.Stat(m.From)
		if err != nil {
			return err
		}
		if st.IsDir() {
			err = os.MkdirAll(place, 0o755)
		} else if err = os.MkdirAll(filepath.Dir(place), 0o755); err == nil {
			err = os.WriteFile(place, nil, 0o644)
		}
		if err != nil {
			return err
		}
		cfg.Binds = append(cfg.Binds, rootfs.Bind{From: m.From, To: m.To, ReadOnly: m.ReadOnly})
	}
	return nil
}

// run is the life of the container's program.
func (c *Container) run(started chan<- struct{}, failed chan<- error) {
	var once sync.Once
	begun := func() { once.Do(func() { close(started) }) }
	watched := make(chan struct{})
	err := c.root.Run(c.killed, rootfs.Process{
		Argv: c.argv(), Env: c.environment(), Dir: c.workdir(), User: c.user(),
		Stdout: c.spec.Stdout, Stderr: c.spec.Stderr, Signals: c.signals,
		Started: func() {
			begun()
			go func() { defer close(watched); c.watchMemory() }()
		},
	})
	ran := false
	once.Do(func() { ran = true })
	if ran { // it never began
		c.exit = Exit{Code: 128, Err: err}
		c.remove()
		close(c.done)
		failed <- fmt.Errorf("starting the program: %w", err)
		return
	}
	c.kill()
	<-watched
	c.exit = exitOf(err)
	c.exit.OutOfMemory = c.outgrew
	c.remove()
	close(c.done)
}

// exitOf reads how a program ended from Run's error.
func exitOf(err error) Exit {
	if err == nil {
		return Exit{}
	}
	if exit, ok := errors.AsType[*rootfs.ExitError](err); ok {
		return Exit{Code: exit.Code}
	}
	killed := 128 + int(syscall.SIGKILL)
	if errors.Is(err, context.Canceled) {
		return Exit{Code: killed}
	}
	return Exit{Code: killed, Err: err}
}

// remove ends what is left of the container and removes its files.
func (c *Container) remove() {
	c.kill()
	if c.root != nil {
		c.root.Close()
	}
	_ = c.agent.host.Remove(context.Background(), c.agent.path("run", c.spec.ID)) // Open removes what stays
	c.agent.mu.Lock()
	delete(c.agent.running, c)
	c.agent.mu.Unlock()
}

// Done is closed when the program has ended and nothing of the container is left.
func (c *Container) Done() <-chan struct{} { return c.done }

// Exit is how the program ended, once Done is closed.
func (c *Container) Exit() Exit { return c.exit }

// Signal sends the program a signal. One that comes while another waits is dropped.
func (c *Container) Signal(n syscall.Signal) {
	select {
	case c.signals <- int(n):
	default:
	}
}

// Kill ends every process of the container at once.
func (c *Container) Kill() { c.kill() }

// Exec runs a further command in the container and returns its exit code. The
// error says why it could not be run, or that ctx or the container ended.
func (c *Container) Exec(ctx context.Context, p rootfs.Process) (int, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(c.killed, cancel)
	defer stop()
	if p.Env == nil {
		p.Env = c.environment()
	}
	if p.Dir == "" {
		p.Dir = c.workdir()
	}
	if p.User == "" {
		p.User = c.user()
	}
	p.DirOptional = true
	err := c.root.Run(ctx, p)
	if exit, ok := errors.AsType[*rootfs.ExitError](err); ok {
		return exit.Code, nil
	}
	return 0, err
}

// argv is the whole command, made as Docker makes it.
func (c *Container) argv() []string {
	entry, cmd := c.spec.EntryPoint, c.spec.Command
	if len(entry) == 0 {
		entry = c.spec.Image.Config.Entrypoint
		if len(cmd) == 0 {
			cmd = c.spec.Image.Config.Cmd
		}
	}
	return append(append([]string{}, entry...), cmd...)
}

func (c *Container) user() string {
	if c.spec.User != "" {
		return c.spec.User
	}
	return c.spec.Image.Config.User
}

func (c *Container) workdir() string {
	if c.spec.Dir != "" {
		return c.spec.Dir
	}
	return c.spec.Image.Config.WorkingDir
}

// environment is the image's with the spec's over it.
func (c *Container) environment() []string {
	env := append([]string{}, c.spec.Image.Config.Env...)
	at := map[string]int{}
	for i, e := range env {
		name, _, _ := strings.Cut(e, "=")
		at[name] = i
	}
	set := func(e string) {
		name, _, _ := strings.Cut(e, "=")
		if i, ok := at[name]; ok {
			env[i] = e
			return
		}
		at[name] = len(env)
		env = append(env, e)
	}
	if c.spec.Hostname != "" {
		if _, ok := at["HOSTNAME"]; !ok {
			set("HOSTNAME=" + c.spec.Hostname)
		}
	}
	for _, e := range c.spec.Env {
		set(e)
	}
	return env
}
