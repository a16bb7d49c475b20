package oci

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/gofrs/flock"

	"bake/builder"
)

// Usage is what is in a store.
type Usage struct {
	Size  int64 // bytes of all layers and blobs
	Freed int64 // bytes of what Prune removed
}

// Prune removes what was not used longest until layers and blobs take at most
// limit bytes. What a running bake or a run that can be resumed uses stays,
// even above the limit. Leftovers of crashes go in any case.
func (e *Engine) Prune(ctx context.Context, limit int64) (Usage, error) {
	if !e.exists() {
		return Usage{}, nil
	}
	s, err := e.store(ctx)
	if err != nil {
		return Usage{}, err
	}
	lock := flock.New(s.path("lock"))
	if _, err := lock.TryLockContext(ctx, 20*time.Millisecond); err != nil {
		return Usage{}, fmt.Errorf("locking the store: %w", err)
	}
	defer lock.Close()
	p := &pruning{store: s, objects: map[string]*object{}}
	if err := p.look(ctx); err != nil {
		return Usage{}, fmt.Errorf("looking through the store: %w", err)
	}
	return p.shrink(ctx, limit)
}

// An object is a layer's directory or a blob.
type object struct {
	path  string
	size  int64
	users int
}

// An item is a record that can be pruned with what only it uses.
type item struct {
	kind, name string
	used       time.Time
	depth      int // of a snapshot in its chain: what stands on another goes first
	objects    []string
	kept       bool
}

// A pruning is one pass over the store, which nobody else changes meanwhile.
type pruning struct {
	*store
	objects map[string]*object // by directory name or digest
	items   []*item
	usage   Usage
}

// look finds all objects and who uses them.
func (p *pruning) look(ctx context.Context) error {
	used, err := p.others(p.path("leases"))
	if err != nil {
		return err
	}
	if err := p.keepWorkspaces(used); err != nil {
		return err
	}
	for _, step := range []func(context.Context) error{p.findLayers, p.findBlobs} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	p.findSnapshots()
	p.findImages()
	p.findMerges()
	for _, it := range p.items {
		it.kept = used[it.name] || used["sha256:"+it.name]
		for _, name := range it.objects {
			if o := p.objects[name]; o != nil {
				o.users++
			}
		}
	}
	for name, o := range p.objects {
		if used[name] {
			o.users++
		}
	}
	return nil
}

// keepWorkspaces adds what the machines of runs that may be resumed stand on.
func (p *pruning) keepWorkspaces(used map[string]bool) error {
	entries, err := os.ReadDir(p.path("work"))
	if err != nil {
		return err
	}
	for _, e := range entries {
		w, err := p.readWorkspace(e.Name())
		if err != nil {
			continue
		}
		used[w.Base] = true
		uppers, err := filepath.Glob(p.workspace(e.Name(), upperPrefix+"*"))
		if err != nil {
			return err
		}
		for _, u := range uppers {
			p.keepChain(strings.TrimPrefix(filepath.Base(u), upperPrefix), used)
		}
	}
	return nil
}

func (p *pruning) keepChain(id string, used map[string]bool) {
	for id != "" && !used[id] {
		used[id] = true
		rec, err := read[snapshotRecord](p.store, kindSnapshot, id)
		if err != nil {
			return
		}
		id = rec.Parent
	}
}

func (p *pruning) findLayers(ctx context.Context) error {
	entries, err := os.ReadDir(p.path("layers"))
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name() == "skeleton" {
			continue
		}
		path := p.path("layers", e.Name())
		size, err := p.sizeOf(ctx, path)
		if err != nil {
			return err
		}
		p.objects[e.Name()] = &object{path: path, size: size}
		p.usage.Size += size
	}
	return nil
}

// sizeOf adds up a directory. A layer never changes, so its size is remembered.
func (p *pruning) sizeOf(ctx context.Context, dir string) (int64, error) {
	name := filepath.Base(dir)
	if size, err := read[int64](p.store, kindSize, name); err == nil {
		return size, nil
	}
	size, err := p.host.Size(ctx, dir)
	if err != nil {
		return 0, err
	}
	return size, write(p.store, kindSize, name, size)
}

func (p *pruning) findBlobs(context.Context) error {
	entries, err := os.ReadDir(p.path("blobs"))
	if err != nil {
		return err
	}
	for _, e := range entries {
		st, err := e.Info()
		if err != nil {
			return err
		}
		p.objects["sha256:"+e.Name()] = &object{path: p.path("blobs", e.Name()), size: st.Size()}
		p.usage.Size += st.Size()
	}
	return nil
}

// records lists the records of a kind with the time of their last use.
func (p *pruning) records(kind string, fn func(it *item)) {
	entries, err := os.ReadDir(p.path("records", kind))
	if err != nil {
		return // there are none yet
	}
	for _, e := range entries {
		st, err := e.Info()
		if err != nil {
			continue
		}
		it := &item{kind: kind, name: strings.TrimSuffix(e.Name(), ".json"), used: st.ModTime()}
		fn(it)
	}
}

func (p *pruning) findSnapshots() {
	all := map[string]snapshotRecord{}
	p.records(kindSnapshot, func(it *item) {
		rec, err := read[snapshotRecord](p.store, kindSnapshot, it.name)
		if err != nil {
			p.remove(context.Background(), p.record(kindSnapshot, it.name)) // torn by a power loss
			return
		}
		all[it.name] = rec
		it.objects = append([]string{rec.Dir}, p.packedAs(rec.Dir)...)
		p.items = append(p.items, it)
	})
	for _, it := range p.items {
		for id := all[it.name].Parent; id != "" && it.depth < len(all); id = all[id].Parent {
			it.depth++
		}
	}
}

// packedAs returns the blob, and the directory made of it, that a step's layer
// was packed to.
func (p *pruning) packedAs(dir string) []string {
	pack, err := read[packRecord](p.store, kindPack, dir)
	if err != nil {
		return nil
	}
	layer, err := read[layerRecord](p.store, kindLayer, pack.DiffID)
	if err != nil {
		return nil
	}
	return []string{layer.Blob, layer.Dir}
}

func (p *pruning) findImages() {
	p.records(kindImage, func(it *item) {
		rec, err := read[imageRecord](p.store, kindImage, it.name)
		if err != nil {
			p.remove(context.Background(), p.record(kindImage, it.name))
			return
		}
		for _, l := range rec.Layers {
			it.objects = append(it.objects, l.Blob)
			if layer, err := read[layerRecord](p.store, kindLayer, l.DiffID); err == nil {
				it.objects = append(it.objects, layer.Dir)
			}
		}
		p.items = append(p.items, it)
	})
}

func (p *pruning) findMerges() {
	p.records(kindMerge, func(it *item) {
		rec, err := read[mergeRecord](p.store, kindMerge, it.name)
		if err == nil {
			it.objects = []string{rec.Dir}
			p.items = append(p.items, it)
		}
	})
}

// shrink removes what nothing speaks of, and then records, the longest unused
// first, until the limit is kept.
func (p *pruning) shrink(ctx context.Context, limit int64) (Usage, error) {
	if err := p.clearTemp(ctx); err != nil {
		return p.usage, err
	}
	for _, o := range p.objects {
		if o.users > 0 {
			continue
		}
		if err := p.drop(ctx, o); err != nil {
			return p.usage, err
		}
	}
	slices.SortFunc(p.items, func(a, b *item) int {
		if c := a.used.Truncate(time.Second).Compare(b.used.Truncate(time.Second)); c != 0 {
			return c
		}
		return cmp.Or(cmp.Compare(b.depth, a.depth), cmp.Compare(a.name, b.name))
	})
	for _, it := range p.items {
		if p.usage.Size <= limit || ctx.Err() != nil {
			break
		}
		if it.kept {
			continue
		}
		if err := p.forget(ctx, it); err != nil {
			return p.usage, err
		}
	}
	p.sweepRecords()
	return p.usage, context.Cause(ctx)
}

// forget removes a record, and then what it was the last to use.
func (p *pruning) forget(ctx context.Context, it *item) error {
	if err := os.Remove(p.record(it.kind, it.name)); err != nil {
		return err
	}
	for _, name := range it.objects {
		o := p.objects[name]
		if o == nil {
			continue
		}
		if o.users--; o.users > 0 {
			continue
		}
		if err := p.drop(ctx, o); err != nil {
			return err
		}
	}
	return nil
}

func (p *pruning) drop(ctx context.Context, o *object) error {
	if o.path == "" {
		return nil
	}
	if err := p.remove(ctx, o.path); err != nil {
		return err
	}
	o.path = ""
	p.usage.Size -= o.size
	p.usage.Freed += o.size
	return nil
}

// clearTemp removes what dead processes were making. What is being made now is
// young; no single file is in the making for a day.
func (p *pruning) clearTemp(ctx context.Context) error {
	entries, err := os.ReadDir(p.path("tmp"))
	if err != nil {
		return err
	}
	alone, err := p.alone()
	if err != nil {
		return err
	}
	for _, e := range entries {
		st, err := e.Info()
		if err != nil || !alone && time.Since(st.ModTime()) < 24*time.Hour {
			continue
		}
		if err := p.host.Remove(ctx, p.path("tmp", e.Name())); err != nil {
			return err
		}
	}
	return nil
}

// sweepRecords removes small records whose subject is gone.
func (p *pruning) sweepRecords() {
	gone := map[string]func(name string) bool{
		kindSize: func(name string) bool { return !exists(p.path("layers", name)) },
		kindPack: func(name string) bool {
			rec, err := read[packRecord](p.store, kindPack, name)
			return err != nil || !exists(p.record(kindLayer, rec.DiffID))
		},
		kindLayer: func(name string) bool {
			rec, err := read[layerRecord](p.store, kindLayer, name)
			return err != nil || !p.whole(rec)
		},
		kindStep: func(name string) bool {
			id, err := read[string](p.store, kindStep, name)
			return err != nil || !exists(p.record(kindSnapshot, id))
		},
		kindBase: func(name string) bool {
			id, err := read[string](p.store, kindBase, name)
			return err != nil || !exists(p.record(kindImage, id))
		},
		kindArtifact: func(name string) bool {
			a, err := read[builder.Artifact](p.store, kindArtifact, name)
			return err != nil || a.Image == nil || !exists(p.record(kindImage, a.Image.ID))
		},
	}
	for _, kind := range []string{kindLayer, kindPack, kindSize, kindStep, kindBase, kindArtifact} {
		p.records(kind, func(it *item) {
			if gone[kind](it.name) {
				os.Remove(p.record(kind, it.name)) // at worst it is swept the next time
			}
		})
	}
}
