package imagefile

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gofrs/flock"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"bake/internal/registry"
)

const layoutMarker = `{"imageLayoutVersion":"1.0.0"}`

// containerdName is where containerd and docker load look for a whole name.
const containerdName = "io.containerd.image.name"

// entries lists an image in index.json once for each tag. "latest" is what
// tools look for if they are told no tag.
func (f File) entries(top v1.Descriptor) []v1.Descriptor {
	tags := f.Tags
	if len(tags) == 0 {
		tags = []string{"latest"}
	}
	var out []v1.Descriptor
	for _, t := range tags {
		d := top
		name, tag := splitName(t)
		d.Annotations = map[string]string{refName: tag}
		if name != "" {
			d.Annotations[containerdName] = fullName(t)
		}
		out = append(out, d)
	}
	return out
}

// splitName cuts "web:1.2" into name and tag; "1.2" is a tag alone.
func splitName(s string) (name, tag string) {
	i := strings.LastIndexByte(s, ':')
	switch {
	case i >= 0 && !strings.Contains(s[i:], "/"):
		return s[:i], s[i+1:]
	case strings.Contains(s, "/"):
		return s, "latest"
	}
	return "", s
}

// fullName spells a name with its registry, as containerd does.
func fullName(s string) string {
	ref, err := registry.ParseReference(s, false)
	if err != nil {
		return s
	}
	return strings.Replace(ref.Repository.String(), "index.docker.io/", "docker.io/", 1) + ":" + ref.Tag
}

// writeDir adds the image to a layout, which it makes if there is none. Blobs
// come first, then index.json is replaced: whoever reads meanwhile, or after a
// kill, finds a whole layout.
func (f File) writeDir(ctx context.Context, contents []*registry.Content) (Written, error) {
	if err := os.MkdirAll(filepath.Join(f.Path, "blobs", "sha256"), 0o755); err != nil {
		return Written{}, err
	}
	lock := flock.New(f.Path, flock.SetFlag(os.O_RDONLY)) // the directory itself: nothing is left over
	if err := lock.Lock(); err != nil {
		return Written{}, err
	}
	defer lock.Close()
	to := &dirPacker{dir: f.Path}
	for _, c := range contents {
		if err := f.fill(ctx, to, c); err != nil {
			return Written{}, err
		}
	}
	top, err := f.finish(to, contents)
	if err != nil {
		return Written{}, err
	}
	if err := replace(filepath.Join(f.Path, "oci-layout"), []byte(layoutMarker)); err != nil {
		return Written{}, err
	}
	return Written{Digest: top.Digest.String(), Size: size(contents)}, f.list(top)
}

// list puts the image's entries into index.json, in place of what had its tags.
func (f File) list(top v1.Descriptor) error {
	path := filepath.Join(f.Path, "index.json")
	index := v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex}
	raw, err := os.ReadFile(path)
	switch {
	case err == nil:
		if err := json.Unmarshal(raw, &index); err != nil {
			return fmt.Errorf("index.json: %w", err)
		}
	case !errors.Is(err, os.ErrNotExist):
		return err
	}
	add := f.entries(top)
	index.Manifests = slices.DeleteFunc(index.Manifests, func(old v1.Descriptor) bool {
		return slices.ContainsFunc(add, func(d v1.Descriptor) bool {
			return d.Annotations[refName] == old.Annotations[refName]
		})
	})
	index.Manifests = append(index.Manifests, add...)
	slices.SortStableFunc(index.Manifests, func(a, b v1.Descriptor) int {
		return strings.Compare(a.Annotations[refName], b.Annotations[refName])
	})
	return replace(path, marshal(index))
}

// replace writes a small file at once.
func replace(path string, data []byte) error {
	_, err := atomically(path, func(f *os.File) error {
		_, err := f.Write(data)
		return err
	})
	return err
}

// A dirPacker stores blobs in a layout's directory.
type dirPacker struct{ dir string }

func (p *dirPacker) add(d v1.Descriptor, open func() (io.ReadCloser, error)) error {
	path := filepath.Join(p.dir, filepath.FromSlash(blobName(d.Digest)))
	if info, err := os.Stat(path); err == nil && info.Size() == d.Size {
		return nil
	}
	_, err := atomically(path, func(f *os.File) error { return copyChecked(f, d, open) })
	return err
}

// copyChecked copies a blob and compares its size; its digest is checked by
// whoever gives it, and again by whoever reads it.
func copyChecked(w io.Writer, d v1.Descriptor, open func() (io.ReadCloser, error)) error {
	r, err := open()
	if err != nil {
		return err
	}
	defer r.Close()
	n, err := io.CopyBuffer(struct{ io.Writer }{w}, struct{ io.Reader }{r}, make([]byte, 256<<10))
	if err == nil && n != d.Size {
		err = fmt.Errorf("blob %s has %d bytes, not %d", d.Digest, n, d.Size)
	}
	return err
}

func (p *dirPacker) pack(fn func(w io.Writer) error) (v1.Hash, int64, error) {
	dir := filepath.Join(p.dir, "blobs", "sha256")
	tmp, err := os.CreateTemp(dir, ".new-*")
	if err != nil {
		return v1.Hash{}, 0, err
	}
	defer os.Remove(tmp.Name()) // gone already if all went well
	defer tmp.Close()
	sum := sha256.New()
	if err := fn(io.MultiWriter(tmp, sum)); err != nil {
		return v1.Hash{}, 0, err
	}
	info, err := tmp.Stat()
	if err != nil {
		return v1.Hash{}, 0, err
	}
	if err := tmp.Chmod(0o644); err != nil {
		return v1.Hash{}, 0, err
	}
	h := v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum.Sum(nil))}
	if err := tmp.Close(); err != nil {
		return v1.Hash{}, 0, err
	}
	return h, info.Size(), os.Rename(tmp.Name(), filepath.Join(dir, h.Hex))
}

// writeOCI writes a layout as one tar. It takes a single pass, because the
// header of a blob is written when the blob's size and digest are known.
func (f File) writeOCI(ctx context.Context, contents []*registry.Content) (Written, error) {
	out := Written{}
	n, err := atomically(f.Path, func(file *os.File) error {
		to := newTarPacker(file)
		if err := to.file("oci-layout", []byte(layoutMarker)); err != nil {
			return err
		}
		for _, c := range contents {
			if err := f.fill(ctx, to, c); err != nil {
				return err
			}
		}
		top, err := f.finish(to, contents)
		if err != nil {
			return err
		}
		out.Digest = top.Digest.String()
		index := v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex, Manifests: f.entries(top)}
		if err := to.file("index.json", marshal(index)); err != nil {
			return err
		}
		if len(contents) == 1 {
			if err := to.file("manifest.json", marshal([]dockerItem{f.layoutItem(contents[0])})); err != nil {
				return err
			}
		}
		return to.close()
	})
	out.Size = n
	return out, err
}

// layoutItem describes an image of a layout for a docker that does not read
// layouts (before 25.0): `docker load` takes the archive all the same.
func (f File) layoutItem(c *registry.Content) dockerItem {
	item := dockerItem{Config: blobName(hashOf(c.Config)), RepoTags: f.repoTags()}
	for _, l := range c.Layers {
		item.Layers = append(item.Layers, blobName(l.Digest))
	}
	return item
}

func bytesOpener(data []byte) func() (io.ReadCloser, error) {
	return func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil }
}

func hashOf(data []byte) v1.Hash {
	sum := sha256.Sum256(data)
	return v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum[:])}
}

// ociLayer is the OCI name of a Docker layer's type.
func ociLayer(t types.MediaType) types.MediaType {
	switch t {
	case types.DockerLayer:
		return types.OCILayer
	case types.DockerUncompressedLayer:
		return types.OCIUncompressedLayer
	}
	return t
}
