// Package untar reads layers of images: tars, compressed or not, as the entries
// that package rootfs applies to a directory.
package untar

import (
	"archive/tar"
	"bufio"
	"compress/bzip2"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"bake/internal/rootfs"
	"bake/internal/rootfs/tree"
)

// XattrPrefix is where tars of images keep extended attributes, among the PAX records.
const XattrPrefix = "SCHILY.xattr."

// GzipMagic begins every gzip file (RFC 1952).
const GzipMagic = "\x1f\x8b"

// Decompress finds out how content is compressed by its first bytes: gzip,
// zstd, bzip2 or not at all. Closing the result does not close r.
func Decompress(r io.Reader) (io.ReadCloser, error) {
	br := bufio.NewReaderSize(r, 64<<10)
	magic, err := br.Peek(4)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	switch {
	case strings.HasPrefix(string(magic), GzipMagic):
		return gzip.NewReader(br)
	case strings.HasPrefix(string(magic), "\x28\xb5\x2f\xfd"):
		d, err := zstd.NewReader(br, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(128<<20))
		if err != nil {
			return nil, err
		}
		return d.IOReadCloser(), nil
	case strings.HasPrefix(string(magic), "BZh"):
		return io.NopCloser(bzip2.NewReader(br)), nil
	}
	return io.NopCloser(br), nil
}

// Feed brings the entries of the tar that r gives, uncompressed.
func Feed(r io.Reader) rootfs.Feed {
	return func(fn tree.Func) error {
		for tr := tar.NewReader(r); ; {
			h, err := tr.Next()
			if err == io.EOF {
				return nil
			}
			if err != nil {
				return err
			}
			e, err := entry(h)
			if err != nil {
				return fmt.Errorf("%s: %w", h.Name, err)
			}
			if e == nil {
				continue
			}
			if err := fn(e, tr); err != nil {
				return err
			}
		}
	}
}

// entry is a tar header as a tree's entry; nil if it is none of a file.
func entry(h *tar.Header) (*tree.Entry, error) {
	e := &tree.Entry{Path: h.Name, Mode: h.FileInfo().Mode(), UID: h.Uid, GID: h.Gid, Link: h.Linkname,
		Sec: h.ModTime.Unix(), Nsec: int64(h.ModTime.Nanosecond()), Major: uint32(h.Devmajor), Minor: uint32(h.Devminor)}
	switch h.Typeflag {
	case tar.TypeReg, tar.TypeGNUSparse, tar.TypeCont:
		e.Size = h.Size
	case tar.TypeLink:
		e.Hard = true
	case tar.TypeSymlink, tar.TypeDir, tar.TypeChar, tar.TypeBlock, tar.TypeFifo:
	case tar.TypeXGlobalHeader:
		return nil, nil
	default:
		return nil, fmt.Errorf("entries of type %q are not supported", h.Typeflag)
	}
	for key, value := range h.PAXRecords {
		if name, ok := strings.CutPrefix(key, XattrPrefix); ok {
			if e.Xattrs == nil {
				e.Xattrs = map[string]string{}
			}
			e.Xattrs[name] = value
		}
	}
	return e, nil
}
