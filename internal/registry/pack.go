package registry

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// A packed upload keeps the last tailSize bytes that it sent, so that it can
// go on after a cut although its content cannot be read again, and sends
// chunkSize bytes at a time from then on. In it are what the kernels on both
// sides hold of a connection, by default up to 4 and 6 MiB, and the part that a
// registry has not finished: ECR stores parts of 5 MiB and more, and takes no
// smaller one before the last.
const (
	tailSize  = 16 << 20
	chunkSize = 5 << 20
)

// A tail remembers the end of what was written to it.
type tail struct {
	buf []byte // a ring of tailSize bytes
	n   int64  // bytes written in all
}

func (t *tail) add(p []byte) {
	for len(p) > 0 {
		n := copy(t.buf[t.n%tailSize:], p)
		t.n += int64(n)
		p = p[n:]
	}
}

// first is where what is remembered begins.
func (t *tail) first() int64 { return max(0, t.n-tailSize) }

// from returns up to most bytes from off on.
func (t *tail) from(off, most int64) []byte {
	n := min(most, t.n-off)
	out := make([]byte, 0, n)
	for n > 0 {
		part := t.buf[off%tailSize:]
		part = part[:min(int64(len(part)), n)]
		out = append(out, part...)
		off, n = off+int64(len(part)), n-int64(len(part))
	}
	return out
}

// takeTail returns an empty tail, the last one's memory if it is free.
func (p *push) takeTail() *tail {
	p.mu.Lock()
	defer p.mu.Unlock()
	buf := p.spare
	if p.spare = nil; buf == nil {
		buf = make([]byte, tailSize)
	}
	return &tail{buf: buf}
}

func (p *push) giveTail(t *tail) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.spare = t.buf
}

// pack compresses a layer and uploads it as it comes.
func (p *push) pack(ctx context.Context, diffID v1.Hash, tar io.Reader) (packed, error) {
	pr, pw := io.Pipe()
	plain := sha256.New()
	var read int64
	finished := make(chan error, 1)
	go func() {
		err := compress(pw, p.Compression, io.TeeReader(tar, io.MultiWriter(plain, writerFunc(func(b []byte) {
			read += int64(len(b))
			p.tell("pushing", diffID, read, 0, false)
		}))))
		if err == nil {
			if got := hex.EncodeToString(plain.Sum(nil)); got != diffID.Hex {
				err = fmt.Errorf("the engine's layer has other content (sha256:%s) than its id says", got)
			}
		}
		pw.CloseWithError(err) // nil is io.EOF
		finished <- err
	}()
	up := &packing{push: p, diffID: diffID, src: pr, sum: sha256.New(), tail: p.takeTail()}
	defer p.giveTail(up.tail)
	digest, size, err := up.run(ctx)
	pr.CloseWithError(err)
	if cerr := <-finished; err == nil {
		err = cerr
	}
	if err != nil {
		return packed{}, err
	}
	p.tell("pushing", diffID, read, read, true)
	l := packed{Digest: digest, Size: size, MediaType: p.Compression.MediaType()}
	p.uploaded.Add(1)
	p.bytes.Add(size)
	p.client.cache.keepPacked(diffID, p.Compression, l)
	p.saw(digest)
	return l, nil
}

func compress(w io.Writer, how Compression, r io.Reader) error {
	z, err := how.Writer(w)
	if err != nil {
		return err
	}
	_, err = io.CopyBuffer(onlyWriter{z}, r, make([]byte, 256<<10))
	if cerr := z.Close(); err == nil {
		err = cerr
	}
	return err
}

// onlyWriter hides ReadFrom, which would go past the buffer.
type onlyWriter struct{ io.Writer }

type writerFunc func([]byte)

func (f writerFunc) Write(p []byte) (int, error) { f(p); return len(p), nil }

// packing is the upload of a blob that is read once and whose digest and size
// are known only at its end.
type packing struct {
	*push
	diffID   v1.Hash
	src      io.Reader
	sum      hash.Hash
	tail     *tail // the last of what was taken from src
	ended    bool  // src has ended
	broken   error // src has failed: no use in trying again
	location string
}

// Read takes from the source and remembers what it gave.
func (u *packing) Read(p []byte) (int, error) {
	n, err := u.src.Read(p)
	u.sum.Write(p[:n])
	u.tail.add(p[:n])
	if u.MaxLayer > 0 && u.tail.n > u.MaxLayer {
		u.broken = &LayerTooBigError{Layer: u.diffID.String(), Size: u.tail.n, Max: u.MaxLayer}
		return n, u.broken
	}
	switch {
	case err == io.EOF:
		u.ended = true
	case err != nil:
		u.broken = err
	}
	return n, err
}

func (u *packing) run(ctx context.Context) (v1.Hash, int64, error) {
	location, err := u.begin(ctx, v1.Hash{}, "")
	if err != nil {
		return v1.Hash{}, 0, err
	}
	u.location = location
	if err := u.all(ctx); err != nil {
		if off, rerr := u.recover(ctx, err); rerr != nil {
			return v1.Hash{}, 0, rerr
		} else if err := u.chunks(ctx, off); err != nil {
			return v1.Hash{}, 0, err
		}
	}
	digest := v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(u.sum.Sum(nil))}
	return digest, u.tail.n, u.session.retry.do(ctx, func() error { return u.commit(ctx, u.location, digest) })
}

// all sends everything in one request, as it comes: what every registry takes.
func (u *packing) all(ctx context.Context) error {
	body := &gate{src: u}
	defer body.Close() // the transport may still be reading when it reports an error
	req, err := http.NewRequestWithContext(ctx, http.MethodPatch, u.location, body)
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/octet-stream")
	return u.patched(req)
}

func (u *packing) patched(req *http.Request) error {
	resp, err := u.session.once(req, http.StatusAccepted, http.StatusNoContent, http.StatusCreated)
	if err != nil {
		return lost(err)
	}
	defer drain(resp)
	u.location, err = nextLocation(resp)
	return err
}

// recover finds out where to go on after cause.
func (u *packing) recover(ctx context.Context, cause error) (off int64, err error) {
	if u.broken != nil {
		return 0, u.broken
	}
	if !resumable(ctx, cause) {
		return 0, cause
	}
	location, off, err := u.status(ctx, u.location)
	if err != nil || off > u.tail.n || off < u.tail.first() {
		return 0, fmt.Errorf("%w: %w", errBegin, errors.Join(cause, err))
	}
	u.location = location
	return off, nil
}

// chunks sends the rest from off on in pieces that are kept until the
// registry has them.
func (u *packing) chunks(ctx context.Context, off int64) error {
	tries := 0
	for {
		if err := u.fill(off); err != nil {
			return err
		}
		chunk := u.tail.from(off, chunkSize)
		if len(chunk) == 0 {
			return nil
		}
		err := u.chunk(ctx, off, chunk)
		if err == nil {
			off += int64(len(chunk))
			tries = 0
			continue
		}
		if tries++; tries >= u.session.retry.Attempts {
			return err
		}
		if werr := u.session.retry.pause(ctx, tries, err); werr != nil {
			return err
		}
		if off, err = u.recover(ctx, err); err != nil {
			return err
		}
	}
}

// fill reads on until there is a chunk to send from off on, or the end.
func (u *packing) fill(off int64) error {
	buf := make([]byte, 64<<10)
	for u.tail.n-off < chunkSize && !u.ended {
		if _, err := u.Read(buf); err != nil && err != io.EOF {
			return err
		}
	}
	return nil
}

func (u *packing) chunk(ctx context.Context, off int64, chunk []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPatch, u.location, bytes.NewReader(chunk))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/octet-stream")
	req.Header.Set("Content-Range", fmt.Sprintf("%d-%d", off, off+int64(len(chunk))-1))
	return u.patched(req)
}
