package docker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/client"
	"github.com/docker/docker/pkg/stdcopy"

	"bake/builder"
	"bake/internal/shell"
)

// killTimeout is how long the engine gets to end the processes of a command.
const killTimeout = 15 * time.Second

// A communicator is a connection to one container.
type communicator struct {
	engine *Engine
	docker *client.Client
	id     string
	test   bool         // other processes than ours belong to the machine
	stays  bool         // the container keeps running between connections
	logs   func() error // ends the streaming of a test's main process's output; nil if there is none

	mu      sync.Mutex
	running bool         // the container was started
	main    *mainProcess // of the container that was started here
	active  int          // commands that run now
	execs   int          // commands that another process than the main one was asked to run
}

// Run runs a command in the container, which it starts if need be.
func (c *communicator) Run(ctx context.Context, cmd builder.Command) error {
	if err := c.begin(ctx); err != nil {
		return err
	}
	defer c.end()
	if !fitsMain(cmd) {
		if err := c.takeMain().keep(); err != nil {
			return fmt.Errorf("starting container %s: %w", c.id, err)
		}
	}
	if cmd.TTY {
		return c.runTTY(ctx, cmd)
	}
	l := shell.LoadScript(cmd.Shell, cmd.Env)
	stdin := io.MultiReader(strings.NewReader(l.Head), strings.NewReader(cmd.Script))
	if len(cmd.Argv) > 0 {
		l = shell.LoadProgram(cmd.Argv, cmd.Env)
		stdin = strings.NewReader(l.Head)
		if cmd.Stdin != nil {
			stdin = io.MultiReader(stdin, cmd.Stdin)
		}
	}
	if main := c.takeMain(); main != nil {
		return main.run(ctx, c, l, stdin, cmd.Stdout, cmd.Stderr)
	}
	return c.exec(ctx, container.ExecOptions{User: cmd.User, WorkingDir: cmd.Dir, Cmd: l.Argv}, stdin, cmd.Stdout, cmd.Stderr)
}

// begin starts the container for the first command, and again after one was killed.
func (c *communicator) begin(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.running {
		state, err := c.docker.ContainerInspect(ctx, c.id)
		if err == nil && !state.State.Running {
			err = c.boot(ctx)
		}
		if err != nil {
			return fmt.Errorf("starting container %s: %w", c.id, err)
		}
		c.running = true
	}
	c.active++
	return nil
}

func (c *communicator) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.active--
}

// exec runs what a shell.Loader starts.
func (c *communicator) exec(ctx context.Context, opts container.ExecOptions, stdin io.Reader, stdout, stderr io.Writer) error {
	opts.AttachStdin, opts.AttachStdout, opts.AttachStderr = stdin != nil, true, true
	id, conn, err := c.attach(ctx, opts)
	if err != nil {
		return err
	}
	defer conn.Close()
	if stdin != nil {
		go func() {
			_, _ = io.Copy(conn.Conn, stdin) // a command need not read all of its input
			if !opts.Tty {                   // the end of a terminal's input ends its output too
				_ = conn.CloseWrite()
			}
		}()
	}
	out := &pidWriter{next: orDiscard(stdout), known: make(chan struct{})}
	copied := make(chan error, 1)
	go func() {
		var err error
		if opts.Tty {
			_, err = io.Copy(out, conn.Reader)
		} else {
			_, err = stdcopy.StdCopy(out, orDiscard(stderr), conn.Reader)
		}
		copied <- err
	}()
	select {
	case err := <-copied:
		if err != nil {
			return errors.Join(fmt.Errorf("reading the output of a command: %w", err), c.kill(out))
		}
	case <-ctx.Done():
		err := c.kill(out)
		conn.Close()
		<-copied
		return errors.Join(context.Cause(ctx), err)
	}
	return c.result(ctx, id, out)
}

// attach starts an exec. It is not interrupted: an exec is known to have
// started, or not to exist.
func (c *communicator) attach(ctx context.Context, opts container.ExecOptions) (string, types.HijackedResponse, error) {
	if err := context.Cause(ctx); err != nil {
		return "", types.HijackedResponse{}, err
	}
	c.mu.Lock()
	c.execs++
	c.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), killTimeout)
	defer cancel()
	exec, err := c.docker.ContainerExecCreate(ctx, c.id, opts)
	if err != nil {
		return "", types.HijackedResponse{}, fmt.Errorf("running a command in container %s: %w", c.id, err)
	}
	lasting := context.WithoutCancel(ctx)
	conn, err := hijack(ctx, func() (types.HijackedResponse, error) {
		return c.docker.ContainerExecAttach(lasting, exec.ID, container.ExecAttachOptions{Tty: opts.Tty})
	})
	if err != nil {
		return "", conn, fmt.Errorf("running a command in container %s: %w", c.id, err)
	}
	return exec.ID, conn, nil
}

// result asks how an exec ended whose output has ended.
func (c *communicator) result(ctx context.Context, id string, out *pidWriter) error {
	for wait := time.Millisecond; ; wait = min(2*wait, 100*time.Millisecond) {
		exec, err := c.docker.ContainerExecInspect(ctx, id)
		if err != nil {
			return fmt.Errorf("asking how a command ended: %w", err)
		}
		if !exec.Running {
			return ended(exec.ExitCode, out)
		}
		select { // the engine closes the output a moment before it notes the end
		case <-time.After(wait):
		case <-ctx.Done():
			return errors.Join(context.Cause(ctx), c.kill(out))
		}
	}
}

func ended(code int, out *pidWriter) error {
	if out.pid() == 0 {
		said := strings.TrimSpace(string(out.held))
		err := fmt.Errorf("the engine says: %s", cmpOr(said, fmt.Sprintf("exit status %d", code)))
		if missingProgram(said) && strings.Contains(said, "/bin/sh") {
			return &noShellError{err}
		}
		return fmt.Errorf("starting a command: %w", err)
	}
	if code == 0 {
		return nil
	}
	return &builder.ExitError{Code: code, Signal: signalName(code)}
}

func cmpOr(s, fallback string) string {
	if s != "" {
		return s
	}
	return fallback
}

// missingProgram recognises the runtime's words for a program that is not
// there, which the API gives no code for.
func missingProgram(said string) bool {
	return strings.Contains(said, "no such file or directory") || strings.Contains(said, "executable file not found")
}

// signalName returns the signal that a status stands for by the shells'
// convention: the API does not tell the two apart.
func signalName(code int) string {
	names := []string{1: "HUP", 2: "INT", 3: "QUIT", 4: "ILL", 5: "TRAP", 6: "ABRT", 7: "BUS", 8: "FPE", 9: "KILL", 11: "SEGV", 13: "PIPE", 14: "ALRM", 15: "TERM"}
	if n := code - 128; n > 0 && n < len(names) {
		return names[n]
	}
	return ""
}

// kill ends the command whose output goes to out, with all its processes. The
// API cannot end an exec. Where nothing else runs, the whole container is
// killed, so that nothing survives; it starts again with the next command.
func (c *communicator) kill(out *pidWriter) error {
	ctx, cancel := context.WithTimeout(context.Background(), killTimeout)
	defer cancel()
	c.mu.Lock()
	alone := c.active <= 1 && !c.test
	if alone {
		defer c.mu.Unlock()
		c.running = false
		if c.main != nil {
			defer c.main.conn.Close()
			c.main = nil
		}
		return c.killContainer(ctx)
	}
	c.mu.Unlock()
	select {
	case <-out.known:
	case <-time.After(time.Second): // it has not begun: its stdin is closed with the connection, which ends it
		return nil
	}
	return c.killSession(ctx, out.pid())
}

func (c *communicator) killContainer(ctx context.Context) error {
	waiting, failed := c.docker.ContainerWait(ctx, c.id, container.WaitConditionNotRunning)
	if err := c.docker.ContainerKill(ctx, c.id, "KILL"); err != nil && !errdefs.IsConflict(err) && !errdefs.IsNotFound(err) {
		return fmt.Errorf("killing container %s: %w", c.id, err)
	}
	select {
	case <-waiting:
		return nil
	case err := <-failed:
		return fmt.Errorf("killing container %s: %w", c.id, err)
	}
}

func (c *communicator) killSession(ctx context.Context, pid int) error {
	id, conn, err := c.attach(ctx, container.ExecOptions{User: "0:0", Cmd: shell.Kill(pid), AttachStdout: true, AttachStderr: true})
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := io.Copy(io.Discard, conn.Reader); err != nil {
		return err
	}
	exec, err := c.docker.ContainerExecInspect(ctx, id)
	if err == nil && exec.ExitCode != 0 {
		err = fmt.Errorf("killing a command in container %s: some of its processes do not end", c.id)
	}
	return err
}

// Close ends the connection, and with it, unless they are to stay, all
// processes of the container: nothing of a step works on after it.
func (c *communicator) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.logs != nil:
		return c.logs()
	case c.main == nil:
		return nil
	case c.stays:
		c.main.conn.Close()
		return nil
	case c.main.alone && c.execs == 0:
		c.engine.noteEnd(c.id)
		c.main.conn.Close()
		return nil
	}
	c.running = false
	return c.main.hangUp(c)
}

// A pidWriter takes the loader's line off a command's output.
type pidWriter struct {
	next  io.Writer
	held  []byte // until the line's end
	known chan struct{}
	id    int
}

func (w *pidWriter) Write(p []byte) (int, error) {
	if w.id != 0 {
		return w.next.Write(p)
	}
	w.held = append(w.held, p...)
	line, rest, ok := bytes.Cut(w.held, []byte("\n"))
	if !ok {
		return len(p), nil
	}
	id, err := strconv.Atoi(strings.TrimSpace(string(line)))
	if err != nil {
		return len(p), nil // the engine's own words, instead of a command's
	}
	w.id = id
	close(w.known)
	rest = slices.Clone(rest)
	w.held = nil
	if len(rest) == 0 {
		return len(p), nil
	}
	_, err = w.next.Write(rest)
	return len(p), err
}

// pid is the loaded process's id in its container, or 0. It is called after
// known is closed or when nothing is written any more.
func (w *pidWriter) pid() int { return w.id }

func orDiscard(w io.Writer) io.Writer {
	if w == nil {
		return io.Discard
	}
	return w
}
