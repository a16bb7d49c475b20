// Package oci is bake's own container engine: it needs no daemon. A build's
// machine is a stack of layers that overlayfs shows as one, each step runs in
// namespaces of its own (package rootfs) and leaves one layer, and an image is
// the packed layers and a config. Everything is kept in a store, a directory
// that concurrent processes share.
package oci

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sync/singleflight"

	"bake/builder"
	"bake/internal/rootfs"
)

// engineName is Image.Engine of what this engine makes.
const engineName = "embedded"

// Options say how the engine works.
type Options struct {
	// Dir is the root of the store; it is made if need be. It must be on a file
	// system that overlayfs can write to.
	Dir string
	// Exact packs layers for the very time that Freezing.Created says, as
	// SOURCE_DATE_EPOCH asks for. Without it a layer that an earlier run packed
	// stays as it is, so that an image keeps the digests of unchanged layers.
	Exact bool
}

// An Engine makes container images on this machine. It is safe for concurrent use.
type Engine struct {
	opts Options

	mu     sync.Mutex
	open   *store // opened when it is first needed
	flight singleflight.Group
}

// New returns an engine over the store in opts.Dir. It touches nothing before
// the engine is used, so that it can be asked on any machine.
func New(opts Options) (*Engine, error) {
	dir, err := filepath.Abs(opts.Dir)
	if err != nil {
		return nil, fmt.Errorf("the store of the embedded engine: %w", err)
	}
	opts.Dir = dir
	return &Engine{opts: opts}, nil
}

// Name returns "embedded".
func (e *Engine) Name() string { return engineName }

// Dir is the root of the store.
func (e *Engine) Dir() string { return e.opts.Dir }

// Close ends what the engine runs and gives up what it holds in the store.
func (e *Engine) Close() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.open == nil {
		return nil
	}
	err := e.open.close()
	e.open = nil
	return err
}

// store opens the store.
func (e *Engine) store(ctx context.Context) (*store, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.open != nil {
		return e.open, nil
	}
	host, err := rootfs.Open()
	if err != nil {
		return nil, err
	}
	s, err := openStore(e.opts.Dir, host)
	if err != nil {
		host.Close()
		return nil, err
	}
	if err := s.afterCrash(ctx); err != nil {
		return nil, errors.Join(err, s.close())
	}
	e.open = s
	return s, nil
}

// exists reports whether there is a store at all, for what only reads and deletes.
func (e *Engine) exists() bool {
	_, err := os.Stat(e.opts.Dir)
	return err == nil
}

// check that the engine is what it should be.
var (
	_ builder.Snapshotter = (*Engine)(nil)
	_ builder.Cacher      = (*Engine)(nil)
	_ builder.ImageOpener = (*Engine)(nil)
)
