package machine

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"bake/internal/sandbox/machine/guest"
)

// The commands that a machine has besides its image's are links to its first
// program, in a layer between the image and what the machine writes: snapshots
// do not have it. They lie where every PATH finds them first, and where scripts
// name them by their path.

// shims makes that layer for a disk whose layers are given, top first, as paths.
func (h *Host) shims(ctx context.Context, dir string, layers []string) error {
	if err := h.rootfs.Remove(ctx, dir); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	power := []string{"shutdown", "reboot", "poweroff", "halt"}
	first := append([]string{"cloud-init"}, power...)
	first = append(first, guest.VolumeCommands()...)
	if found(layers, "usr/bin/systemctl") != nil || found(layers, "bin/systemctl") != nil {
		first = append(first, "systemctl")
	}
	for _, name := range guest.VolumeTools() {
		if found(layers, "usr/bin/"+name) != nil || found(layers, "usr/sbin/"+name) != nil || found(layers, "sbin/"+name) != nil {
			first = append(first, name)
		}
	}
	for _, s := range []struct {
		dir   string
		names []string
	}{{"usr/local/sbin", first}, {"usr/local/bin", first}, {"usr/sbin", power}, {"sbin", power}} {
		ok, err := likeLayers(dir, layers, s.dir)
		if err != nil {
			return err
		}
		for _, name := range s.names {
			if !ok {
				break
			}
			if err := os.Symlink(guest.Program, filepath.Join(dir, s.dir, name)); err != nil {
				return err
			}
		}
	}
	return nil
}

// found returns what the topmost layer that has a file says about it.
func found(layers []string, name string) fs.FileInfo {
	for _, l := range layers {
		if st, err := os.Lstat(filepath.Join(l, name)); err == nil {
			if st.Mode()&fs.ModeCharDevice != 0 {
				return nil // a whiteout
			}
			return st
		}
	}
	return nil
}

// likeLayers makes the folder name below dir with the modes and owners that it
// has in the layers, since those of the top layer show. It is false if the name
// leads elsewhere there.
func likeLayers(dir string, layers []string, name string) (bool, error) {
	if parent := path.Dir(name); parent != "." {
		if ok, err := likeLayers(dir, layers, parent); !ok || err != nil {
			return ok, err
		}
	}
	st := found(layers, name)
	if st != nil && !st.IsDir() {
		return false, nil
	}
	made := filepath.Join(dir, name)
	if err := os.Mkdir(made, 0o755); errors.Is(err, fs.ErrExist) {
		return true, nil
	} else if err != nil {
		return false, err
	}
	if st == nil {
		return true, nil
	}
	return true, like(made, st)
}
