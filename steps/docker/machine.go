package docker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/client"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"bake/builder"
)

// containerKind is the Resource.Kind of containers.
const containerKind = "container"

// buildNetwork is the engine's own network: what a step reaches on the embedded
// engine, this machine's loopback included, it reaches here, and a container
// starts in half the time. Machines under test have a network of their own.
const buildNetwork container.NetworkMode = "host"

// hostname is what steps see; one that changes would end up in images.
const hostname = "bake"

// Details of a Machine.
const (
	detailImage  = "image" // id of what its first container was made from
	detailFrom   = "from"  // id of the base image
	detailBase   = "base"  // reference of the base image, if it has one
	detailToken  = "token" // of its container
	detailSquash = "squash"
	detailTest   = "test"
	detailSteps  = "steps" // the layers so far: see layer
)

// A layer is a step's image, as a Machine remembers it.
type layer struct {
	Image string `json:"image"` // id
	Step  string `json:"step"`
}

// Open makes the container of a build, or one to test an image in. open opens
// the base image's content; ref names it with its digest, if the engine may
// pull it. The container starts with the first command.
func (e *Engine) Open(ctx context.Context, sc *builder.Scope, from builder.Opening, open func(ctx context.Context) (v1.Image, error), ref string) (builder.Machine, error) {
	if from.Test {
		return e.openTest(ctx, sc, from, open, ref)
	}
	b, err := e.base(ctx, sc, from, open, ref)
	if err != nil {
		return builder.Machine{}, err
	}
	m := builder.Machine{Where: e.where(), Platform: from.Platform, Detail: map[string]string{
		detailImage: b.image, detailFrom: b.original, detailBase: ref,
	}}
	if from.Squash {
		m.Detail[detailSquash] = "true"
	}
	return e.withContainer(ctx, sc, m, "machine", b.image)
}

// withContainer returns m in a new container of image, made as the resource
// name of the step.
func (e *Engine) withContainer(ctx context.Context, sc *builder.Scope, m builder.Machine, name, image string) (builder.Machine, error) {
	build := sc.Step.Build()
	r, err := sc.Create(ctx, builder.Resource{Kind: containerKind, Name: name, Where: m.Where}, func(ctx context.Context, r builder.Resource) (string, error) {
		return e.createContainer(ctx, containerName(build, r.Token), buildContainer(image, containerLabels(sc.Run, build, r.Token)), buildNetwork)
	})
	if err != nil {
		return builder.Machine{}, err
	}
	m.ID = r.ID
	m.Detail = withDetail(m.Detail, detailToken, r.Token)
	return m, nil
}

func withDetail(detail map[string]string, key, value string) map[string]string {
	copied := map[string]string{key: value}
	for k, v := range detail {
		if k != key {
			copied[k] = v
		}
	}
	return copied
}

// buildContainer is a container that steps run in.
func buildContainer(image string, labels map[string]string) *container.Config {
	return &container.Config{
		Image: image, User: "0:0", Labels: labels,
		Entrypoint: []string{"/bin/sh", "-c", mainProgram, "bake"}, Cmd: []string{}, OpenStdin: true, StdinOnce: true, Hostname: hostname,
		Healthcheck: &container.HealthConfig{Test: []string{"NONE"}},
	}
}

// createContainer makes a container and returns its name, which is its id for
// bake: it stays when the container is made anew. One of this name that is
// there already is of an earlier attempt.
func (e *Engine) createContainer(ctx context.Context, name string, config *container.Config, network container.NetworkMode) (string, error) {
	c, err := e.client(ctx)
	if err != nil {
		return "", err
	}
	host := &container.HostConfig{LogConfig: container.LogConfig{Type: "none"}, NetworkMode: network}
	create := func(ctx context.Context) error {
		_, err := c.ContainerCreate(ctx, config, host, nil, nil, name)
		return err
	}
	err = e.quick(ctx, "making container "+name, quickTimeout, create)
	switch {
	case errdefs.IsConflict(err):
		if err := e.removeContainer(ctx, name); err != nil {
			return "", err
		}
		err = e.quick(ctx, "making container "+name, quickTimeout, create)
	case errdefs.IsInvalidArgument(err) && network.IsHost(): // an engine with user namespaces does not share its network
		return e.createContainer(ctx, name, config, "")
	}
	return name, err
}

// Dial connects to a machine of this or an earlier process.
func (e *Engine) Dial(ctx context.Context, sc *builder.Scope, m builder.Machine) (builder.Communicator, error) {
	e = e.at(m.Where)
	c, err := e.client(ctx)
	if err != nil {
		return nil, err
	}
	comm := &communicator{engine: e, docker: c, id: m.ID, stays: m.Detail[detailSquash] != ""}
	if m.Detail[detailTest] != "" {
		if err := comm.startTest(ctx, sc); err != nil {
			return nil, errors.Join(err, comm.Close())
		}
	}
	return comm, nil
}

// start starts the container if it does not run.
func (e *Engine) start(ctx context.Context, c *client.Client, id string) error {
	err := e.quick(ctx, "starting container "+id, quickTimeout, func(ctx context.Context) error {
		return c.ContainerStart(ctx, id, container.StartOptions{})
	})
	if err != nil && missingProgram(err.Error()) {
		return &noShellError{err}
	}
	return err
}

// noShellError is an image that nothing can run in.
type noShellError struct{ err error }

func (e *noShellError) Error() string {
	return fmt.Sprintf("running a command in an image without /bin/sh: %v", e.err)
}

func (e *noShellError) Unwrap() error { return e.err }

// Hint tells what is possible.
func (e *noShellError) Hint() string {
	return "steps that only copy files work without a shell; build what needs one in another build, and copy from it"
}

func (m layers) String() string {
	data, _ := json.Marshal(m) // plain data: cannot fail
	return string(data)
}

// layers are the images of a machine's steps, oldest first.
type layers []layer

func layersOf(m builder.Machine) layers {
	var l layers
	_ = json.Unmarshal([]byte(m.Detail[detailSteps]), &l) // what String wrote, or nothing
	return l
}

// standsOn returns the id of the image that the machine's container was made from.
func standsOn(m builder.Machine) string {
	if m.Snapshot != "" {
		return m.Snapshot
	}
	return m.Detail[detailImage]
}
