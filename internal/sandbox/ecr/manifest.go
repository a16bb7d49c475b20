package ecr

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	"bake/internal/sandbox/api"
)

// maxManifest is ECR's limit for one manifest.
const maxManifest = 4 << 20

// The media types of manifests.
const (
	ociIndex       = "application/vnd.oci.image.index.v1+json"
	ociManifest    = "application/vnd.oci.image.manifest.v1+json"
	dockerIndex    = "application/vnd.docker.distribution.manifest.list.v2+json"
	dockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
)

// A manifest is an image, an index, or another artifact in a repository.
type manifest struct {
	Digest       string            `json:"digest"`
	MediaType    string            `json:"media_type"`
	ArtifactType string            `json:"artifact_type,omitempty"`
	Subject      string            `json:"subject,omitempty"`
	Size         int64             `json:"size"` // of its layers and config, as DescribeImages says
	Pushed       time.Time         `json:"pushed"`
	Pulled       time.Time         `json:"pulled"`
	Scanned      time.Time         `json:"scanned"` // when the scan began
	Children     []string          `json:"children,omitempty"`
	Layers       []string          `json:"layers,omitempty"`
	Annotations  map[string]string `json:"annotations,omitempty"`
}

type descriptor struct {
	MediaType   string            `json:"mediaType,omitempty"`
	Digest      string            `json:"digest"`
	Size        int64             `json:"size"`
	URLs        []string          `json:"urls,omitempty"`
	Artifact    string            `json:"artifactType,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

// document is what a manifest says.
type document struct {
	SchemaVersion int               `json:"schemaVersion"`
	MediaType     string            `json:"mediaType"`
	ArtifactType  string            `json:"artifactType"`
	Config        *descriptor       `json:"config"`
	Layers        []descriptor      `json:"layers"`
	Manifests     []descriptor      `json:"manifests"`
	Subject       *descriptor       `json:"subject"`
	Annotations   map[string]string `json:"annotations"`
}

// readManifest checks a manifest that was sent as contentType, which may be empty.
func readManifest(data []byte, contentType string) (*document, error) {
	bad := func(why string) error {
		return invalid("Invalid parameter at 'imageManifest' failed to satisfy constraint: '%s'", why)
	}
	if len(data) > maxManifest {
		return nil, bad("Member must have length less than or equal to 4194304")
	}
	var d document
	if err := json.Unmarshal(data, &d); err != nil {
		return nil, bad("Invalid JSON syntax")
	}
	if d.MediaType == "" {
		d.MediaType = contentType
	}
	contentType, _, _ = strings.Cut(contentType, ";")
	switch {
	case d.SchemaVersion != 2:
		return nil, bad("Unsupported schema version")
	case contentType != "" && contentType != d.MediaType:
		return nil, bad("manifest media type in the request does not match that of the manifest")
	}
	switch d.MediaType {
	case ociIndex, dockerIndex:
	case ociManifest, dockerManifest:
		if d.Config == nil {
			return nil, bad("a manifest has a config")
		}
	case "":
		if d.Config == nil {
			d.MediaType = ociIndex
		} else {
			d.MediaType = ociManifest
		}
	default:
		return nil, api.Errorf("UnsupportedImageTypeException", "The media type %s is not supported", d.MediaType)
	}
	return &d, nil
}

// blobs are the layers and config that an image needs in its repository.
func (d *document) blobs() []descriptor {
	if d.Config == nil {
		return nil
	}
	all := []descriptor{*d.Config}
	for _, l := range d.Layers {
		foreign := len(l.URLs) > 0 && strings.Contains(l.MediaType, "foreign") || strings.Contains(l.MediaType, "nondistributable")
		if !foreign {
			all = append(all, l)
		}
	}
	return all
}

// resolve checks that everything that d names is in the repository, and makes
// the manifest of it.
func (p *repository) resolve(d *document, digest string, now time.Time) (*manifest, error) {
	m := &manifest{Digest: digest, MediaType: d.MediaType, ArtifactType: d.ArtifactType, Pushed: now}
	if d.Config != nil && m.ArtifactType == "" {
		m.ArtifactType = d.Config.MediaType
	}
	if d.Subject != nil {
		m.Subject = d.Subject.Digest
	}
	m.Annotations = d.Annotations
	var missing []string
	for _, b := range d.blobs() {
		size, ok := p.Blobs[b.Digest]
		switch {
		case !ok:
			missing = append(missing, b.Digest)
		case size != b.Size:
			return nil, invalid("Invalid parameter at 'imageManifest' failed to satisfy constraint: 'the size of %s is %d, not %d'", b.Digest, size, b.Size)
		}
		if !slices.Contains(m.Layers, b.Digest) {
			m.Layers = append(m.Layers, b.Digest)
			m.Size += b.Size
		}
	}
	if len(missing) > 0 {
		return nil, api.Errorf("LayersNotFoundException", "Layers with digests '[%s]' required for pushing image into repository with name '%s' do not exist", strings.Join(missing, ", "), p.Name)
	}
	for _, c := range d.Manifests {
		child := p.Images[c.Digest]
		if child == nil {
			return nil, api.Errorf("ReferencedImagesNotFoundException", "Images with digests '[%s]' required for pushing image into repository with name '%s' do not exist", c.Digest, p.Name)
		}
		m.Children = append(m.Children, c.Digest)
		m.Size += child.Size
	}
	return m, nil
}
