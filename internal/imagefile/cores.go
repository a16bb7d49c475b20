package imagefile

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"bake/builder"
)

// layoutCore is the core from which partial makes an image of a layout.
type layoutCore struct {
	store    store
	desc     v1.Descriptor
	raw      []byte
	manifest *v1.Manifest
	config   []byte
}

func (c *layoutCore) found() (Found, error) {
	file, err := v1.ParseConfigFile(bytes.NewReader(c.config))
	if err != nil {
		return Found{}, fmt.Errorf("config %s: %w", c.manifest.Config.Digest, err)
	}
	img, err := partial.CompressedToImage(c)
	return Found{
		Digest: c.desc.Digest.String(), ID: c.manifest.Config.Digest.String(),
		Platform: builder.Platform{OS: file.OS, Arch: file.Architecture, Variant: file.Variant}, Config: file, Image: img,
	}, err
}

// MediaType is part of partial.CompressedImageCore.
func (c *layoutCore) MediaType() (types.MediaType, error) {
	if c.manifest.MediaType != "" {
		return c.manifest.MediaType, nil
	}
	return c.desc.MediaType, nil
}

// RawManifest is part of partial.CompressedImageCore.
func (c *layoutCore) RawManifest() ([]byte, error) { return c.raw, nil }

// RawConfigFile is part of partial.CompressedImageCore.
func (c *layoutCore) RawConfigFile() ([]byte, error) { return c.config, nil }

// LayerByDigest is part of partial.CompressedImageCore.
func (c *layoutCore) LayerByDigest(h v1.Hash) (partial.CompressedLayer, error) {
	if h == c.manifest.Config.Digest {
		return partial.ConfigLayer(c)
	}
	for _, d := range c.manifest.Layers {
		if d.Digest == h {
			return &layoutLayer{store: c.store, desc: d}, nil
		}
	}
	return nil, fmt.Errorf("there is no layer %s", h)
}

type layoutLayer struct {
	store store
	desc  v1.Descriptor
}

func (l *layoutLayer) Digest() (v1.Hash, error)            { return l.desc.Digest, nil }
func (l *layoutLayer) Size() (int64, error)                { return l.desc.Size, nil }
func (l *layoutLayer) MediaType() (types.MediaType, error) { return l.desc.MediaType, nil }
func (l *layoutLayer) Compressed() (io.ReadCloser, error) {
	r, _, err := l.store.open(blobName(l.desc.Digest))
	if err != nil {
		return nil, err
	}
	return verified(r, l.desc.Digest), nil
}

// dockerItem is one image in a docker archive's manifest.json.
type dockerItem struct {
	Config   string
	RepoTags []string
	Layers   []string
}

// dockerCore is the core from which partial makes an image of a docker archive.
type dockerCore struct {
	store  store
	item   dockerItem
	config []byte
	file   *v1.ConfigFile
}

func (c *dockerCore) found() (Found, error) {
	var err error
	if c.file, err = v1.ParseConfigFile(bytes.NewReader(c.config)); err != nil {
		return Found{}, fmt.Errorf("config: %w", err)
	}
	if len(c.file.RootFS.DiffIDs) != len(c.item.Layers) {
		return Found{}, fmt.Errorf("config and manifest.json disagree on the number of layers: %d and %d", len(c.file.RootFS.DiffIDs), len(c.item.Layers))
	}
	img, err := partial.UncompressedToImage(c)
	if err != nil {
		return Found{}, err
	}
	id, err := img.ConfigName()
	return Found{
		Digest: id.String(), ID: id.String(), Config: c.file, Image: img,
		Platform: builder.Platform{OS: c.file.OS, Arch: c.file.Architecture, Variant: c.file.Variant},
	}, err
}

// MediaType is part of partial.UncompressedImageCore.
func (c *dockerCore) MediaType() (types.MediaType, error) { return types.DockerManifestSchema2, nil }

// RawConfigFile is part of partial.UncompressedImageCore.
func (c *dockerCore) RawConfigFile() ([]byte, error) { return c.config, nil }

// LayerByDiffID is part of partial.UncompressedImageCore.
func (c *dockerCore) LayerByDiffID(h v1.Hash) (partial.UncompressedLayer, error) {
	for i, diffID := range c.file.RootFS.DiffIDs {
		if diffID == h {
			return &dockerLayer{store: c.store, name: c.item.Layers[i], diffID: h}, nil
		}
	}
	return nil, fmt.Errorf("there is no layer %s", h)
}

type dockerLayer struct {
	store  store
	name   string
	diffID v1.Hash
}

func (l *dockerLayer) DiffID() (v1.Hash, error)            { return l.diffID, nil }
func (l *dockerLayer) MediaType() (types.MediaType, error) { return types.DockerLayer, nil }
func (l *dockerLayer) Uncompressed() (io.ReadCloser, error) {
	r, _, err := l.store.open(l.name)
	if err != nil {
		return nil, err
	}
	head := make([]byte, 2)
	n, err := io.ReadFull(r, head)
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		r.Close()
		return nil, err
	}
	whole := io.MultiReader(bytes.NewReader(head[:n]), r)
	if !bytes.Equal(head, []byte{0x1f, 0x8b}) {
		return verified(readCloser{whole, r}, l.diffID), nil
	}
	gz, err := gzip.NewReader(whole)
	if err != nil {
		r.Close()
		return nil, err
	}
	return verified(readCloser{gz, r}, l.diffID), nil
}

type readCloser struct {
	io.Reader
	io.Closer
}

// verified returns a reader whose end is an error if the content is not what
// the digest says.
func verified(r io.ReadCloser, want v1.Hash) io.ReadCloser {
	sum := sha256.New()
	return &verifier{ReadCloser: r, tee: io.TeeReader(r, sum), check: func() error {
		if got := fmt.Sprintf("%x", sum.Sum(nil)); want.Algorithm != "sha256" || got != want.Hex {
			return fmt.Errorf("blob %s has other content than its digest says", want)
		}
		return nil
	}}
}

type verifier struct {
	io.ReadCloser
	tee   io.Reader
	check func() error
}

func (v *verifier) Read(p []byte) (int, error) {
	n, err := v.tee.Read(p)
	if err == io.EOF {
		if bad := v.check(); bad != nil {
			return n, bad
		}
	}
	return n, err
}

// marshal writes plain data that cannot fail to be written.
func marshal(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err) // a type of this package that is not plain data
	}
	return data
}
