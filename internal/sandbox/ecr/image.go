package ecr

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"slices"
	"time"

	"bake/internal/lazyregexp"
	"bake/internal/sandbox/api"
)

type imageID struct {
	Digest string `json:"imageDigest,omitempty"`
	Tag    string `json:"imageTag,omitempty"`
}

func (id imageID) String() string {
	null := func(s string) string {
		if s == "" {
			return "null"
		}
		return s
	}
	return "{imageDigest:'" + null(id.Digest) + "', imageTag:'" + null(id.Tag) + "'}"
}

var tagForm = lazyregexp.New(`^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,299}$`)

// image finds one by its digest, its tag, or both.
func (r *registry) image(p *repository, id imageID) (*manifest, error) {
	digest := id.Digest
	if id.Tag != "" {
		digest = p.Labels[id.Tag]
	}
	m := p.Images[digest]
	if m == nil || id.Digest != "" && id.Digest != digest {
		return nil, api.Errorf("ImageNotFoundException", "The image with imageId %s does not exist within the repository with name '%s' in the registry with id '%s'", id, p.Name, r.Account)
	}
	return m, nil
}

// labels are the tags of a manifest, sorted.
func (p *repository) labels(digest string) []string {
	var all []string
	for label, d := range p.Labels {
		if d == digest {
			all = append(all, label)
		}
	}
	slices.Sort(all)
	return all
}

// put stores a manifest that came as bytes, with a tag if it is not empty. It
// is how a push ends, over the API and over the registry.
func (t *T) put(r *registry, p *repository, data []byte, contentType, label string) (m *manifest, existed bool, err error) {
	d, err := readManifest(data, contentType)
	if err != nil {
		return nil, false, err
	}
	if label != "" && !tagForm.MatchString(label) {
		return nil, false, invalid("Invalid parameter at 'imageTag' failed to satisfy constraint: 'must satisfy regular expression '[a-zA-Z0-9-_.]+''")
	}
	sum := sha256.Sum256(data)
	digest := "sha256:" + hex.EncodeToString(sum[:])
	if have, ok := p.Labels[label]; ok && label != "" {
		if p.fixed(label) {
			return nil, false, api.Errorf("ImageTagAlreadyExistsException", "The image tag '%s' already exists in the '%s' repository and cannot be overwritten because the tag is immutable.", label, p.Name)
		}
		existed = have == digest
	}
	m = p.Images[digest]
	existed = existed || m != nil && label == ""
	if m == nil {
		if m, err = p.resolve(d, digest, t.now()); err != nil {
			return nil, false, err
		}
		if _, err := t.blobs.put(data); err != nil {
			return nil, false, err
		}
		p.Images[digest] = m
		t.world.Faults.Made(digest)
		t.scanPushed(r, p, m)
	}
	if label != "" {
		p.Labels[label] = digest
	}
	if !existed {
		t.replicate(r, p, m, label)
	}
	return m, existed, nil
}

type imageOut struct {
	Registry  string  `json:"registryId"`
	Name      string  `json:"repositoryName"`
	ID        imageID `json:"imageId"`
	Manifest  string  `json:"imageManifest"`
	MediaType string  `json:"imageManifestMediaType"`
}

type putImageIn struct {
	nameIn
	Manifest  string `json:"imageManifest"`
	MediaType string `json:"imageManifestMediaType"`
	Tag       string `json:"imageTag"`
	Digest    string `json:"imageDigest"`
}

type putImageOut struct {
	Image imageOut `json:"image"`
}

func (t *T) putImage(_ context.Context, c *api.Call, in *putImageIn) (*putImageOut, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r, p, err := t.find(c, in.Registry, in.Name)
	if err != nil {
		return nil, err
	}
	m, existed, err := t.put(r, p, []byte(in.Manifest), in.MediaType, in.Tag)
	switch {
	case err != nil:
		return nil, err
	case in.Digest != "" && in.Digest != m.Digest:
		return nil, api.Errorf("ImageDigestDoesNotMatchException", "The provided imageDigest does not match the digest of the provided imageManifest")
	case existed:
		return nil, api.Errorf("ImageAlreadyExistsException", "Image with digest '%s' and tag '%s' already exists in the repository with name '%s' in registry with id '%s'", m.Digest, in.Tag, p.Name, r.Account)
	}
	return &putImageOut{imageOut{r.Account, p.Name, imageID{m.Digest, in.Tag}, in.Manifest, m.MediaType}}, nil
}

type batchIn struct {
	nameIn
	IDs      []imageID `json:"imageIds"`
	Accepted []string  `json:"acceptedMediaTypes"`
}

type imageFailure struct {
	ID     imageID `json:"imageId"`
	Code   string  `json:"failureCode"`
	Reason string  `json:"failureReason"`
}

type batchGetOut struct {
	Images   []imageOut     `json:"images"`
	Failures []imageFailure `json:"failures"`
}

func (t *T) batchGetImage(_ context.Context, c *api.Call, in *batchIn) (*batchGetOut, error) {
	if n := len(in.IDs); n == 0 || n > 100 {
		return nil, invalid("Invalid parameter at 'imageIds' failed to satisfy constraint: 'Member must have length between 1 and 100'")
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	r, p, err := t.find(c, in.Registry, in.Name)
	if err != nil {
		return nil, err
	}
	out := &batchGetOut{}
	for _, id := range in.IDs {
		m, err := r.image(p, id)
		if err != nil || c.Hidden(m.Digest) {
			out.Failures = append(out.Failures, imageFailure{id, "ImageNotFound", "Requested image not found"})
			continue
		}
		data, err := t.blobs.read(m.Digest)
		if err != nil {
			return nil, err
		}
		m.Pulled = t.now()
		out.Images = append(out.Images, imageOut{r.Account, p.Name, imageID{m.Digest, id.Tag}, string(data), m.MediaType})
	}
	return out, nil
}

type batchDeleteOut struct {
	IDs      []imageID      `json:"imageIds"`
	Failures []imageFailure `json:"failures"`
}

func (t *T) batchDeleteImage(_ context.Context, c *api.Call, in *batchIn) (*batchDeleteOut, error) {
	if n := len(in.IDs); n == 0 || n > 100 {
		return nil, invalid("Invalid parameter at 'imageIds' failed to satisfy constraint: 'Member must have length between 1 and 100'")
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	r, p, err := t.find(c, in.Registry, in.Name)
	if err != nil {
		return nil, err
	}
	out := &batchDeleteOut{}
	for _, id := range in.IDs {
		r.remove(p, id, out)
	}
	return out, nil
}

// remove takes a tag, or an image with all its tags, out of a repository. What
// an index names stays.
func (r *registry) remove(p *repository, id imageID, out *batchDeleteOut) {
	m, err := r.image(p, id)
	if err != nil {
		out.Failures = append(out.Failures, imageFailure{id, "ImageNotFound", "Requested image not found"})
		return
	}
	parent := p.parent(m.Digest)
	if id.Tag != "" {
		delete(p.Labels, id.Tag)
		out.IDs = append(out.IDs, imageID{m.Digest, id.Tag})
		if parent == "" && len(p.labels(m.Digest)) == 0 {
			p.drop(m)
		}
		return
	}
	if parent != "" {
		out.Failures = append(out.Failures, imageFailure{id, "ImageReferencedByManifestList", "Requested image referenced by manifest list: [" + parent + "]"})
		return
	}
	labels := p.labels(m.Digest)
	for _, label := range labels {
		out.IDs = append(out.IDs, imageID{m.Digest, label})
	}
	if len(labels) == 0 {
		out.IDs = append(out.IDs, imageID{Digest: m.Digest})
	}
	p.drop(m)
}

// parent is an index that names a manifest; empty if there is none.
func (p *repository) parent(digest string) string {
	for _, m := range p.Images {
		if slices.Contains(m.Children, digest) {
			return m.Digest
		}
	}
	return ""
}

// drop removes an image, and the layers that no other image of the repository has.
func (p *repository) drop(m *manifest) {
	delete(p.Images, m.Digest)
	for label, digest := range p.Labels {
		if digest == m.Digest {
			delete(p.Labels, label)
		}
	}
	used := map[string]bool{}
	for _, other := range p.Images {
		for _, l := range other.Layers {
			used[l] = true
		}
	}
	for _, l := range m.Layers {
		if !used[l] {
			delete(p.Blobs, l)
		}
	}
}

type imageFilter struct {
	Status      string `json:"tagStatus"`
	ImageStatus string `json:"imageStatus"`
}

type listImagesIn struct {
	nameIn
	paging
	Filter imageFilter `json:"filter"`
}

type listImagesOut struct {
	IDs  []imageID `json:"imageIds"`
	Next string    `json:"nextToken,omitempty"`
}

func (t *T) listImages(_ context.Context, c *api.Call, in *listImagesIn) (*listImagesOut, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, p, err := t.find(c, in.Registry, in.Name)
	if err != nil {
		return nil, err
	}
	var all []imageID
	for _, digest := range slices.Sorted(maps.Keys(p.Images)) {
		if c.Hidden(digest) {
			continue
		}
		labels := p.labels(digest)
		if len(labels) == 0 && in.Filter.Status != "TAGGED" {
			all = append(all, imageID{Digest: digest})
		}
		for _, label := range labels {
			if in.Filter.Status != "UNTAGGED" {
				all = append(all, imageID{digest, label})
			}
		}
	}
	page, next, err := cut(all, in.paging)
	return &listImagesOut{page, next}, err
}

type imageDetail struct {
	Registry     string       `json:"registryId"`
	Name         string       `json:"repositoryName"`
	Digest       string       `json:"imageDigest"`
	Tags         []string     `json:"imageTags,omitempty"`
	Size         int64        `json:"imageSizeInBytes"`
	Pushed       time.Time    `json:"imagePushedAt"`
	ScanStatus   *scanStatus  `json:"imageScanStatus,omitempty"`
	ScanSummary  *scanSummary `json:"imageScanFindingsSummary,omitempty"`
	MediaType    string       `json:"imageManifestMediaType"`
	ArtifactType string       `json:"artifactMediaType,omitempty"`
	Pulled       time.Time    `json:"lastRecordedPullTime"`
	Subject      string       `json:"subjectManifestDigest,omitempty"`
}

type describeImagesIn struct {
	listImagesIn
	IDs []imageID `json:"imageIds"`
}

type describeImagesOut struct {
	Details []imageDetail `json:"imageDetails"`
	Next    string        `json:"nextToken,omitempty"`
}

func (t *T) describeImages(_ context.Context, c *api.Call, in *describeImagesIn) (*describeImagesOut, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r, p, err := t.find(c, in.Registry, in.Name)
	if err != nil {
		return nil, err
	}
	var digests []string
	for _, id := range in.IDs {
		m, err := r.image(p, id)
		if err == nil && c.Hidden(m.Digest) {
			_, err = r.image(&repository{Name: p.Name}, id)
		}
		if err != nil {
			return nil, err
		}
		digests = append(digests, m.Digest)
	}
	if len(in.IDs) == 0 {
		digests = slices.Sorted(maps.Keys(p.Images))
	}
	var all []imageDetail
	for _, digest := range digests {
		labels := p.labels(digest)
		if c.Hidden(digest) || in.Filter.Status == "TAGGED" && len(labels) == 0 || in.Filter.Status == "UNTAGGED" && len(labels) > 0 {
			continue
		}
		all = append(all, t.detail(r, p, p.Images[digest], labels))
	}
	page, next, err := cut(all, in.paging)
	return &describeImagesOut{page, next}, err
}

func (t *T) detail(r *registry, p *repository, m *manifest, labels []string) imageDetail {
	d := imageDetail{Registry: r.Account, Name: p.Name, Digest: m.Digest, Tags: labels, Size: m.Size, Pushed: m.Pushed,
		MediaType: m.MediaType, ArtifactType: m.ArtifactType, Pulled: m.Pulled, Subject: m.Subject}
	if !m.Scanned.IsZero() {
		status := t.scanned(r, p, m)
		d.ScanStatus = &status
		if status.Status == "COMPLETE" || status.Status == "ACTIVE" {
			d.ScanSummary = p.summary(m, t.world.Takes(scanTakes))
		}
	}
	return d
}
