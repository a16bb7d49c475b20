package registry

import (
	"encoding/json"
	"fmt"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"bake/builder"
)

// A job is the push of one variant. Layers of a streamed image get their
// descriptors when they have been compressed, now or in an earlier push.
type job struct {
	variant  Variant
	config   []byte
	diffIDs  []v1.Hash
	layers   []v1.Descriptor // zero Digest: not compressed yet
	sources  []v1.Layer      // nil if the image is streamed
	streamer builder.LayerStreamer
	manifest []byte // as the image has it, if it can stay as it is
	original *v1.Manifest
}

// plan reads what is known of a variant without reading a layer.
func (p *push) plan(v Variant) (*job, error) {
	raw, err := v.Image.RawConfigFile()
	if err != nil {
		return nil, fmt.Errorf("reading the image's config: %w", err)
	}
	var file v1.ConfigFile
	if err := json.Unmarshal(raw, &file); err != nil {
		return nil, fmt.Errorf("reading the image's config: %w", err)
	}
	j := &job{variant: v, config: raw, diffIDs: file.RootFS.DiffIDs}
	if v.Platform == (builder.Platform{}) {
		j.variant.Platform = platformOf(file.Platform())
	}
	if s, ok := v.Image.(builder.LayerStreamer); ok {
		j.streamer = s
		j.layers = make([]v1.Descriptor, len(j.diffIDs))
		for i, diffID := range j.diffIDs {
			if known, ok := p.client.cache.packed(diffID, p.Compression); ok {
				j.layers[i] = v1.Descriptor{MediaType: known.MediaType, Digest: known.Digest, Size: known.Size}
			}
		}
		return j, nil
	}
	return j, j.read()
}

// read takes the descriptors of an image whose layers are compressed.
func (j *job) read() error {
	manifest, err := j.variant.Image.RawManifest()
	if err != nil {
		return fmt.Errorf("reading the image's manifest: %w", err)
	}
	var m v1.Manifest
	if err := json.Unmarshal(manifest, &m); err != nil {
		return fmt.Errorf("reading the image's manifest: %w", err)
	}
	if j.sources, err = j.variant.Image.Layers(); err != nil {
		return fmt.Errorf("reading the image's layers: %w", err)
	}
	j.layers, j.original = m.Layers, &m
	if m.MediaType.IsImage() && within(j.variant.Annotations, m.Annotations) {
		j.manifest = manifest
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

// complete reports whether the manifest can be written.
func (j *job) complete() bool {
	for _, d := range j.layers {
		if d.Digest == (v1.Hash{}) {
			return false
		}
	}
	return true
}

// adopt takes the layers of a manifest that has the same config, the same
// number of layers and all of the annotations: it is this image.
func (j *job) adopt(m *manifest) bool {
	if m.image == nil || m.image.Config.Digest != hashOf(j.config) ||
		len(m.image.Layers) != len(j.diffIDs) || !within(j.variant.Annotations, m.image.Annotations) {
		return false
	}
	j.layers, j.manifest, j.original = m.image.Layers, m.raw, m.image
	return true
}

// document returns the manifest. An image that has one that says all keeps it
// byte for byte; else it is an OCI manifest, because only that has annotations.
func (j *job) document() document {
	if j.manifest != nil {
		mediaType := j.original.MediaType
		if mediaType == "" {
			mediaType = types.OCIManifestSchema1
		}
		return document{digest: hashOf(j.manifest), mediaType: mediaType, raw: j.manifest}
	}
	m := v1.Manifest{
		SchemaVersion: 2,
		MediaType:     types.OCIManifestSchema1,
		Config:        v1.Descriptor{MediaType: types.OCIConfigJSON, Digest: hashOf(j.config), Size: int64(len(j.config))},
		Annotations:   map[string]string{},
		Layers:        make([]v1.Descriptor, len(j.layers)),
	}
	for i, d := range j.layers {
		d.MediaType = ociType(d.MediaType)
		m.Layers[i] = d
	}
	if j.original != nil {
		for k, v := range j.original.Annotations {
			m.Annotations[k] = v
		}
	}
	for k, v := range j.variant.Annotations {
		m.Annotations[k] = v
	}
	raw, _ := json.Marshal(m) // plain data: cannot fail
	return document{digest: hashOf(raw), mediaType: m.MediaType, raw: raw}
}

// ociType is the OCI name of a Docker media type; others stay.
func ociType(t types.MediaType) types.MediaType {
	switch t {
	case types.DockerLayer:
		return types.OCILayer
	case types.DockerUncompressedLayer:
		return types.OCIUncompressedLayer
	case types.DockerForeignLayer:
		return types.OCIRestrictedLayer
	case types.DockerConfigJSON:
		return types.OCIConfigJSON
	}
	return t
}

// blobs lists the config and the layers.
func (j *job) blobs() []v1.Descriptor {
	config := v1.Descriptor{Digest: hashOf(j.config), Size: int64(len(j.config))}
	return append([]v1.Descriptor{config}, j.layers...)
}
