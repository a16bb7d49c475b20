// Package container opens the machines of container builds: what a build
// starts from (an image, packages, a tarball, nothing) is worked out here, and
// the machine itself is an engine's, whichever engine that is.
package container

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"bake/builder"
	"bake/internal/registry"
)

// An Engine runs containers and keeps their images.
type Engine interface {
	Name() string // "embedded", "docker": Image.Engine of what it makes
	// Open makes a machine. base gives the content it starts from and is
	// called only if the engine does not have it; ref is the base's name and
	// digest if it came from a registry, for an engine that fetches itself
	// and for Image.Base.
	Open(ctx context.Context, sc *builder.Scope, from builder.Opening, base func(ctx context.Context) (v1.Image, error), ref string) (builder.Machine, error)
	Dial(ctx context.Context, sc *builder.Scope, m builder.Machine) (builder.Communicator, error)
	Freeze(ctx context.Context, sc *builder.Scope, m builder.Machine, f builder.Freezing) (builder.Artifact, error)
	builder.Snapshotter
	builder.Cacher
}

// Local is an engine whose images have names, so that a build may start from them.
type Local interface {
	// LocalImage returns the image that name means to the engine and its id,
	// or builder.ErrNotFound. The content is read when asked for.
	LocalImage(ctx context.Context, name string) (img v1.Image, id string, err error)
}

// Deps is what the sources need.
type Deps struct {
	// Engine returns the engine of that name, or the chosen one if name is
	// empty. It is not called before a machine is needed.
	Engine   func(ctx context.Context, name string) (Engine, error)
	Registry *registry.Client
	// CacheDir keeps downloads, bootstrapped systems and what names meant the
	// last time; empty: nothing is kept.
	CacheDir string
	// Local returns the engine for `from: docker`. It is nil, or returns an
	// error, if there is none.
	Local func(ctx context.Context) (Local, error)
	// PullThrough returns where an image is in a pull-through cache, as a
	// mirror of its registry; empty if it is not cached there. May be nil.
	PullThrough func(ctx context.Context, cache string, image registry.Reference) (mirror string, err error)
	// Cache is the pull-through cache of images that name none; may be empty.
	Cache string
	// Builtin makes the base that needs no network. The digest stands for
	// its content.
	Builtin func(ctx context.Context, p builder.Platform) (v1.Image, builder.Digest, error)
}

// A delegate gives a kind of source everything but Pin and Open: those are
// the engine's.
type delegate struct{ deps Deps }

// engineDetail is the key of Machine.Detail that says which engine has it.
const engineDetail = "engine"

// open makes a machine on the chosen engine. A machine that is opened from an
// artifact has that for its base, whatever the kind of the source.
func (d *delegate) open(ctx context.Context, sc *builder.Scope, from builder.Opening, base func(ctx context.Context) (v1.Image, error), ref string) (builder.Machine, error) {
	name := ""
	if from.Base != nil {
		if from.Base.Image == nil {
			return builder.Machine{}, errors.New("a container cannot start from an artifact that is not a container image")
		}
		img, err := forPlatform(*from.Base.Image, from.Platform)
		if err != nil {
			return builder.Machine{}, err
		}
		from.Base = &builder.Artifact{Image: &img}
		base = func(ctx context.Context) (v1.Image, error) { return sc.Image(ctx, img) }
		ref = ""
		if from.Test {
			name = img.Engine // where it is already
		}
	}
	engine, err := d.deps.Engine(ctx, name)
	if err != nil {
		return builder.Machine{}, err
	}
	m, err := engine.Open(ctx, sc, from, base, ref)
	return stamp(m, engine), err
}

// forPlatform picks the image for a platform out of an index.
func forPlatform(img builder.Image, p builder.Platform) (builder.Image, error) {
	if len(img.Manifests) == 0 {
		return img, nil
	}
	var have []builder.Platform
	for _, m := range img.Manifests {
		if registry.Suits(p, m.Platform) {
			return m, nil
		}
		have = append(have, m.Platform)
	}
	return builder.Image{}, &registry.PlatformError{Image: "the base build", Want: p, Have: have}
}

// stamp writes down whose machine it is, so that a later process with other
// flags asks the same engine.
func stamp(m builder.Machine, e Engine) builder.Machine {
	detail := maps.Clone(m.Detail)
	if detail == nil {
		detail = map[string]string{}
	}
	detail[engineDetail] = e.Name()
	m.Detail = detail
	return m
}

func (d *delegate) engine(ctx context.Context, m builder.Machine) (Engine, error) {
	return d.deps.Engine(ctx, m.Detail[engineDetail])
}

// Dial connects to the machine.
func (d *delegate) Dial(ctx context.Context, sc *builder.Scope, m builder.Machine) (builder.Communicator, error) {
	e, err := d.engine(ctx, m)
	if err != nil {
		return nil, err
	}
	return e.Dial(ctx, sc, m)
}

// Freeze makes an image of the machine.
func (d *delegate) Freeze(ctx context.Context, sc *builder.Scope, m builder.Machine, f builder.Freezing) (builder.Artifact, error) {
	e, err := d.engine(ctx, m)
	if err != nil {
		return builder.Artifact{}, err
	}
	return e.Freeze(ctx, sc, m, f)
}

// Restore goes to the last saved point that the keys allow.
func (d *delegate) Restore(ctx context.Context, sc *builder.Scope, m builder.Machine, keys []builder.SnapshotKey) (builder.Machine, int, error) {
	e, err := d.engine(ctx, m)
	if err != nil {
		return m, 0, err
	}
	restored, n, err := e.Restore(ctx, sc, m, keys)
	return stamp(restored, e), n, err
}

// Snapshot saves what has changed.
func (d *delegate) Snapshot(ctx context.Context, sc *builder.Scope, m builder.Machine, key builder.SnapshotKey) (builder.Machine, error) {
	e, err := d.engine(ctx, m)
	if err != nil {
		return m, err
	}
	saved, err := e.Snapshot(ctx, sc, m, key)
	return stamp(saved, e), err
}

// Rollback throws away what has changed since the last saved point.
func (d *delegate) Rollback(ctx context.Context, sc *builder.Scope, m builder.Machine) error {
	e, err := d.engine(ctx, m)
	if err != nil {
		return err
	}
	return e.Rollback(ctx, sc, m)
}

// Lookup finds the image of an earlier run.
func (d *delegate) Lookup(ctx context.Context, sc *builder.Scope, key builder.Digest) (builder.Artifact, error) {
	e, err := d.deps.Engine(ctx, "")
	if err != nil {
		return builder.Artifact{}, err
	}
	return e.Lookup(ctx, sc, key)
}

// Record makes an image findable.
func (d *delegate) Record(ctx context.Context, sc *builder.Scope, key builder.Digest, a builder.Artifact) error {
	name := ""
	if a.Image != nil {
		name = a.Image.Engine
	}
	e, err := d.deps.Engine(ctx, name)
	if err != nil {
		return err
	}
	return e.Record(ctx, sc, key, a)
}

// Preflight asks the engine that would be chosen whether it can run programs of
// the platform.
func (d *delegate) Preflight(ctx context.Context, p builder.Platform) error {
	e, err := d.deps.Engine(ctx, "")
	if err != nil {
		return err
	}
	if r, ok := e.(runner); ok {
		return r.CanRun(ctx, p)
	}
	return nil
}

// A runner is an Engine that knows which programs it can run.
type runner interface {
	CanRun(ctx context.Context, p builder.Platform) error
}

// digestOf is the content address of plain data.
func digestOf(kind string, v any) builder.Digest {
	data, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("%s: %v", kind, err)) // not plain data: a mistake in this package
	}
	sum := sha256.Sum256(append([]byte(kind+"\x00"), data...))
	return builder.Digest("sha256:" + hex.EncodeToString(sum[:]))
}

// Sources returns the kinds of sources that make container images.
func Sources(d Deps) map[string]func() builder.Source {
	return map[string]func() builder.Source{
		"image":    func() builder.Source { return &Image{delegate: delegate{d}} },
		"rootfs":   func() builder.Source { return &Rootfs{delegate: delegate{d}} },
		"packages": func() builder.Source { return &Packages{delegate: delegate{d}} },
		"scratch":  func() builder.Source { return &Scratch{delegate: delegate{d}} },
		"builtin":  func() builder.Source { return &Builtin{delegate: delegate{d}} },
		"build":    func() builder.Source { return &Build{delegate: delegate{d}} },
	}
}
