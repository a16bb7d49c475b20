package machine

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"

	"bake/internal/rootfs"
	"bake/internal/sandbox/machine/guest"
)

// A volume besides the root is a disk like the root's: layers, and a folder
// that takes what is written. There is no block device behind its name in /dev,
// since only root can have loop devices, and not everywhere; what people do
// with one works without: mkfs notes which file system the disk has, mount
// mounts its layers, and a snapshot takes no longer than that of a root. What
// does not work is to read or write the device itself (dd, parted).

// A Volume is a disk that a machine has besides its root.
type Volume struct {
	Disk   string
	Device string // what it is attached as: "/dev/sdf"
	Size   int64  // bytes, for those who ask
}

// A Filesystem is what mkfs made on a disk.
type Filesystem struct {
	Type  string `json:"type"`
	UUID  string `json:"uuid"`
	Label string `json:"label,omitempty"`
}

// An attached volume, and where it is mounted.
type attached struct {
	Volume
	mounts []string
}

// filesystem is what is on a disk; a root's was not made by mkfs, and is one all the same.
func (st stack) filesystem() Filesystem {
	switch {
	case st.Filesystem != nil:
		return *st.Filesystem
	case len(st.Layers) == 0:
		return Filesystem{}
	}
	h := sha256.Sum256([]byte(st.Layers[len(st.Layers)-1]))
	return Filesystem{Type: "ext4", UUID: fmt.Sprintf("%x-%x-%x-%x-%x", h[:4], h[4:6], h[6:8], h[8:10], h[10:16]), Label: "root"}
}

// attachedAt makes what a boot begins with of its spec's volumes.
func attachedAt(spec Spec) []*attached {
	var all []*attached
	for _, v := range spec.Volumes {
		all = append(all, &attached{Volume: v})
	}
	return all
}

// Attach gives a running machine another volume.
func (m *Machine) Attach(v Volume) error {
	b := m.current()
	if b == nil {
		return about("attaching a volume to machine", m.spec.ID, ErrEnded)
	}
	b.mu.Lock()
	b.volumes = append(b.volumes, &attached{Volume: v})
	b.mu.Unlock()
	m.mu.Lock()
	m.spec.Volumes = append(slices.Clone(m.spec.Volumes), v)
	m.mu.Unlock()
	return b.order(guest.Order{Volumes: b.shown()})
}

// Detach takes a volume away from a machine. One that is mounted stays until it
// is unmounted, as on AWS, for which Detach waits; or it is taken by force.
func (m *Machine) Detach(ctx context.Context, disk string, force bool) error {
	b := m.current()
	if b == nil {
		return nil
	}
	for force {
		at, mounted := b.mountOf(disk)
		if !mounted {
			break
		}
		if err := b.unmount(ctx, guest.Ask{Volume: disk, Target: at, Lazy: true}); err != nil {
			return about("detaching volume", disk, err)
		}
	}
	for {
		b.mu.Lock()
		changed := b.changed
		i := slices.IndexFunc(b.volumes, func(v *attached) bool { return v.Disk == disk })
		free := i < 0 || len(b.volumes[i].mounts) == 0
		if free && i >= 0 {
			b.volumes = slices.Delete(b.volumes, i, i+1)
		}
		b.mu.Unlock()
		if free {
			break
		}
		select {
		case <-changed:
		case <-b.ended:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	m.mu.Lock()
	m.spec.Volumes = slices.DeleteFunc(slices.Clone(m.spec.Volumes), func(v Volume) bool { return v.Disk == disk })
	m.mu.Unlock()
	return b.order(guest.Order{Volumes: b.shown()})
}

// Mounted reports whether a volume of the machine is mounted.
func (m *Machine) Mounted(disk string) bool {
	b := m.current()
	if b == nil {
		return false
	}
	_, ok := b.mountOf(disk)
	return ok
}

// mountOf is where the volume was mounted last.
func (b *boot) mountOf(disk string) (string, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, v := range b.volumes {
		if v.Disk == disk && len(v.mounts) > 0 {
			return v.mounts[len(v.mounts)-1], true
		}
	}
	return "", false
}

// shown are the volumes as the machine's first program is told of them.
func (b *boot) shown() *[]guest.Volume {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := []guest.Volume{}
	for _, v := range b.volumes {
		g := guest.Volume{ID: v.Disk, Device: v.Device, Size: v.Size, Mounts: slices.Clone(v.mounts)}
		st, err := readStack(b.machine.host.store.diskFile(v.Disk))
		if err != nil {
			b.machine.host.options.Log("volume %s: %v", v.Disk, err)
		}
		fs := st.filesystem()
		g.Type, g.UUID, g.Label = fs.Type, fs.UUID, fs.Label
		all = append(all, g)
	}
	return &all
}

// answer does what the machine asks, and tells it how it went.
func (b *boot) answer(a guest.Ask) {
	ctx := context.Background() // it ends with the container
	var err error
	switch a.Do {
	case guest.Mount:
		err = b.mountVolume(ctx, a)
	case guest.Unmount:
		err = b.unmount(ctx, a)
	case guest.Format:
		err = b.format(ctx, a)
	}
	r := &guest.Reply{ID: a.ID}
	if err != nil {
		r.Err = strings.TrimPrefix(err.Error(), syscall.EBUSY.Error()+": ")
	}
	_ = b.order(guest.Order{Volumes: b.shown(), Reply: r}) // it is gone
}

// volume finds one of the machine's. The caller holds b.mu.
func (b *boot) volume(disk string) (*attached, error) {
	for _, v := range b.volumes {
		if v.Disk == disk {
			return v, nil
		}
	}
	return nil, errors.New("no such device")
}

// mountVolume mounts a volume, or binds it if it is mounted already.
func (b *boot) mountVolume(ctx context.Context, a guest.Ask) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	v, err := b.volume(a.Volume)
	if err != nil {
		return err
	}
	if len(v.mounts) > 0 {
		if err := b.container.Bind(ctx, v.mounts[0], a.Target); err != nil {
			return err
		}
	} else if err := b.machine.host.mountIn(ctx, b.container, a); err != nil {
		return err
	}
	v.mounts = append(v.mounts, a.Target)
	return nil
}

// mountIn mounts a disk's layers in a container; until release nobody else has them.
func (h *Host) mountIn(ctx context.Context, c *rootfs.Container, a guest.Ask) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.running[a.Volume] != nil || h.mounted[a.Volume] {
		return &BusyError{"disk " + a.Volume}
	}
	lower, err := h.store.lower(a.Volume)
	if err != nil {
		return err
	}
	at := disksDir + "/" + a.Volume
	if err := h.rootfs.Remove(ctx, h.store.path(at, "work")); err != nil {
		return err
	}
	for _, d := range []string{"upper", "work", "root"} {
		if err := os.MkdirAll(h.store.path(at, d), 0o755); err != nil {
			return err
		}
	}
	err = c.Mount(ctx, rootfs.Overlay{Base: h.store.dir, Lower: append(lower, emptyDir), Upper: at + "/upper", Work: at + "/work", Spot: at + "/root", ReadOnly: a.ReadOnly}, a.Target)
	if err == nil {
		h.mounted[a.Volume] = true
	}
	return err
}

func (b *boot) unmount(ctx context.Context, a guest.Ask) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	v, err := b.volume(a.Volume)
	if err != nil {
		return err
	}
	i := slices.Index(v.mounts, a.Target)
	if i < 0 {
		return errors.New("not mounted")
	}
	if err := b.container.Unmount(ctx, a.Target, a.Lazy); err != nil {
		if strings.Contains(err.Error(), syscall.EBUSY.Error()) {
			return errors.New("target is busy")
		}
		return err
	}
	v.mounts = slices.Delete(v.mounts, i, i+1)
	if len(v.mounts) == 0 {
		b.machine.host.unmounted(v.Disk)
	}
	close(b.changed)
	b.changed = make(chan struct{})
	return nil
}

// format puts an empty file system on a volume, or none.
func (b *boot) format(ctx context.Context, a guest.Ask) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	v, err := b.volume(a.Volume)
	if err != nil {
		return err
	}
	if len(v.mounts) > 0 {
		return &BusyError{"the volume"}
	}
	h := b.machine.host
	h.mu.Lock()
	defer h.mu.Unlock()
	var made *Filesystem
	if a.Type != "" {
		made = &Filesystem{Type: a.Type, UUID: a.UUID, Label: a.Label}
	}
	return h.store.wipe(ctx, v.Disk, made)
}

// unmounted notes that a disk is nobody's any more.
func (h *Host) unmounted(disk string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.mounted, disk)
}

// unmountAll forgets the mounts of a container that has ended.
func (b *boot) unmountAll() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, v := range b.volumes {
		if len(v.mounts) > 0 {
			b.machine.host.unmounted(v.Disk)
			v.mounts = nil
		}
	}
}
