package oci

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"os"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"bake/builder"
	"bake/internal/rootfs"
	"bake/internal/rootfs/untar"
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
	plain, err := untar.Decompress(in)
	if err != nil {
		return "", 0, err
	}
	defer plain.Close()
	out := &digester{r: plain, hash: sha256.New()}
	err = s.host.Apply(ctx, dir, rootfs.Options{Layer: true}, untar.Feed(out))
	for _, rest := range []io.Reader{out, in} { // padding after the end is part of what is hashed
		if err == nil {
			_, err = io.Copy(io.Discard, rest)
		}
	}
	return "sha256:" + hex.EncodeToString(out.hash.Sum(nil)), out.n, err
}

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
