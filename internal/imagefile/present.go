package imagefile

import (
	"archive/tar"
	"context"
	"encoding/json"
	"io"
	"os"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"bake/internal/registry"
)

// present reports whether the file holds the images already, in the same
// format, compression and under the same tags. What cannot be read is not it.
func (f File) present(ctx context.Context, contents []*registry.Content) (Written, bool) {
	info, err := os.Stat(f.Path)
	if err != nil || info.IsDir() != (f.Format == OCIDir) {
		return Written{}, false
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // closes the archive
	w := Written{Unchanged: true, Size: info.Size()}
	ok := false
	switch f.Format {
	case Rootfs:
		w.Digest, ok = f.rootfsPresent(ctx, contents[0])
	case Docker:
		w.Digest, ok = f.dockerPresent(ctx, contents[0])
	case OCIDir:
		w.Digest, ok = f.layoutPresent(dirStore(f.Path), contents)
		w.Size = size(contents)
	default:
		var s *tarStore
		if s, err = openTar(ctx, f.Path); err == nil {
			w.Digest, ok = f.layoutPresent(s, contents)
		}
	}
	return w, ok
}

func (f File) layoutPresent(s store, contents []*registry.Content) (string, bool) {
	raw, err := document(s, "index.json")
	var index v1.IndexManifest
	if err != nil || json.Unmarshal(raw, &index) != nil {
		return "", false
	}
	var top v1.Descriptor
	for _, want := range f.entries(v1.Descriptor{}) {
		i := slices.IndexFunc(index.Manifests, func(d v1.Descriptor) bool {
			return d.Annotations[refName] == want.Annotations[refName] && d.Annotations[containerdName] == want.Annotations[containerdName]
		})
		if i < 0 || top.Digest != (v1.Hash{}) && index.Manifests[i].Digest != top.Digest {
			return "", false
		}
		top = index.Manifests[i]
	}
	if f.Format == OCI && len(index.Manifests) != len(f.entries(top)) {
		return "", false // it holds more than it should
	}
	return top.Digest.String(), f.sameTop(s, top, contents)
}

// sameTop compares an image or index in a layout with what is to be written.
func (f File) sameTop(s store, top v1.Descriptor, contents []*registry.Content) bool {
	if !top.MediaType.IsIndex() {
		return len(contents) == 1 && f.sameImage(s, top, contents[0])
	}
	raw, err := checked(s, top.Digest)
	var index v1.IndexManifest
	if err != nil || json.Unmarshal(raw, &index) != nil || len(index.Manifests) != len(contents) {
		return false
	}
	for i, d := range index.Manifests {
		if !f.sameImage(s, d, contents[i]) {
			return false
		}
	}
	return true
}

func (f File) sameImage(s store, d v1.Descriptor, c *registry.Content) bool {
	raw, err := checked(s, d.Digest)
	var m v1.Manifest
	if err != nil || json.Unmarshal(raw, &m) != nil || !c.Same(&m) {
		return false
	}
	if c.Streamer == nil && !f.repacks(c) && d.Digest != c.Document().Digest {
		return false
	}
	for _, l := range m.Layers {
		if (f.Compression != "" || c.Streamer != nil) && !compressedAs(l, f.wanted()) {
			return false
		}
		r, n, err := s.open(blobName(l.Digest))
		if err != nil || n != l.Size {
			return false
		}
		r.Close()
	}
	c.Layers = m.Layers
	return true
}

// dockerPresent compares a docker archive's table of contents.
func (f File) dockerPresent(ctx context.Context, c *registry.Content) (string, bool) {
	if f.Compression != "" && f.Compression != registry.None {
		return "", false // its table of contents is at the end: writing it again is no slower than reading it
	}
	s, err := openTar(ctx, f.Path)
	if err != nil {
		return "", false
	}
	raw, err := document(s, "manifest.json")
	var items []dockerItem
	if err != nil || json.Unmarshal(raw, &items) != nil || len(items) != 1 {
		return "", false
	}
	want := f.dockerItem(c)
	same := items[0].Config == want.Config && slices.Equal(items[0].Layers, want.Layers) && slices.Equal(items[0].RepoTags, want.RepoTags)
	return hashOf(c.Config).String(), same
}

// imageComment is the record of a root filesystem's tar that says which image
// it is of, as git archive writes its commit.
const imageComment = "comment"

func (f File) rootfsPresent(ctx context.Context, c *registry.Content) (string, bool) {
	file, err := os.Open(f.Path)
	if err != nil {
		return "", false
	}
	defer file.Close()
	plain, err := Decompress(ctx, file)
	if err != nil {
		return "", false
	}
	defer plain.Close()
	want := hashOf(c.Config).String()
	h, err := tar.NewReader(io.LimitReader(plain, 64<<10)).Next()
	if err != nil || h.Typeflag != tar.TypeXGlobalHeader || h.PAXRecords[imageComment] != want {
		return "", false
	}
	return want, plain.Format == map[registry.Compression]string{registry.Gzip: "gzip", registry.Zstd: "zstd"}[f.Compression]
}
