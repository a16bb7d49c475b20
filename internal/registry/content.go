package registry

import (
	"encoding/json"
	"fmt"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"bake/builder"
)

// A Variant is one image of a push or an archive. Several make an index.
type Variant struct {
	Image       v1.Image // may be a builder.LayerStreamer
	Platform    builder.Platform
	Annotations map[string]string // of its manifest
}

// Content is what an image will be in a registry or layout. The layers of a
// streamed image get their descriptors when they have been compressed.
type Content struct {
	Variant  Variant
	Config   []byte
	DiffIDs  []v1.Hash
	Layers   []v1.Descriptor       // zero Digest: not compressed yet
	Sources  []v1.Layer            // nil if the image is streamed
	Streamer builder.LayerStreamer // nil if it is not
	manifest []byte                // as the image has it, if it can stay as it is
	original *v1.Manifest
}

// NewContent reads what is known of an image without reading a layer.
func NewContent(v Variant) (*Content, error) {
	raw, err := v.Image.RawConfigFile()
	if err != nil {
		return nil, fmt.Errorf("reading the image's config: %w", err)
	}
	var file v1.ConfigFile
	if err := json.Unmarshal(raw, &file); err != nil {
		return nil, fmt.Errorf("reading the image's config: %w", err)
	}
	c := &Content{Variant: v, Config: raw, DiffIDs: file.RootFS.DiffIDs}
	if v.Platform == (builder.Platform{}) {
		c.Variant.Platform = platformOf(file.Platform())
	}
	if s, ok := v.Image.(builder.LayerStreamer); ok {
		c.Streamer = s
		c.Layers = make([]v1.Descriptor, len(c.DiffIDs))
		return c, nil
	}
	return c, c.read()
}

// read takes the descriptors of an image whose layers are compressed.
func (c *Content) read() error {
	manifest, err := c.Variant.Image.RawManifest()
	if err != nil {
		return fmt.Errorf("reading the image's manifest: %w", err)
	}
	var m v1.Manifest
	if err := json.Unmarshal(manifest, &m); err != nil {
		return fmt.Errorf("reading the image's manifest: %w", err)
	}
	if c.Sources, err = c.Variant.Image.Layers(); err != nil {
		return fmt.Errorf("reading the image's layers: %w", err)
	}
	if len(c.Sources) != len(m.Layers) {
		return fmt.Errorf("reading the image: its manifest has %d layers, but it gives %d", len(m.Layers), len(c.Sources))
	}
	c.Layers, c.original = m.Layers, &m
	if m.MediaType.IsImage() && within(c.Variant.Annotations, m.Annotations) {
		c.manifest = manifest
	}
	return nil
}

// within reports whether all of a is in b.
func within(a, b map[string]string) bool {
	for k, v := range a {
		if b[k] != v {
			return false
		}
	}
	return true
}

// Complete reports whether the manifest can be written.
func (c *Content) Complete() bool {
	for _, d := range c.Layers {
		if d.Digest == (v1.Hash{}) {
			return false
		}
	}
	return true
}

// Repack forgets the layers' descriptors, because they will be compressed anew.
func (c *Content) Repack() {
	c.Layers, c.manifest = make([]v1.Descriptor, len(c.Layers)), nil
}

// Same reports whether a manifest is this very image: it has the same config,
// as many layers and all of the annotations.
func (c *Content) Same(m *v1.Manifest) bool {
	return m != nil && m.Config.Digest == hashOf(c.Config) && len(m.Layers) == len(c.DiffIDs) && within(c.Variant.Annotations, m.Annotations)
}

// adopt takes over the layers of a manifest that is the same image.
func (c *Content) adopt(m *manifest) bool {
	if m == nil || !c.Same(m.image) {
		return false
	}
	c.Layers, c.manifest, c.original = m.image.Layers, m.raw, m.image
	return true
}

// A Document is a manifest or index as it is stored.
type Document struct {
	Digest    v1.Hash
	MediaType types.MediaType
	Raw       []byte
}

// Document returns the manifest. An image that has one that says all keeps it
// byte for byte; else it is an OCI manifest, because only that has annotations.
func (c *Content) Document() Document {
	if c.manifest != nil {
		return Document{Digest: hashOf(c.manifest), MediaType: c.original.MediaType, Raw: c.manifest}
	}
	m := v1.Manifest{
		SchemaVersion: 2,
		MediaType:     types.OCIManifestSchema1,
		Config:        v1.Descriptor{MediaType: types.OCIConfigJSON, Digest: hashOf(c.Config), Size: int64(len(c.Config))},
		Annotations:   map[string]string{},
		Layers:        make([]v1.Descriptor, len(c.Layers)),
	}
	for i, d := range c.Layers {
		d.MediaType = OCILayerType(d.MediaType)
		m.Layers[i] = d
	}
	if c.original != nil {
		for k, v := range c.original.Annotations {
			m.Annotations[k] = v
		}
	}
	for k, v := range c.Variant.Annotations {
		m.Annotations[k] = v
	}
	raw, _ := json.Marshal(m) // plain data: cannot fail
	return Document{Digest: hashOf(raw), MediaType: m.MediaType, Raw: raw}
}

// Index assembles the index over several images.
func Index(contents []*Content, annotations map[string]string) Document {
	index := v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex, Annotations: annotations}
	for _, c := range contents {
		index.Manifests = append(index.Manifests, c.Descriptor())
	}
	raw, _ := json.Marshal(index) // plain data: cannot fail
	return Document{Digest: hashOf(raw), MediaType: index.MediaType, Raw: raw}
}

// Descriptor is the image's entry in an index.
func (c *Content) Descriptor() v1.Descriptor {
	d := c.Document()
	desc := v1.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: int64(len(d.Raw))}
	if p := c.Variant.Platform; p != (builder.Platform{}) {
		desc.Platform = &v1.Platform{OS: p.OS, Architecture: p.Arch, Variant: p.Variant}
	}
	return desc
}

// OCILayerType is the name that OCI has for what Docker calls a layer; others stay.
func OCILayerType(t types.MediaType) types.MediaType {
	switch t {
	case types.DockerLayer:
		return types.OCILayer
	case types.DockerUncompressedLayer:
		return types.OCIUncompressedLayer
	case types.DockerForeignLayer:
		return types.OCIRestrictedLayer
	}
	return t
}

// blobs lists the config and the layers.
func (c *Content) blobs() []v1.Descriptor {
	config := v1.Descriptor{Digest: hashOf(c.Config), Size: int64(len(c.Config))}
	return append([]v1.Descriptor{config}, c.Layers...)
}
