// Package agent runs containers for the sandbox as an ECS agent does for AWS:
// it unpacks images, starts their programs in roots of package rootfs, tells
// how they ended and lets further commands run beside them. It knows nothing
// of tasks; package ecs does.
package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sync/singleflight"

	"bake/internal/rootfs"
	"bake/internal/sandbox/network"
)

// An Agent is a directory of unpacked layers and the containers that run over
// them. Safe for concurrent use.
//
//	layers/ID      one layer, by the beginning of its diff id; layers/skeleton lies below all
//	tmp/           what is being unpacked
//	run/ID         one container: upper, work, root, and the places of its mounts
//	volumes/ID     what containers of one task share
type Agent struct {
	dir    string
	host   *rootfs.Host // nil where there are no containers
	flight singleflight.Group

	network *network.Switch

	mu      sync.Mutex
	running map[*Container]bool
	shared  bool // networks are this machine's: it does not let us make others
	closed  bool
}

// Open makes dir an agent's, if it is not one, and removes what containers of
// an earlier process left in it. The layers stay. Where containers cannot be
// run at all, an agent can be had, and its Unpack and Start say so.
func Open(dir string) (*Agent, error) {
	host, err := rootfs.Open()
	if errors.Is(err, rootfs.ErrUnsupported) {
		return &Agent{dir: dir, running: map[*Container]bool{}}, nil
	}
	if err != nil {
		return nil, err
	}
	a := &Agent{dir: dir, host: host, network: network.New(nil), running: map[*Container]bool{}}
	if err := a.prepare(); err != nil {
		return nil, errors.Join(fmt.Errorf("the folder of tasks: %w", err), host.Close())
	}
	return a, nil
}

func (a *Agent) prepare() error {
	for _, d := range []string{"tmp", "run", "volumes"} {
		if err := a.host.Remove(context.Background(), a.path(d)); err != nil {
			return err
		}
	}
	for _, d := range []string{"", "layers", "tmp", "run", "volumes"} {
		if err := os.MkdirAll(a.path(d), 0o711); err != nil { // other users' ids in a user namespace must reach the layers
			return err
		}
	}
	if _, err := os.Stat(a.path("layers", "skeleton")); err == nil {
		return nil
	}
	return rootfs.Skeleton(a.path("layers", "skeleton"))
}

func (a *Agent) path(parts ...string) string {
	return filepath.Join(append([]string{a.dir}, parts...)...)
}

// Stop ends every container, and lets none be started any more.
func (a *Agent) Stop() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.closed = true
	for c := range a.running {
		c.Kill()
	}
}

// Close ends every container; when it returns none of their processes is left.
// Nobody may be in a call of the agent: Stop, and wait for them, first.
func (a *Agent) Close() error {
	a.Stop()
	a.mu.Lock()
	var all []*Container
	for c := range a.running {
		all = append(all, c)
	}
	a.mu.Unlock()
	for _, c := range all {
		<-c.Done()
	}
	if a.host == nil {
		return nil
	}
	return a.host.Close()
}

// Volume returns the directory of the volume id, which it makes if need be.
func (a *Agent) Volume(id string) (string, error) {
	dir := a.path("volumes", id)
	err := os.MkdirAll(dir, 0o755)
	return dir, err
}

// RemoveVolume removes a volume and what is in it.
func (a *Agent) RemoveVolume(ctx context.Context, id string) error {
	if a.host == nil {
		return nil
	}
	return a.host.Remove(ctx, a.path("volumes", id))
}
