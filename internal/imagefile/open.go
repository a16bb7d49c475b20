package imagefile

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"bake/builder"
	"bake/internal/registry"
)

// A Source says which image of a file or directory is meant.
type Source struct {
	Path     string // a directory with an OCI layout, or an archive
	Tag      string // "" if there is only one; of docker archives the whole name
	Platform builder.Platform
}

// Found is an image in a file.
type Found struct {
	Digest   string // of its manifest; a docker archive has none: of its config
	ID       string // of its config
	Platform builder.Platform
	Config   *v1.ConfigFile
	Image    v1.Image // its content is checked against its digests as it is read
}

// maxDocument is how big a manifest or config may be, in bytes.
const maxDocument = 8 << 20

// Open finds an image in an OCI layout, an OCI archive or a docker archive; it
// tells them apart by what is in them. Archives may be compressed with gzip,
// zstd, bzip2 or xz; they are unpacked to a temporary file that has no name.
// The file stays open until ctx ends.
func Open(ctx context.Context, src Source) (Found, error) {
	found, err := open(ctx, src)
	if err != nil {
		return Found{}, fmt.Errorf("reading image %s: %w", src.Path, err)
	}
	if !registry.Suits(src.Platform, found.Platform) {
		return Found{}, &registry.PlatformError{Image: src.Path, Want: src.Platform, Have: []builder.Platform{found.Platform}}
	}
	return found, nil
}

func open(ctx context.Context, src Source) (Found, error) {
	info, err := os.Stat(src.Path)
	if err != nil {
		return Found{}, err
	}
	var files store = dirStore(src.Path)
	if !info.IsDir() {
		if files, err = openTar(ctx, src.Path); err != nil {
			return Found{}, err
		}
	}
	if raw, err := document(files, "index.json"); err == nil {
		return openLayout(files, raw, src)
	} else if !errors.Is(err, os.ErrNotExist) {
		return Found{}, err
	}
	raw, err := document(files, "manifest.json")
	if errors.Is(err, os.ErrNotExist) {
		return Found{}, errors.New("it is neither an OCI layout nor a docker archive: there is no index.json and no manifest.json in it")
	}
	if err != nil {
		return Found{}, err
	}
	return openDocker(files, raw, src)
}

// A store is a directory or archive whose files are found by name.
type store interface {
	open(name string) (io.ReadCloser, int64, error)
}

type dirStore string

func (d dirStore) open(name string) (io.ReadCloser, int64, error) {
	root, err := os.OpenRoot(string(d)) // no link in the layout leads out of it
	if err != nil {
		return nil, 0, err
	}
	defer root.Close()
	f, err := root.Open(filepath.FromSlash(name))
	if err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		f.Close()
		return nil, 0, errors.Join(err, fmt.Errorf("%s is not a file", name))
	}
	return f, info.Size(), nil
}

// document reads a small file whole.
func document(s store, name string) ([]byte, error) {
	r, size, err := s.open(name)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	if size > maxDocument {
		return nil, fmt.Errorf("%s: %d bytes are too many", name, size)
	}
	return io.ReadAll(r)
}

// blobName is where a layout keeps a blob.
func blobName(h v1.Hash) string { return path.Join("blobs", h.Algorithm, h.Hex) }

// checked reads a small blob of a layout and compares it with its digest.
func checked(s store, h v1.Hash) ([]byte, error) {
	raw, err := document(s, blobName(h))
	if err != nil {
		return nil, err
	}
	if got, _, err := v1.SHA256(bytes.NewReader(raw)); err != nil || got != h {
		return nil, fmt.Errorf("blob %s has other content than its digest says", h)
	}
	return raw, nil
}

const refName = "org.opencontainers.image.ref.name"

// openLayout finds an image in an index.json.
func openLayout(s store, raw []byte, src Source) (Found, error) {
	for depth := 0; depth < 5; depth++ {
		var index v1.IndexManifest
		if err := json.Unmarshal(raw, &index); err != nil {
			return Found{}, fmt.Errorf("index: %w", err)
		}
		from := index.Manifests
		if depth == 0 {
			var err error
			if from, err = tagged(from, src.Tag); err != nil {
				return Found{}, err
			}
		}
		desc, err := pick(from, src)
		if err != nil {
			return Found{}, err
		}
		if raw, err = checked(s, desc.Digest); err != nil {
			return Found{}, err
		}
		if !desc.MediaType.IsIndex() {
			return layoutImage(s, desc, raw)
		}
	}
	return Found{}, errors.New("it is an index of indexes without end")
}

// pick chooses a platform; a layout's only image needs no platform in its index.
func pick(from []v1.Descriptor, src Source) (v1.Descriptor, error) {
	if len(from) == 1 {
		return from[0], nil
	}
	return registry.ChoosePlatform(src.Path, from, src.Platform)
}

// tagged returns what a tag names, or everything if none is asked for and
// there is only one.
func tagged(all []v1.Descriptor, tag string) ([]v1.Descriptor, error) {
	var found []v1.Descriptor
	names := map[string]bool{}
	for _, d := range all {
		name := d.Annotations[refName]
		names[name] = true
		if tag == "" || name == tag || d.Annotations["io.containerd.image.name"] == tag {
			found = append(found, d)
		}
	}
	if len(found) == 0 || tag == "" && len(names) > 1 {
		return nil, tagError(tag, names)
	}
	return found, nil
}

// tagError says which tags there are.
func tagError(tag string, names map[string]bool) error {
	list := make([]string, 0, len(names))
	for name := range names {
		if name != "" {
			list = append(list, name)
		}
	}
	return &TagError{Tag: tag, Have: list}
}

func layoutImage(s store, desc v1.Descriptor, raw []byte) (Found, error) {
	var m v1.Manifest
	if err := json.Unmarshal(raw, &m); err != nil {
		return Found{}, fmt.Errorf("manifest %s: %w", desc.Digest, err)
	}
	config, err := checked(s, m.Config.Digest)
	if err != nil {
		return Found{}, err
	}
	core := &layoutCore{store: s, desc: desc, raw: raw, manifest: &m, config: config}
	return core.found()
}

// openDocker finds an image in a docker archive.
func openDocker(s store, raw []byte, src Source) (Found, error) {
	var items []dockerItem
	if err := json.Unmarshal(raw, &items); err != nil {
		return Found{}, fmt.Errorf("manifest.json: %w", err)
	}
	names := map[string]bool{}
	var found []dockerItem
	for _, item := range items {
		match := src.Tag == ""
		for _, t := range item.RepoTags {
			names[t] = true
			match = match || t == src.Tag || fullName(t) == fullName(src.Tag) || strings.HasSuffix(t, ":"+src.Tag)
		}
		if match {
			found = append(found, item)
		}
	}
	if len(found) != 1 {
		return Found{}, tagError(src.Tag, names)
	}
	config, err := document(s, found[0].Config)
	if err != nil {
		return Found{}, err
	}
	core := &dockerCore{store: s, item: found[0], config: config}
	return core.found()
}

// A TagError is an image that is not in an archive, or not named clearly.
type TagError struct {
	Tag  string // "" if none was asked for
	Have []string
}

func (e *TagError) Error() string {
	if e.Tag == "" {
		return fmt.Sprintf("there are several images in it (%s)", strings.Join(e.Have, ", "))
	}
	if len(e.Have) == 0 {
		return fmt.Sprintf("there is no image %q in it: its images have no names", e.Tag)
	}
	return fmt.Sprintf("there is no single image %q in it, only %s", e.Tag, strings.Join(e.Have, ", "))
}

// Hint says how to name one.
func (e *TagError) Hint() string {
	return "put the tag behind the path, like `oci:dir:tag`, or leave it out if there is only one image"
}
