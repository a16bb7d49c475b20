package imagefile

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"bake/internal/registry"
)

// writeDocker writes what `docker load` reads: uncompressed layers, the
// config, and manifest.json.
// https://github.com/moby/moby/blob/master/image/spec/v1.2.md#combined-image-json--filesystem-changeset-format
func (f File) writeDocker(ctx context.Context, c *registry.Content) (Written, error) {
	write := func(file *os.File) error {
		to := newTarPacker(file)
		if err := f.dockerLayers(ctx, to, c); err != nil {
			return err
		}
		item := f.dockerItem(c)
		if err := to.file(item.Config, c.Config); err != nil {
			return err
		}
		if err := to.file("manifest.json", marshal([]dockerItem{item})); err != nil {
			return err
		}
		return to.close()
	}
	n, err := atomically(f.Path, func(file *os.File) error {
		if f.Compression == "" || f.Compression == registry.None {
			return write(file)
		}
		return compressed(file, f.Compression, write)
	})
	return Written{Digest: hashOf(c.Config).String(), Size: n}, err
}

// compressed lets write fill a temporary file, which can be sought in, and
// compresses that into file.
func compressed(file *os.File, how registry.Compression, write func(*os.File) error) error {
	tmp, err := os.CreateTemp("", "bake-archive-*")
	if err != nil {
		return err
	}
	defer tmp.Close()
	os.Remove(tmp.Name()) // it lives as long as it is open
	if err := write(tmp); err != nil {
		return err
	}
	if _, err := tmp.Seek(0, io.SeekStart); err != nil {
		return err
	}
	return compress(file, how, tmp)
}

// dockerItem is the image's entry in manifest.json.
func (f File) dockerItem(c *registry.Content) dockerItem {
	item := dockerItem{Config: hashOf(c.Config).Hex + ".json", RepoTags: f.repoTags()}
	for _, diffID := range c.DiffIDs {
		item.Layers = append(item.Layers, diffID.Hex+".tar")
	}
	return item
}

// repoTags are the tags that are whole names; the others mean nothing to docker.
func (f File) repoTags() []string {
	var out []string
	for _, t := range f.Tags {
		if name, tag := splitName(t); name != "" {
			out = append(out, name+":"+tag)
		}
	}
	return out
}

func (f File) dockerLayers(ctx context.Context, to *tarPacker, c *registry.Content) error {
	add := func(diffID v1.Hash, r io.Reader) error {
		_, err := to.entry(func(w io.Writer) (string, error) {
			_, err := io.CopyBuffer(struct{ io.Writer }{w}, r, make([]byte, 256<<10))
			return diffID.Hex + ".tar", err
		})
		return err
	}
	if c.Streamer != nil {
		return c.Streamer.StreamLayers(ctx, func(v1.Hash) bool { return true }, func(diffID v1.Hash, tar io.Reader) error {
			r, _ := f.watched(ctx, diffID, func() (io.ReadCloser, error) { return verified(io.NopCloser(tar), diffID), nil })()
			return add(diffID, r)
		})
	}
	for i, l := range c.Sources {
		if to.have[c.DiffIDs[i].Hex+".tar"] {
			continue
		}
		r, err := f.watched(ctx, c.DiffIDs[i], l.Uncompressed)()
		if err != nil {
			return fmt.Errorf("layer %s: %w", c.DiffIDs[i], err)
		}
		err = add(c.DiffIDs[i], r)
		if err = errors.Join(err, r.Close()); err != nil {
			return fmt.Errorf("layer %s: %w", c.DiffIDs[i], err)
		}
	}
	return nil
}
