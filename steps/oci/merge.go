package oci

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"

	"bake/builder"
	"bake/internal/rootfs"
	"bake/internal/rootfs/tree"
)

// maxStack is how many layers overlayfs is given: the names of more do not fit
// into the one page that mount(2) has for them, and above 500 the kernel refuses.
const maxStack = 350

// shallow makes the lowest of too many layers one directory. dirs are top first.
func (e *Engine) shallow(ctx context.Context, s *store, sc *builder.Scope, dirs []string) ([]string, error) {
	if len(dirs) <= maxStack {
		return dirs, nil
	}
	// Room is left for as many steps again, which then share the same merge.
	top, low := dirs[:len(dirs)%(maxStack/2)+1], dirs[len(dirs)%(maxStack/2)+1:]
	name := address(append([]string{"merge"}, low...)...)
	if dir, err := s.useMerge(name); err == nil {
		return append(slices.Clone(top), dir), nil
	}
	v, err, _ := e.flight.Do(s.dir+name, func() (any, error) { return s.merge(ctx, name, low) })
	if err != nil {
		return nil, fmt.Errorf("merging %d layers: %w", len(low), err)
	}
	sc.Log("merged the lowest %d of %d layers for overlayfs; the image keeps them all", len(low), len(dirs))
	return append(slices.Clone(top), v.(string)), nil
}

func (s *store) useMerge(name string) (dir string, err error) {
	err = s.use(func() ([]string, error) {
		rec, err := read[mergeRecord](s, kindMerge, name)
		if err != nil {
			return nil, err
		}
		if rec.Boot != s.boot || !exists(s.path("layers", rec.Dir)) {
			return nil, builder.ErrNotFound
		}
		s.touch(kindMerge, name)
		dir = rec.Dir
		return []string{dir}, nil
	})
	return dir, err
}

func (s *store) merge(ctx context.Context, name string, low []string) (string, error) {
	paths := s.layerPaths(low)
	tmp := s.temp()
	if err := os.Mkdir(tmp, 0o755); err != nil {
		return "", err
	}
	defer s.host.Remove(context.WithoutCancel(ctx), tmp)
	err := s.host.Apply(ctx, tmp, rootfs.Options{Layer: true}, func(apply tree.Func) error {
		return s.host.Walk(ctx, paths, rootfs.Options{Layer: true, Squash: true}, func(e *tree.Entry, r io.Reader) error { return apply(e, r) })
	})
	if err != nil {
		return "", err
	}
	dir := newID()
	err = s.use(func() ([]string, error) {
		if err := s.host.Rename(ctx, tmp, s.path("layers", dir)); err != nil {
			return nil, err
		}
		return []string{dir}, write(s, kindMerge, name, mergeRecord{Dir: dir, Boot: s.boot})
	})
	return dir, err
}
