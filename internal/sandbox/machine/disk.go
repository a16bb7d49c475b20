package machine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
)

// NewDisk makes a disk with the content of a snapshot, or an empty one if
// fromSnapshot is "". It copies nothing. It is fs.ErrExist if there is a disk
// of this name, and fs.ErrNotExist if there is no such snapshot.
func (h *Host) NewDisk(ctx context.Context, diskID, fromSnapshot string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.store.newDisk(ctx, diskID, fromSnapshot)
}

// Snapshot makes a snapshot of a disk. If no machine runs on it, that takes the
// same time however much is on it. If one runs, it is copied as it
// is found, file by file, as a power cut would leave it: stop the machine, or
// use Machine.RebootWith, for one that is consistent.
func (h *Host) Snapshot(ctx context.Context, diskID, snapshotID string) error {
	if err := errors.Join(checkID(diskID), checkID(snapshotID)); err != nil {
		return err
	}
	h.mu.Lock()
	if !h.mounted[diskID] && (h.running[diskID] == nil || h.running[diskID].unmounted()) {
		defer h.mu.Unlock()
		return about("making a snapshot of disk", diskID, h.store.freeze(ctx, diskID, snapshotID))
	}
	h.importing++ // the layer has no record while it is made
	h.mu.Unlock()
	err := h.store.copyUpper(ctx, diskID, snapshotID)
	return errors.Join(about("making a snapshot of disk", diskID, err), h.imported(ctx))
}

// CopySnapshot makes a second snapshot with the content of another.
func (h *Host) CopySnapshot(ctx context.Context, from, to string) error {
	if err := errors.Join(checkID(from), checkID(to)); err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	st, err := readStack(h.store.snapshotFile(from))
	if err == nil {
		err = h.store.writeStack(h.store.snapshotFile(to), st)
	}
	return about("copying snapshot", from, err)
}

// DeleteDisk removes a disk, and the layers that nothing else has. It is a
// *BusyError while a machine runs on it. One that is not there is fine.
func (h *Host) DeleteDisk(ctx context.Context, diskID string) error {
	if err := checkID(diskID); err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.running[diskID] != nil || h.mounted[diskID] {
		return &BusyError{"disk " + diskID}
	}
	err := os.Remove(h.store.diskFile(diskID)) // what is left is swept
	return h.deleted(ctx, "disk", diskID, err)
}

// DeleteSnapshot removes a snapshot, and the layers that nothing else has.
// Disks made of it keep their content. One that is not there is fine.
func (h *Host) DeleteSnapshot(ctx context.Context, snapshotID string) error {
	if err := checkID(snapshotID); err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.deleted(ctx, "snapshot", snapshotID, os.Remove(h.store.snapshotFile(snapshotID)))
}

// deleted sweeps after a record was removed.
func (h *Host) deleted(ctx context.Context, kind, id string, err error) error {
	if errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	if err == nil && h.importing > 0 {
		h.unswept = true
		return nil
	}
	if err == nil {
		err = h.store.sweep(ctx)
	}
	return about("deleting "+kind, id, err)
}

// imported ends what h.importing counts.
func (h *Host) imported(ctx context.Context) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.importing--
	if h.importing > 0 || !h.unswept {
		return nil
	}
	h.unswept = false
	return h.store.sweep(ctx)
}

// Stored returns the ids of all disks and snapshots, sorted.
func (h *Host) Stored() (disks, snapshots []string, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.store.list()
}

func about(doing, id string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s %s: %w", doing, id, err)
}

func ignoreEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}
