package docker

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"

	"bake/builder"
)

// Cleaners returns what finds and removes the resources that this package
// makes, by kind. Each is a builder.Sweeper too.
func (e *Engine) Cleaners() map[string]builder.Cleaner {
	return map[string]builder.Cleaner{containerKind: &containers{e}}
}

// containers finds and removes containers of an engine.
type containers struct{ engine *Engine }

// Find returns the name of the container that was made with r.Token.
func (cs *containers) Find(ctx context.Context, r builder.Resource) (string, error) {
	e := cs.engine.at(r.Where)
	if err := e.awake(ctx); err != nil {
		return "", err
	}
	c, err := e.client(ctx)
	if err != nil {
		return "", err
	}
	list, err := c.ContainerList(ctx, container.ListOptions{All: true, Filters: filters.NewArgs(filters.Arg("label", labelToken+"="+r.Token))})
	if err != nil {
		return "", err
	}
	for _, found := range list {
		if name := ownName(found); name != "" {
			return name, nil
		}
	}
	return "", fmt.Errorf("container of token %s: %w", r.Token, builder.ErrNotFound)
}

// ownName returns a container's name if bake has given it one.
func ownName(c container.Summary) string {
	for _, name := range c.Names {
		if name = strings.TrimPrefix(name, "/"); strings.HasPrefix(name, "bake-") {
			return name
		}
	}
	return ""
}

// Delete removes a container, with its processes and volumes, and returns when it is gone.
func (cs *containers) Delete(ctx context.Context, r builder.Resource) error {
	return cs.engine.at(r.Where).removeContainer(ctx, r.ID)
}

func (e *Engine) removeContainer(ctx context.Context, name string) error {
	if err := e.awake(ctx); err != nil {
		return fmt.Errorf("removing container %s: %w", name, err)
	}
	c, err := e.client(ctx)
	if err != nil {
		return err
	}
	for wait := 5 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		err := e.quick(ctx, "removing container "+name, removeTimeout, func(ctx context.Context) error {
			return c.ContainerRemove(ctx, name, container.RemoveOptions{Force: true, RemoveVolumes: true})
		})
		if errdefs.IsNotFound(err) {
			return nil
		}
		// Somebody else is removing it (conflict), or it has just gone: ask until it is not found.
		if err != nil && !errdefs.IsConflict(err) {
			return err
		}
		if err == nil {
			return nil
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return errors.Join(err, context.Cause(ctx))
		}
	}
}

// Sweep lists the containers of runs that are over: this machine's if no
// process is at the run any more, another machine's if they have expired.
func (cs *containers) Sweep(ctx context.Context, alive func(builder.RunID) bool) ([]builder.Resource, error) {
	c, err := cs.engine.client(ctx)
	if err != nil {
		return nil, err
	}
	list, err := c.ContainerList(ctx, container.ListOptions{All: true, Filters: filters.NewArgs(filters.Arg("label", labelToken))})
	if err != nil {
		return nil, err
	}
	var left []builder.Resource
	for _, found := range list {
		name, run := ownName(found), builder.RunID(found.Labels[labelRun])
		if name == "" || run == "" || !over(found.Labels, alive) {
			continue
		}
		left = append(left, builder.Resource{Kind: containerKind, Name: name, Where: cs.engine.where(), Token: found.Labels[labelToken], ID: name})
	}
	return left, nil
}

func over(labels map[string]string, alive func(builder.RunID) bool) bool {
	if labels[labelHost] == hostName() {
		return !alive(builder.RunID(labels[labelRun]))
	}
	expires, err := strconv.ParseInt(labels[labelExpires], 10, 64)
	return err == nil && time.Now().Unix() > expires
}
