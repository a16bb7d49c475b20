package machine

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"bake/internal/imagefile"
	"bake/internal/rootfs"
	"bake/internal/rootfs/untar"
)

// A Base is a root filesystem that machines start from. One of its fields is set.
type Base struct {
	// Dir is a folder that is copied, with the owners and modes that it has.
	Dir string
	// Fixed is a folder that is used where it is. It must not change, nor be
	// removed, as long as a disk of it is there.
	Fixed string
	// Tar is a file that holds a root filesystem, compressed or not.
	Tar string
	// Image is a container image: its layers, without its config.
	Image v1.Image
}

// ImportBase makes a snapshot of a base. What was imported before, by the
// content of its tar or of its layers, is used again. A folder that
// has no place for mounts is fine: machines bring their own.
func (h *Host) ImportBase(ctx context.Context, snapshotID string, b Base) error {
	if err := checkID(snapshotID); err != nil {
		return err
	}
	h.mu.Lock()
	h.importing++
	h.mu.Unlock()
	layers, err := h.importLayers(ctx, b)
	if err == nil {
		err = h.store.writeStack(h.store.snapshotFile(snapshotID), stack{Layers: layers})
	} else {
		h.mu.Lock()
		h.unswept = true // layers of an image that is not whole
		h.mu.Unlock()
	}
	return errors.Join(about("importing the base of", snapshotID, err), h.imported(context.WithoutCancel(ctx)))
}

func (h *Host) importLayers(ctx context.Context, b Base) ([]string, error) {
	switch {
	case b.Fixed != "":
		dir, err := filepath.Abs(b.Fixed)
		if err != nil {
			return nil, err
		}
		if _, err := os.ReadDir(dir); err != nil {
			return nil, err
		}
		return []string{dir}, nil
	case b.Dir != "":
		name, err := h.importLayer(ctx, newLayer(), func(dir string) error {
			return h.store.copyTree(ctx, b.Dir, dir, rootfs.Options{})
		})
		return []string{name}, err
	case b.Tar != "":
		return h.importTar(ctx, b.Tar)
	case b.Image != nil:
		return h.importImage(ctx, b.Image)
	}
	return nil, errors.New("no base: a folder, a tar or an image is needed")
}

func (h *Host) importTar(ctx context.Context, path string) ([]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return nil, err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	name, err := h.importLayer(ctx, "t"+hex.EncodeToString(sum.Sum(nil)[:8]), func(dir string) error {
		plain, err := imagefile.Decompress(ctx, f)
		if err != nil {
			return err
		}
		defer plain.Close()
		return h.rootfs.Apply(ctx, dir, rootfs.Options{}, untar.Feed(plain))
	})
	return []string{name}, err
}

func (h *Host) importImage(ctx context.Context, img v1.Image) ([]string, error) {
	layers, err := img.Layers()
	if err != nil {
		return nil, err
	}
	names := make([]string, len(layers))
	for i, l := range layers {
		diff, err := l.DiffID()
		if err != nil {
			return nil, err
		}
		names[len(layers)-1-i], err = h.importLayer(ctx, "i"+diff.Hex[:16], func(dir string) error {
			r, err := l.Uncompressed()
			if err != nil {
				return err
			}
			defer r.Close()
			return h.rootfs.Apply(ctx, dir, rootfs.Options{Layer: true}, untar.Feed(r))
		})
		if err != nil {
			return nil, err
		}
	}
	return names, nil
}

// importLayer makes the layer name with fill, unless it is there.
func (h *Host) importLayer(ctx context.Context, name string, fill func(dir string) error) (string, error) {
	_, err, _ := h.imports.Do(name, func() (any, error) {
		if _, err := os.Lstat(h.store.path(layersDir, name)); err == nil {
			return nil, nil
		}
		tmp, err := h.store.temp()
		if err != nil {
			return nil, err
		}
		if err = os.Chmod(tmp, 0o755); err == nil {
			err = fill(tmp)
		}
		if err == nil {
			err = h.rootfs.Rename(ctx, tmp, h.store.path(layersDir, name))
		}
		if err != nil {
			return nil, errors.Join(err, h.rootfs.Remove(context.WithoutCancel(ctx), tmp))
		}
		return nil, nil
	})
	return name, err
}
