package docker

import (
	"context"
	"fmt"
	"slices"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/pkg/stdcopy"

	"bake/builder"
)

// keepAlive is the main process of a container under test: it runs the image's
// own beside itself, reaps what is orphaned and ends with its stdin, which the
// engine keeps open.
const keepAlive = `exec 3<&0 </dev/null
if [ $# -gt 0 ]; then
("$@" 3<&-; echo "bake: the main process has ended with status $?" >&2) 3<&- &
fi
(read -r bake_line <&3) &
wait $!
`

// openTest makes a container as users of the image would: with its own user,
// environment and main process. Where the image has a shell, the main process
// runs beside one that keeps the container, so that a service that ends, or a
// command that is meant to, can still be looked at.
func (e *Engine) openTest(ctx context.Context, sc *builder.Scope, from builder.Opening, open openBase, ref string) (builder.Machine, error) {
	id, _, err := e.original(ctx, sc, from, open, ref)
	if err != nil {
		return builder.Machine{}, err
	}
	img, err := e.inspect(ctx, id)
	if err != nil {
		return builder.Machine{}, err
	}
	m := builder.Machine{Where: e.where(), Platform: from.Platform, Detail: map[string]string{detailTest: "true"}}
	build := sc.Step.Build()
	r, err := sc.Create(ctx, builder.Resource{Kind: containerKind, Name: "test", Where: m.Where}, func(ctx context.Context, r builder.Resource) (string, error) {
		config := &container.Config{
			Image: id, Labels: containerLabels(sc.Run, build, r.Token), OpenStdin: true, Cmd: []string{},
			Entrypoint: append([]string{"/bin/sh", "-c", keepAlive, "bake"}, slices.Concat(img.Config.Entrypoint, img.Config.Cmd)...),
		}
		name, err := e.createContainer(ctx, containerName(build, r.Token), config, "")
		if err != nil || e.hasShell(ctx, name) {
			return name, err
		}
		if err := e.removeContainer(ctx, name); err != nil {
			return "", err
		}
		config.Entrypoint, config.Cmd = img.Config.Entrypoint, img.Config.Cmd
		return e.createContainer(ctx, name, config, "")
	})
	m.ID = r.ID
	return m, err
}

func (e *Engine) hasShell(ctx context.Context, name string) bool {
	c, err := e.client(ctx)
	if err != nil {
		return false
	}
	_, err = c.ContainerStatPath(ctx, name, "/bin/sh")
	return err == nil
}

// startTest starts the main process and lets its output be seen.
func (c *communicator) startTest(ctx context.Context, sc *builder.Scope) error {
	c.test = true
	conn, err := c.listen(ctx, container.AttachOptions{Stream: true, Stdout: true, Stderr: true})
	if err != nil {
		return fmt.Errorf("attaching to container %s: %w", c.id, err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = stdcopy.StdCopy(sc.Stdout(), sc.Stderr(), conn.Reader) // ends with the connection
	}()
	c.logs = func() error {
		conn.Close()
		<-done
		return nil
	}
	if err := c.engine.start(ctx, c.docker, c.id); err != nil {
		return fmt.Errorf("starting container %s: %w", c.id, err)
	}
	c.running = true
	return nil
}
