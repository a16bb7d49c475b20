package oci

import (
	"archive/tar"
	"bufio"
	"compress/bzip2"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"bake/builder"
	"bake/internal/rootfs"
	"bake/internal/rootfs/tree"
)

func sha(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

func (s *store) blob(digest string) string {
	return s.path("blobs", strings.TrimPrefix(digest, "sha256:"))
}

func (s *store) openBlob(digest string) func() (io.ReadCloser, error) {
	return func() (io.ReadCloser, error) { return os.Open(s.blob(digest)) }
}

// useLayer finds a layer whose directory and blob are there and keeps it from
// being pruned.
func (s *store) useLayer(diffID string) (rec layerRecord, err error) {
	if known, ok := s.known.Load(kindLayer + diffID); ok {
		return known.(layerRecord), nil
	}
	defer func() { s.remember(kindLayer+diffID, rec, err) }()
	err = s.use(func() ([]string, error) {
		if rec, err = read[layerRecord](s, kindLayer, diffID); err != nil {
			return nil, err
		}
		if rec.Dir == "" || rec.Boot != "" && rec.Boot != s.boot || !exists(s.path("layers", rec.Dir)) || !s.whole(rec) {
			return nil, builder.ErrNotFound
		}
		return []string{rec.Dir, rec.Blob}, nil
	})
	return rec, err
}

// whole reports whether a layer's blob is there in its full length.
func (s *store) whole(l layerRecord) bool {
	st, err := os.Stat(s.blob(l.Blob))
	return err == nil && st.Size() == l.BlobSize
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// useImage finds an image all of whose blobs are there.
func (s *store) useImage(id string) (rec imageRecord, err error) {
	if known, ok := s.known.Load(kindImage + id); ok {
		return known.(imageRecord), nil
	}
	defer func() { s.remember(kindImage+id, rec, err) }()
	err = s.use(func() ([]string, error) {
		if rec, err = read[imageRecord](s, kindImage, id); err != nil {
			return nil, err
		}
		s.touch(kindImage, id)
		names := []string{id}
		for _, l := range rec.Layers {
			if !s.whole(l) {
				return nil, builder.ErrNotFound
			}
			names = append(names, l.Blob)
		}
		return names, nil
	})
	return rec, err
}

// unpack reads a layer once: into its blob, through both digests, into a directory.
func (s *store) unpack(ctx context.Context, sc *builder.Scope, want layerRecord, open func() (io.ReadCloser, error)) (layerRecord, error) {
	rec, err := s.unpackInto(ctx, sc, want, open, s.temp(), s.temp())
	if err != nil {
		return rec, fmt.Errorf("unpacking layer %s: %w", want.DiffID, err)
	}
	return rec, nil
}

func (s *store) unpackInto(ctx context.Context, sc *builder.Scope, want layerRecord, open func() (io.ReadCloser, error), dir, blob string) (layerRecord, error) {
	src, err := open()
	if err != nil {
		return want, err
	}
	defer src.Close()
	if err := os.Mkdir(dir, 0o755); err != nil {
		return want, err
	}
	defer s.host.Remove(context.WithoutCancel(ctx), dir)
	file, err := os.OpenFile(blob, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return want, err
	}
	defer os.Remove(blob)
	defer file.Close()
	report := newMeter(sc, "layer "+want.DiffID, "unpacking", want.BlobSize)
	defer report.end()
	in := &digester{r: src, hash: sha256.New(), also: file, meter: report}
	diff, size, err := s.apply(ctx, dir, in)
	if err != nil {
		return want, err
	}
	if got := "sha256:" + hex.EncodeToString(in.hash.Sum(nil)); got != want.Blob {
		return want, fmt.Errorf("content has digest %s instead of %s", got, want.Blob)
	}
	if diff != want.DiffID {
		return want, fmt.Errorf("uncompressed content has digest %s instead of %s", diff, want.DiffID)
	}
	if err := file.Close(); err != nil {
		return want, err
	}
	want.Size, want.BlobSize = size, in.n
	return want, s.adopt(ctx, &want, dir, blob)
}

// adopt gives what was made in tmp its place. The record comes last.
func (s *store) adopt(ctx context.Context, rec *layerRecord, dir, blob string) error {
	return s.use(func() ([]string, error) {
		if err := os.Rename(blob, s.blob(rec.Blob)); err != nil {
			return nil, err
		}
		if dir != "" {
			rec.Dir, rec.Boot = newID(), s.boot
			if err := s.host.Rename(ctx, dir, s.path("layers", rec.Dir)); err != nil {
				return nil, err
			}
		}
		return []string{rec.Blob, rec.Dir}, write(s, kindLayer, rec.DiffID, *rec)
	})
}

// apply unpacks the compressed tar that in gives and reads in to its end. It
// returns the digest and size of the tar.
func (s *store) apply(ctx context.Context, dir string, in io.Reader) (diff string, size int64, err error) {
	plain, err := decompress(in)
	if err != nil {
		return "", 0, err
	}
	defer plain.Close()
	out := &digester{r: plain, hash: sha256.New()}
	err = s.host.Apply(ctx, dir, rootfs.Options{Layer: true}, tarFeed(out))
	for _, rest := range []io.Reader{out, in} { // padding after the end is part of what is hashed
		if err == nil {
			_, err = io.Copy(io.Discard, rest)
		}
	}
	return "sha256:" + hex.EncodeToString(out.hash.Sum(nil)), out.n, err
}

// gzipMagic begins every gzip file (RFC 1952).
const gzipMagic = "\x1f\x8b"

// decompress finds out how content is compressed by its first bytes.
func decompress(r io.Reader) (io.ReadCloser, error) {
	br := bufio.NewReaderSize(r, 64<<10)
	magic, err := br.Peek(4)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	switch {
	case strings.HasPrefix(string(magic), gzipMagic):
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

// tarFeed brings the entries of a tar.
func tarFeed(r io.Reader) rootfs.Feed {
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
		if name, ok := strings.CutPrefix(key, xattrPrefix); ok {
			if e.Xattrs == nil {
				e.Xattrs = map[string]string{}
			}
			e.Xattrs[name] = value
		}
	}
	return e, nil
}

// xattrPrefix is where tars of images keep extended attributes.
const xattrPrefix = "SCHILY.xattr."

// streamLayers takes the layers of an image whose engine gives them
// uncompressed and all at once, as Docker does.
func (e *Engine) streamLayers(ctx context.Context, s *store, sc *builder.Scope, img builder.LayerStreamer, diffs []v1.Hash) ([]layerRecord, error) {
	recs := map[string]layerRecord{}
	for _, d := range diffs {
		if rec, err := s.useLayer(d.String()); err == nil {
			recs[rec.DiffID] = rec
		}
	}
	want := func(d v1.Hash) bool { _, have := recs[d.String()]; return !have }
	err := img.StreamLayers(ctx, want, func(d v1.Hash, r io.Reader) error {
		rec, err := s.compressAndUnpack(ctx, sc, d.String(), r)
		recs[d.String()] = rec
		return err
	})
	if err != nil {
		return nil, err
	}
	all := make([]layerRecord, len(diffs))
	for i, d := range diffs {
		var ok bool
		if all[i], ok = recs[d.String()]; !ok {
			return nil, fmt.Errorf("the base image has no layer %s", d)
		}
	}
	return all, nil
}

// compressAndUnpack makes the blob of a tar while it is unpacked.
func (s *store) compressAndUnpack(ctx context.Context, sc *builder.Scope, diffID string, r io.Reader) (layerRecord, error) {
	blob, dir := s.temp(), s.temp()
	if err := os.Mkdir(dir, 0o755); err != nil {
		return layerRecord{}, err
	}
	defer s.host.Remove(context.WithoutCancel(ctx), dir)
	report := newMeter(sc, "layer "+diffID, "unpacking", 0)
	defer report.end()
	w, err := s.newBlobWriter(blob)
	if err != nil {
		return layerRecord{}, err
	}
	defer w.abort()
	in := &digester{r: r, hash: sha256.New(), also: w, meter: report}
	_, _, err = s.apply(ctx, dir, in)
	if err != nil {
		return layerRecord{}, fmt.Errorf("unpacking layer %s: %w", diffID, err)
	}
	if got := "sha256:" + hex.EncodeToString(in.hash.Sum(nil)); got != diffID {
		return layerRecord{}, fmt.Errorf("unpacking layer %s: content has digest %s", diffID, got)
	}
	rec := layerRecord{DiffID: diffID, Size: in.n}
	if err := w.finish(&rec); err != nil {
		return rec, err
	}
	return rec, s.adopt(ctx, &rec, dir, blob)
}

// A digester reads through a hash, and a copy if also is set.
type digester struct {
	r     io.Reader
	hash  hash.Hash
	also  io.Writer
	meter *meter
	n     int64
}

func (d *digester) Read(p []byte) (int, error) {
	n, err := d.r.Read(p)
	if n > 0 {
		d.n += int64(n)
		d.hash.Write(p[:n])
		d.meter.add(n)
		if d.also != nil {
			if _, werr := d.also.Write(p[:n]); werr != nil {
				return n, werr
			}
		}
	}
	return n, err
}
