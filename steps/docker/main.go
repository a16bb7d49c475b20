package docker

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/docker/docker/api/types"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/pkg/stdcopy"

	"bake/builder"
	"bake/internal/shell"
)

// mainProgram is the main process of a build's container. What it reads from
// its stdin lets it run one command, which saves that command an exec; then,
// or at once, it keeps the container: it reaps what is orphaned until it gets
// SIGTERM, and all other processes end with it. It needs nothing but the
// shell: what waits is a process that has stopped itself.
const mainProgram = `trap 'exit 143' TERM
IFS= read -r bake_n || exit 0
bake_p=
while [ "$bake_n" -gt 0 ]; do
IFS= read -r bake_l || exit 0
bake_p="$bake_p$bake_l
"
bake_n=$((bake_n-1))
done
if [ -n "$bake_p" ]; then
eval "$bake_p"
"$@"
bake_s=$?
set -- /proc/[0-9]*
echo "$bake_mark$bake_s $#"
echo "$bake_mark$bake_s $#" >&2
fi
exec </dev/null
/bin/sh -c 'kill -STOP $$' &
wait $!
`

// mainProcess is the connection to a container's main process.
type mainProcess struct {
	conn  types.HijackedResponse
	used  bool       // it has been told what to do
	alone bool       // its command has left no process behind, and no other has run since
	ended chan error // the process has ended, or the connection
}

// boot starts the container with a connection to its main process.
func (c *communicator) boot(ctx context.Context) error {
	c.engine.forgetEnd(c.id)
	conn, err := c.listen(ctx, container.AttachOptions{Stream: true, Stdin: true, Stdout: true, Stderr: true})
	if err != nil {
		return err
	}
	if err := c.engine.start(ctx, c.docker, c.id); err != nil {
		conn.Close()
		return err
	}
	c.main = &mainProcess{conn: conn, ended: make(chan error, 1)}
	return nil
}

// listen attaches to the main process. The connection lasts longer than ctx.
func (c *communicator) listen(ctx context.Context, opts container.AttachOptions) (conn types.HijackedResponse, err error) {
	lasting := context.WithoutCancel(ctx)
	err = c.engine.quick(ctx, "attaching to container "+c.id, quickTimeout, func(ctx context.Context) error {
		conn, err = hijack(ctx, func() (types.HijackedResponse, error) { return c.docker.ContainerAttach(lasting, c.id, opts) })
		return err
	})
	return conn, err
}

// takeMain returns the main process if it still waits for a command, and
// leaves it to the caller.
func (c *communicator) takeMain() *mainProcess {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.main == nil || c.main.used {
		return nil
	}
	c.main.used = true
	return c.main
}

// keep tells the main process that it has only to keep the container.
func (p *mainProcess) keep() error {
	if p == nil {
		return nil
	}
	go func() {
		_, err := io.Copy(io.Discard, p.conn.Reader)
		p.ended <- err
	}()
	_, err := io.WriteString(p.conn.Conn, "0\n")
	return errors.Join(err, p.conn.CloseWrite())
}

// hangUp lets the container end, with all its processes, and returns when it has.
func (p *mainProcess) hangUp(c *communicator) error {
	defer p.conn.Close()
	ctx, cancel := context.WithTimeout(context.Background(), killTimeout)
	defer cancel()
	if err := c.docker.ContainerKill(ctx, c.id, "TERM"); err != nil {
		return nil // it is not running any more
	}
	select {
	case <-p.ended:
		c.engine.noteEnd(c.id)
		return nil
	case <-time.After(5 * time.Second):
		return c.killContainer(ctx)
	}
}

// run lets the main process run what a loader starts.
func (p *mainProcess) run(ctx context.Context, c *communicator, l shell.Loader, stdin io.Reader, stdout, stderr io.Writer) error {
	mark := "bake-" + rand.Text() + "-"
	text := fmt.Sprintf("bake_mark=%s\nset -- %s\n", mark, shell.Join(l.Argv...))
	head := fmt.Sprintf("%d\n%s", strings.Count(text, "\n"), text)
	go func() {
		_, _ = io.Copy(p.conn.Conn, io.MultiReader(strings.NewReader(head), stdin)) // a command need not read all of its input
		_ = p.conn.CloseWrite()
	}()
	pid := &pidWriter{next: orDiscard(stdout), known: make(chan struct{})}
	out := &markWriter{next: pid, mark: []byte(mark), code: make(chan int, 1)}
	errs := &markWriter{next: orDiscard(stderr), mark: []byte(mark), code: make(chan int, 1)}
	copied := make(chan error, 1)
	go func() {
		_, err := stdcopy.StdCopy(out, errs, p.conn.Reader)
		p.ended <- err
		copied <- err
	}()
	var code, seen int
	for seen < 2 {
		select {
		case code = <-out.code:
			seen++
		case <-errs.code:
			seen++
		case err := <-copied:
			return errors.Join(fmt.Errorf("container %s ended under a command", c.id), err, c.kill(pid))
		case <-ctx.Done():
			return errors.Join(context.Cause(ctx), c.kill(pid))
		}
	}
	c.mu.Lock()
	p.alone = out.processes == 1 && c.execs == 0
	c.mu.Unlock()
	return ended(code, pid)
}

// fitsMain reports whether the main process can run a command: as it is itself.
func fitsMain(cmd builder.Command) bool { return cmd.User == "" && cmd.Dir == "" && !cmd.TTY }

// A markWriter passes on what is written up to a mark, which is followed by a
// status and the end of the line. What comes after is of processes that the
// command has left behind.
type markWriter struct {
	next io.Writer
	mark []byte
	held []byte // the beginning of a mark, perhaps
	over bool
	code chan int // gets the status

	processes int // that there were at the command's end; set before code gets the status
}

func (w *markWriter) Write(p []byte) (int, error) {
	if w.over {
		return len(p), nil
	}
	w.held = append(w.held, p...)
	i := bytes.Index(w.held, w.mark)
	if i < 0 {
		return len(p), w.pass(len(w.held) - overlap(w.held, w.mark))
	}
	line, _, whole := bytes.Cut(w.held[i+len(w.mark):], []byte("\n"))
	if !whole {
		return len(p), w.pass(i)
	}
	var status int
	if _, err := fmt.Sscan(string(line), &status, &w.processes); err != nil {
		return len(p), fmt.Errorf("status of a command: %w", err)
	}
	err := w.pass(i)
	w.over, w.held = true, nil
	w.code <- status
	return len(p), err
}

// pass hands on the first n bytes that are held.
func (w *markWriter) pass(n int) error {
	if n == 0 {
		return nil
	}
	_, err := w.next.Write(w.held[:n])
	w.held = append(w.held[:0], w.held[n:]...)
	return err
}

// overlap is the length of the longest end of data that mark begins with.
func overlap(data, mark []byte) int {
	for n := min(len(data), len(mark)-1); n > 0; n-- {
		if bytes.Equal(data[len(data)-n:], mark[:n]) {
			return n
		}
	}
	return 0
}
