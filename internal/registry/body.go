package registry

import (
	"errors"
	"fmt"
	"io"
	"sync"
)

// A localError is content that could not be read on this side: sending again
// does not help.
type localError struct{ error }

func (e *localError) Unwrap() error { return e.error }

// A lazyBody opens its content when it is first read, from byte off on. A
// request may need several: one for each time it is sent.
type lazyBody struct {
	open   func() (io.ReadCloser, error)
	off    int64
	left   int64 // bytes to give
	report func(n int64, ended bool)
	broken func(error) // told of errors of the content

	mu     sync.Mutex // the transport may still read while the body is closed
	src    io.ReadCloser
	closed bool
}

var errBodyClosed = errors.New("the request's body was closed")

func (b *lazyBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return 0, errBodyClosed
	}
	if b.left == 0 {
		return 0, io.EOF
	}
	if err := b.begin(); err != nil {
		b.broken(err)
		return 0, err
	}
	n, err := b.src.Read(p[:min(int64(len(p)), b.left)])
	b.off += int64(n)
	b.left -= int64(n)
	b.report(b.off, false)
	switch {
	case err == io.EOF && b.left > 0:
		err = io.ErrUnexpectedEOF
		b.broken(fmt.Errorf("the layer ends %d bytes too soon", b.left))
	case err != nil && err != io.EOF:
		b.broken(err)
	}
	return n, err
}

func (b *lazyBody) begin() error {
	if b.src != nil {
		return nil
	}
	src, err := b.open()
	if err != nil {
		return err
	}
	b.src = src
	return skip(src, b.off)
}

// Close ends the body for whoever reads it.
func (b *lazyBody) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed || b.src == nil {
		b.closed = true
		return nil
	}
	b.closed = true
	return b.src.Close()
}

// skip moves a reader forward, by seeking if it can.
func skip(r io.Reader, n int64) error {
	if n == 0 {
		return nil
	}
	if s, ok := r.(io.Seeker); ok {
		_, err := s.Seek(n, io.SeekStart)
		return err
	}
	_, err := io.CopyN(io.Discard, r, n)
	return err
}

// A gate lets a request read from a source until it is closed, and no more
// after that: the source goes on living.
type gate struct {
	mu     sync.Mutex
	src    io.Reader
	closed bool
}

func (g *gate) Read(p []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return 0, errBodyClosed
	}
	return g.src.Read(p)
}

func (g *gate) Close() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
	return nil
}
