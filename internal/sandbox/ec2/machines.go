package ec2

import (
	"context"
	"os"
	"sync"
	"sync/atomic"

	"bake/internal/sandbox/machine"
)

// A machineRoom is what instances run on: the host of disks and machines, opened
// when the first disk is needed. It is nil where instances are states only.
type machineRoom struct {
	open    func() (*machine.Host, error)
	opened  atomic.Bool
	builtIn func() error // imports the built-in base, once
}

func newMachineRoom(dir string, log func(format string, args ...any)) *machineRoom {
	if dir == "" {
		return nil
	}
	m := &machineRoom{}
	m.open = sync.OnceValues(func() (*machine.Host, error) {
		m.opened.Store(true)
		return machine.Open(machine.Options{Dir: dir, Log: log})
	})
	m.builtIn = sync.OnceValue(func() error { return m.importBase(context.Background(), builtIn, "") })
	return m
}

// importBase makes a snapshot of a base: a tar of a root filesystem, a folder, or "" for the built-in one.
func (m *machineRoom) importBase(ctx context.Context, snapshot, path string) error {
	h, err := m.open()
	if err != nil {
		return err
	}
	b := machine.Base{Tar: path}
	if path == "" {
		img, err := builtInBase(ctx)
		if err != nil {
			return err
		}
		b = machine.Base{Image: img}
	} else if info, err := os.Stat(path); err != nil {
		return err
	} else if info.IsDir() {
		b = machine.Base{Dir: path}
	}
	return h.ImportBase(ctx, snapshot, b)
}

// newDisk makes the disk of a volume, empty if layer is "".
func (m *machineRoom) newDisk(ctx context.Context, volume, layer string) error {
	h, err := m.open()
	if err != nil {
		return err
	}
	if layer == builtIn {
		if err := m.builtIn(); err != nil {
			return err
		}
	}
	return h.NewDisk(ctx, volume, layer)
}

// close closes the folder, if it was ever opened.
func (m *machineRoom) close() error {
	if m == nil || !m.opened.Load() {
		return nil
	}
	h, err := m.open()
	if err != nil {
		return nil // it was said to who wanted a machine
	}
	return h.Close()
}
