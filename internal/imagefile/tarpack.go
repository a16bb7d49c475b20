package imagefile

import (
	"archive/tar"
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

const tarBlock = 512

// A tarPacker writes an archive to a file and may go back to write a header
// when what it describes is written. Names, owners, times and order are those
// of the content alone.
type tarPacker struct {
	f    *os.File
	off  int64
	have map[string]bool
}

func newTarPacker(f *os.File) *tarPacker { return &tarPacker{f: f, have: map[string]bool{}} }

// entry writes one file whose name is asked for when fn is done. If there is
// one of that name already, it leaves nothing.
func (p *tarPacker) entry(fn func(w io.Writer) (name string, err error)) (int64, error) {
	start := p.off
	if _, err := p.f.Seek(start+tarBlock, io.SeekStart); err != nil {
		return 0, err
	}
	out := bufio.NewWriterSize(p.f, 256<<10)
	count := &countWriter{w: out}
	name, err := fn(count)
	if err != nil {
		return 0, err
	}
	if p.have[name] {
		return count.n, p.f.Truncate(start)
	}
	if _, err := out.Write(make([]byte, (tarBlock-count.n%tarBlock)%tarBlock)); err != nil {
		return 0, err
	}
	if err := out.Flush(); err != nil {
		return 0, err
	}
	header, err := headerBlock(name, count.n)
	if err != nil {
		return 0, err
	}
	if _, err := p.f.WriteAt(header, start); err != nil {
		return 0, err
	}
	p.have[name] = true
	p.off = start + tarBlock + (count.n+tarBlock-1)/tarBlock*tarBlock
	return count.n, nil
}

// headerBlock is the header of a file, in the one block it always takes in
// GNU's format, whatever its size.
func headerBlock(name string, size int64) ([]byte, error) {
	var buf bytes.Buffer
	err := tar.NewWriter(&buf).WriteHeader(&tar.Header{
		Name: name, Size: size, Mode: 0o644, Typeflag: tar.TypeReg, Format: tar.FormatGNU, ModTime: time.Unix(0, 0),
	})
	if err == nil && buf.Len() != tarBlock {
		err = fmt.Errorf("the name %q is too long for an archive", name)
	}
	return buf.Bytes(), err
}

// file writes a small file.
func (p *tarPacker) file(name string, data []byte) error {
	_, err := p.entry(func(w io.Writer) (string, error) {
		_, err := w.Write(data)
		return name, err
	})
	return err
}

func (p *tarPacker) add(d v1.Descriptor, open func() (io.ReadCloser, error)) error {
	name := blobName(d.Digest)
	if p.have[name] {
		return nil
	}
	_, err := p.entry(func(w io.Writer) (string, error) { return name, copyChecked(w, d, open) })
	return err
}

func (p *tarPacker) pack(fn func(w io.Writer) error) (v1.Hash, int64, error) {
	sum := sha256.New()
	var h v1.Hash
	n, err := p.entry(func(w io.Writer) (string, error) {
		err := fn(io.MultiWriter(w, sum))
		h = v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum.Sum(nil))}
		return blobName(h), err
	})
	return h, n, err
}

// close ends the archive.
func (p *tarPacker) close() error {
	if err := p.f.Truncate(p.off); err != nil { // what a discarded entry left
		return err
	}
	_, err := p.f.WriteAt(make([]byte, 2*tarBlock), p.off)
	return err
}

type countWriter struct {
	w io.Writer
	n int64
}

func (c *countWriter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}
