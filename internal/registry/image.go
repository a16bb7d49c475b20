package registry

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"net/http"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// An image is the core from which partial makes a v1.Image. It holds a
// context because the methods of v1.Layer take none.
type image struct {
	client   *Client
	ctx      context.Context
	ref      Reference
	manifest *manifest
	sessions []*session // where its blobs are, best first
}

func (i *image) complete() (v1.Image, error) { return partial.CompressedToImage(i) }

// MediaType is part of partial.CompressedImageCore.
func (i *image) MediaType() (types.MediaType, error) { return i.manifest.mediaType, nil }

// RawManifest is part of partial.CompressedImageCore.
func (i *image) RawManifest() ([]byte, error) { return i.manifest.raw, nil }

// RawConfigFile is part of partial.CompressedImageCore.
func (i *image) RawConfigFile() ([]byte, error) { return i.manifest.config, nil }

// LayerByDigest is part of partial.CompressedImageCore.
func (i *image) LayerByDigest(h v1.Hash) (partial.CompressedLayer, error) {
	if h == i.manifest.image.Config.Digest {
		return partial.ConfigLayer(i)
	}
	for _, d := range i.manifest.image.Layers {
		if d.Digest == h {
			return &layer{image: i, desc: d}, nil
		}
	}
	return nil, fmt.Errorf("%s has no layer %s", i.ref, h)
}

type layer struct {
	image *image
	desc  v1.Descriptor
}

func (l *layer) Digest() (v1.Hash, error)            { return l.desc.Digest, nil }
func (l *layer) Size() (int64, error)                { return l.desc.Size, nil }
func (l *layer) MediaType() (types.MediaType, error) { return l.desc.MediaType, nil }
func (l *layer) Descriptor() (*v1.Descriptor, error) { return &l.desc, nil }
func (l *layer) Compressed() (io.ReadCloser, error) {
	r := &blobReader{ctx: l.image.ctx, sessions: l.image.sessions, desc: l.desc}
	if err := r.open(); err != nil {
		return nil, fmt.Errorf("layer %s of %s: %w", l.desc.Digest, l.image.ref, err)
	}
	return r, nil
}

// A blobReader reads one blob. When the connection is cut it asks for the
// rest; at the end it has checked size and digest.
type blobReader struct {
	ctx      context.Context
	sessions []*session
	desc     v1.Descriptor

	body  io.ReadCloser
	off   int64 // of the next byte
	sum   hash.Hash
	tries int // without a byte in between
	end   error
}

func (r *blobReader) Read(p []byte) (int, error) {
	if r.end != nil {
		return 0, r.end
	}
	for {
		if r.body == nil {
			if err := r.open(); err != nil {
				r.end = err
				return 0, err
			}
		}
		n, err := r.body.Read(p)
		if n > 0 {
			r.tries = 0
			r.off += int64(n)
			r.sum.Write(p[:n])
			if r.off > r.desc.Size {
				r.end = fmt.Errorf("blob %s is longer than the %d bytes its manifest says", r.desc.Digest, r.desc.Size)
				return 0, r.end
			}
		}
		if err == nil || n > 0 {
			return n, nil // an error comes again with the next read
		}
		if r.off == r.desc.Size {
			r.end = r.verify()
			return 0, r.end
		}
		if err := r.again(err); err != nil {
			r.end = err
			return 0, err
		}
	}
}

// again gets ready to go on after the body ended too soon.
func (r *blobReader) again(cause error) error {
	r.body.Close()
	r.body = nil
	r.tries++
	retry := r.sessions[0].retry
	if r.tries >= retry.Attempts || r.ctx.Err() != nil {
		return fmt.Errorf("blob %s: cut after %d of %d bytes: %w", r.desc.Digest, r.off, r.desc.Size, cause)
	}
	return retry.wait(r.ctx, r.tries, retryAfter(cause))
}

// verify compares what was read with the digest and returns io.EOF if it is right.
func (r *blobReader) verify() error {
	if got := hex.EncodeToString(r.sum.Sum(nil)); got != r.desc.Digest.Hex {
		return fmt.Errorf("blob %s has other content than its digest says: sha256:%s", r.desc.Digest, got)
	}
	return io.EOF
}

// open asks for what is left of the blob, from the first place that has it.
func (r *blobReader) open() error {
	if r.sum == nil {
		if r.desc.Digest.Algorithm != "sha256" {
			return fmt.Errorf("blob %s: bake checks sha256 only", r.desc.Digest)
		}
		r.sum = sha256.New()
	}
	if r.off == r.desc.Size && r.off > 0 {
		r.body = http.NoBody
		return nil
	}
	var err error
	for _, s := range r.sessions {
		if r.body, err = r.openAt(s); err == nil || r.ctx.Err() != nil {
			return err
		}
	}
	return err
}

func (r *blobReader) openAt(s *session) (io.ReadCloser, error) {
	header := http.Header{}
	if r.off > 0 {
		header.Set("Range", fmt.Sprintf("bytes=%d-%d", r.off, r.desc.Size-1))
	}
	resp, err := s.do(r.ctx, http.MethodGet, s.url("blobs", r.desc.Digest.String()).String(), header, http.StatusOK, http.StatusPartialContent)
	if err != nil {
		return nil, err
	}
	if r.off > 0 && resp.StatusCode == http.StatusOK {
		// The registry does not know Range: read past what is here already.
		if _, err := io.CopyN(io.Discard, resp.Body, r.off); err != nil {
			resp.Body.Close()
			return cutBody{err}, nil // counts as one more cut
		}
	}
	return resp.Body, nil
}

// A cutBody is an answer that ended before what was wanted of it.
type cutBody struct{ err error }

func (b cutBody) Read([]byte) (int, error) { return 0, b.err }

func (cutBody) Close() error { return nil }

// Close gives the connection back.
func (r *blobReader) Close() error {
	if r.end == nil {
		r.end = http.ErrBodyReadAfterClose
	}
	if r.body == nil {
		return nil
	}
	return r.body.Close()
}
