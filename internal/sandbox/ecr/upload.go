package ecr

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"sync"

	"bake/internal/sandbox/api"
)

// Layer parts, as ECR's quotas have them.
const (
	minPart  = 5 << 20  // all but the last
	partSize = 10 << 20 // what InitiateLayerUpload asks for
	maxParts = 4200
)

// An upload is a layer on its way. What has arrived as whole parts stays when a
// connection breaks; the part in flight is lost.
type upload struct {
	id         string
	repository *repository

	mu    sync.Mutex // one request writes at a time
	file  *os.File
	hash  hash.Hash
	size  int64
	parts int
	short bool // the last part was shorter than minPart: no other may follow
	done  bool
}

func (t *T) beginUpload(p *repository) (*upload, error) {
	f, err := os.CreateTemp(t.blobs.uploads(), "layer-")
	if err != nil {
		return nil, err
	}
	b := make([]byte, 16)
	_, _ = rand.Read(b) // it cannot fail: crypto/rand
	x := hex.EncodeToString(b)
	u := &upload{id: x[:8] + "-" + x[8:12] + "-" + x[12:16] + "-" + x[16:20] + "-" + x[20:], repository: p, file: f, hash: sha256.New()}
	t.uploads[u.id] = u
	return u, nil
}

func (t *T) uploadOf(p *repository, id string) (*upload, error) {
	u := t.uploads[id]
	if u == nil || u.repository.Name != p.Name {
		return nil, api.Errorf("UploadNotFoundException", "The upload with id '%s' does not exist in the repository with name '%s'", id, p.Name)
	}
	return u, nil
}

// write takes what one request brings, in parts: those that arrived whole
// are kept even if the rest does not come.
func (u *upload) write(from io.Reader) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	buffer := make([]byte, minPart)
	for {
		n, err := io.ReadFull(from, buffer)
		if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
			return err
		}
		if n > 0 {
			if perr := u.part(buffer[:n]); perr != nil {
				return perr
			}
		}
		if err != nil {
			return nil
		}
	}
}

// part adds bytes to what there is.
func (u *upload) part(data []byte) error {
	switch {
	case u.done:
		return api.Errorf("UploadNotFoundException", "The upload with id '%s' is completed", u.id)
	case u.short:
		return api.Errorf("LayerPartTooSmallException", "Layer parts must be at least %d bytes in size", minPart)
	case u.parts == maxParts*2: // stored in parts of half the size
		return api.Errorf("LimitExceededException", "A layer has at most %d parts", maxParts)
	}
	if _, err := u.file.Write(data); err != nil {
		return err
	}
	u.hash.Write(data)
	u.size += int64(len(data))
	u.parts++
	u.short = len(data) < minPart
	return nil
}

// complete makes the upload a layer of its repository.
func (t *T) complete(u *upload, digest string) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.done {
		return api.Errorf("UploadNotFoundException", "The upload with id '%s' is completed", u.id)
	}
	if u.size == 0 {
		return api.Errorf("EmptyUploadException", "The upload with id '%s' does not contain any layer parts", u.id)
	}
	state, err := u.hash.(encoding.BinaryMarshaler).MarshalBinary()
	if err != nil {
		return err
	}
	if got := "sha256:" + hex.EncodeToString(u.hash.Sum(nil)); got != digest {
		_ = u.hash.(encoding.BinaryUnmarshaler).UnmarshalBinary(state) // what it marshaled itself
		return api.Errorf("InvalidLayerException", "The layer digest calculation performed by Amazon ECR upon receipt of the image layer does not match the digest specified: %s, not %s", got, digest)
	}
	u.done = true
	if err := errors.Join(u.file.Close(), t.blobs.adopt(u.file.Name(), digest)); err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.uploads, u.id)
	u.repository.Blobs[digest] = u.size
	return nil
}

// abandon forgets an upload.
func (t *T) abandon(u *upload) error {
	t.mu.Lock()
	delete(t.uploads, u.id)
	t.mu.Unlock()
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.done {
		return nil
	}
	u.done = true
	return errors.Join(u.file.Close(), os.Remove(u.file.Name()))
}

type initiateOut struct {
	ID       string `json:"uploadId"`
	PartSize int64  `json:"partSize"`
}

func (t *T) initiateLayerUpload(_ context.Context, c *api.Call, in *nameIn) (*initiateOut, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, p, err := t.find(c, in.Registry, in.Name)
	if err != nil {
		return nil, err
	}
	u, err := t.beginUpload(p)
	if err != nil {
		return nil, err
	}
	return &initiateOut{u.id, partSize}, nil
}

type partIn struct {
	nameIn
	ID    string `json:"uploadId"`
	First int64  `json:"partFirstByte"`
	Last  int64  `json:"partLastByte"`
	Blob  []byte `json:"layerPartBlob"`
}

type partOut struct {
	Registry string `json:"registryId"`
	Name     string `json:"repositoryName"`
	ID       string `json:"uploadId"`
	Last     int64  `json:"lastByteReceived"`
}

func (t *T) uploadLayerPart(_ context.Context, c *api.Call, in *partIn) (*partOut, error) {
	t.mu.Lock()
	r, p, err := t.find(c, in.Registry, in.Name)
	var u *upload
	if err == nil {
		u, err = t.uploadOf(p, in.ID)
	}
	t.mu.Unlock()
	if err != nil {
		return nil, err
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if in.First != u.size || in.Last-in.First+1 != int64(len(in.Blob)) || len(in.Blob) > partSize*2 {
		return nil, &api.Error{Code: "InvalidLayerPartException", Message: fmt.Sprintf("The layer part of bytes %d to %d is not valid: the last byte received was %d", in.First, in.Last, u.size-1),
			Fields: map[string]any{"registryId": r.Account, "repositoryName": p.Name, "uploadId": u.id, "lastValidByteReceived": u.size - 1}}
	}
	if err := u.part(in.Blob); err != nil {
		return nil, err
	}
	return &partOut{r.Account, p.Name, u.id, u.size - 1}, nil
}

type completeIn struct {
	nameIn
	ID      string   `json:"uploadId"`
	Digests []string `json:"layerDigests"`
}

type completeOut struct {
	Registry string `json:"registryId"`
	Name     string `json:"repositoryName"`
	ID       string `json:"uploadId"`
	Digest   string `json:"layerDigest"`
}

func (t *T) completeLayerUpload(_ context.Context, c *api.Call, in *completeIn) (*completeOut, error) {
	t.mu.Lock()
	r, p, err := t.find(c, in.Registry, in.Name)
	var u *upload
	if err == nil {
		u, err = t.uploadOf(p, in.ID)
	}
	exists := err == nil && len(in.Digests) == 1 && p.Blobs[in.Digests[0]] > 0
	t.mu.Unlock()
	switch {
	case err != nil:
		return nil, err
	case len(in.Digests) != 1 || !digestForm.MatchString(in.Digests[0]):
		return nil, invalid("Invalid parameter at 'layerDigests' failed to satisfy constraint: 'one sha256 digest'")
	case exists:
		return nil, api.Errorf("LayerAlreadyExistsException", "The layer with digest '%s' already exists in the repository with name '%s'", in.Digests[0], p.Name)
	}
	if err := t.complete(u, in.Digests[0]); err != nil {
		return nil, err
	}
	return &completeOut{r.Account, p.Name, u.id, in.Digests[0]}, nil
}

type checkLayersIn struct {
	nameIn
	Digests []string `json:"layerDigests"`
}

type layerOut struct {
	Digest       string `json:"layerDigest"`
	Availability string `json:"layerAvailability"`
	Size         int64  `json:"layerSize,omitempty"`
}

type layerFailure struct {
	Digest string `json:"layerDigest"`
	Code   string `json:"failureCode"`
	Reason string `json:"failureReason"`
}

type checkLayersOut struct {
	Layers   []layerOut     `json:"layers"`
	Failures []layerFailure `json:"failures"`
}

func (t *T) batchCheckLayerAvailability(_ context.Context, c *api.Call, in *checkLayersIn) (*checkLayersOut, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, p, err := t.find(c, in.Registry, in.Name)
	if err != nil {
		return nil, err
	}
	var out checkLayersOut
	for _, d := range in.Digests {
		size, ok := p.Blobs[d]
		switch {
		case !digestForm.MatchString(d):
			out.Failures = append(out.Failures, layerFailure{d, "InvalidLayerDigest", "Invalid layer digest"})
		case !ok:
			out.Layers = append(out.Layers, layerOut{Digest: d, Availability: "UNAVAILABLE"})
		default:
			out.Layers = append(out.Layers, layerOut{d, "AVAILABLE", size})
		}
	}
	return &out, nil
}

type downloadIn struct {
	nameIn
	Digest string `json:"layerDigest"`
}

type downloadOut struct {
	URL    string `json:"downloadUrl"`
	Digest string `json:"layerDigest"`
}

func (t *T) getDownloadURLForLayer(_ context.Context, c *api.Call, in *downloadIn) (*downloadOut, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r, p, err := t.find(c, in.Registry, in.Name)
	if err != nil {
		return nil, err
	}
	if _, ok := p.Blobs[in.Digest]; !ok {
		return nil, api.Errorf("LayersNotFoundException", "The layer with digest '%s' does not exist in the repository with name '%s' in registry with id '%s'", in.Digest, p.Name, r.Account)
	}
	// As on AWS the address is the secret.
	return &downloadOut{"http://" + r.host() + "/layer/" + in.Digest, in.Digest}, nil
}
