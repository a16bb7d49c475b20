package oci

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"bake/builder"
)

// useSnapshot finds a snapshot whose layer is there, or can be made again of
// its blob, and keeps it from being pruned. The directory may be another than
// the one recorded.
func (s *store) useSnapshot(id string) (rec snapshotRecord, err error) {
	if known, ok := s.known.Load(kindSnapshot + id); ok {
		return known.(snapshotRecord), nil
	}
	defer func() { s.remember(kindSnapshot+id, rec, err) }()
	err = s.use(func() ([]string, error) {
		if rec, err = read[snapshotRecord](s, kindSnapshot, id); err != nil {
			return nil, err
		}
		s.touch(kindSnapshot, id)
		if rec.Boot == s.boot && exists(s.path("layers", rec.Dir)) {
			return []string{id, rec.Dir}, nil
		}
		pack, err := read[packRecord](s, kindPack, rec.Dir)
		if err != nil {
			return nil, err
		}
		layer, err := read[layerRecord](s, kindLayer, pack.DiffID)
		if err != nil {
			return nil, err
		}
		if !s.whole(layer) {
			return nil, builder.ErrNotFound
		}
		return []string{id, rec.Dir, layer.Blob}, nil
	})
	return rec, err
}

// snapshotDir returns the directory of a snapshot's layer, made again if a
// power loss may have damaged it.
func (e *Engine) snapshotDir(ctx context.Context, s *store, sc *builder.Scope, rec snapshotRecord) (string, error) {
	if rec.Boot == s.boot && exists(s.path("layers", rec.Dir)) {
		return rec.Dir, nil
	}
	pack, err := read[packRecord](s, kindPack, rec.Dir)
	if err != nil {
		return "", err
	}
	layer, err := read[layerRecord](s, kindLayer, pack.DiffID)
	if err != nil {
		return "", err
	}
	layer, err = e.layer(ctx, s, sc, layer, s.openBlob(layer.Blob))
	return layer.Dir, err
}

// chain returns the snapshots that a machine stands on, base first.
func (s *store) chain(m builder.Machine) ([]snapshotRecord, error) {
	var chain []snapshotRecord
	for id := m.Snapshot; id != ""; {
		rec, err := s.useSnapshot(id)
		if err != nil {
			return nil, fmt.Errorf("saved step %s: %w", id, err)
		}
		chain = append(chain, rec)
		id = rec.Parent
	}
	slices.Reverse(chain)
	return chain, nil
}

// Restore goes forward over the snapshots that earlier runs left for keys.
func (e *Engine) Restore(ctx context.Context, sc *builder.Scope, m builder.Machine, keys []builder.SnapshotKey) (builder.Machine, int, error) {
	s, err := e.store(ctx)
	if err != nil {
		return m, 0, err
	}
	for n, key := range keys {
		if key.Never {
			return m, n, nil
		}
		rec, err := s.stepSnapshot(m, key)
		if errors.Is(err, builder.ErrNotFound) {
			return m, n, nil
		}
		if err != nil {
			return m, n, err
		}
		m.Snapshot = rec.ID
	}
	return m, len(keys), nil
}

// stepSnapshot finds the snapshot that key left on top of what m stands on.
func (s *store) stepSnapshot(m builder.Machine, key builder.SnapshotKey) (snapshotRecord, error) {
	name := stepName(m.Detail[detailBase], m.Snapshot, key.Key)
	newest, err := read[snapshotRecord](s, kindStep, name)
	if err != nil {
		return newest, err
	}
	rec, err := s.useSnapshot(newest.ID)
	if err != nil {
		return rec, err
	}
	if key.MaxAge > 0 && time.Since(rec.Created) > key.MaxAge {
		return rec, builder.ErrNotFound
	}
	return rec, nil
}

// Snapshot makes what has changed since the last one a layer. It is one
// rename; packing waits until the image is frozen.
func (e *Engine) Snapshot(ctx context.Context, sc *builder.Scope, m builder.Machine, key builder.SnapshotKey) (builder.Machine, error) {
	s, err := e.store(ctx)
	if err != nil {
		return m, err
	}
	if err := s.prepareUpper(m); err != nil { // a step that ran no command on the machine
		return m, err
	}
	rec := snapshotRecord{ID: newID(), Parent: m.Snapshot, Base: m.Detail[detailBase], Dir: newID(), Key: key.Key, Step: key.Step, Created: time.Now(), Boot: s.boot}
	err = s.use(func() ([]string, error) {
		if err := s.host.Rename(ctx, s.upper(m), s.path("layers", rec.Dir)); err != nil {
			return nil, err
		}
		if err := write(s, kindSnapshot, rec.ID, rec); err != nil {
			return nil, err
		}
		return []string{rec.ID, rec.Dir}, s.alias(kindSnapshot, rec.ID, kindStep, stepName(rec.Base, rec.Parent, rec.Key))
	})
	if err != nil {
		return m, err
	}
	s.remember(kindSnapshot+rec.ID, rec, nil)
	m.Snapshot = rec.ID
	return m, s.prepareUpper(m) // its name keeps the snapshot from being pruned
}

// Rollback throws away what has changed since the last snapshot.
func (e *Engine) Rollback(ctx context.Context, sc *builder.Scope, m builder.Machine) error {
	s, err := e.store(ctx)
	if err != nil {
		return err
	}
	s.endProcess(m.ID)
	return s.remove(ctx, s.upper(m))
}
