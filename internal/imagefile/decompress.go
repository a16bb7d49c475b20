package imagefile

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// Plain is the content of a file that may be compressed.
type Plain struct {
	io.Reader
	Format string // "gzip", "zstd", "bzip2", "xz"; empty if it is not compressed
	close  func() error
}

// Close ends the decompression, not the file under it.
func (p *Plain) Close() error {
	if p.close == nil {
		return nil
	}
	return p.close()
}

// Decompress reads r, whichever compression it is in; it tells by the first
// bytes. For xz it runs the program of that name.
func Decompress(ctx context.Context, r io.Reader) (*Plain, error) {
	b := bufio.NewReaderSize(r, 256<<10)
	head, err := b.Peek(6)
	if err != nil && err != io.EOF {
		return nil, err
	}
	switch {
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		z, err := gzip.NewReader(b)
		if err != nil {
			return nil, err
		}
		return &Plain{Reader: z, Format: "gzip", close: z.Close}, nil
	case bytes.HasPrefix(head, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		z, err := zstd.NewReader(b, zstd.WithDecoderMaxMemory(256<<20))
		if err != nil {
			return nil, err
		}
		return &Plain{Reader: z, Format: "zstd", close: func() error { z.Close(); return nil }}, nil
	case bytes.HasPrefix(head, []byte("BZh")):
		return &Plain{Reader: bzip2.NewReader(b), Format: "bzip2"}, nil
	case bytes.HasPrefix(head, []byte("\xfd7zXZ\x00")):
		return unxz(ctx, b)
	}
	return &Plain{Reader: b}, nil
}

// unxz reads xz through the program: there is no decoder among our libraries.
func unxz(ctx context.Context, r io.Reader) (*Plain, error) {
	ctx, cancel := context.WithCancel(ctx)
	cmd := exec.CommandContext(ctx, "xz", "--decompress", "--stdout")
	cmd.Stdin = r
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	pr, pw := io.Pipe()
	cmd.Stdout = pw
	if err := cmd.Start(); err != nil {
		cancel()
		return nil, &xzError{err}
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		err := cmd.Wait()
		if err != nil {
			err = fmt.Errorf("xz: %w: %s", err, bytes.TrimSpace(stderr.Bytes()))
		}
		pw.CloseWithError(err) // nil is io.EOF
	}()
	return &Plain{Reader: pr, Format: "xz", close: func() error {
		cancel()
		pr.CloseWithError(errors.New("closed"))
		<-done
		return nil
	}}, nil
}

type xzError struct{ error }

func (e *xzError) Unwrap() error { return e.error }

func (e *xzError) Error() string { return "unpacking xz: " + e.error.Error() }

// Hint says what is missing.
func (e *xzError) Hint() string { return "install xz (package xz-utils), or use gzip or zstd" }
