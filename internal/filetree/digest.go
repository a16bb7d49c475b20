package filetree

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash"
	"io"
	"runtime"

	"golang.org/x/sync/errgroup"
)

// Digest returns "sha256:" and the hash of all that Walk yields for all
// sources: names, modes, links and contents, neither times nor owners. Files
// are read several at a time.
func (s *Selection) Digest(ctx context.Context) (string, error) {
	var entries []Entry
	sum := sha256.New()
	for _, src := range s.Sources {
		begin := len(entries)
		for e, err := range s.Walk(src) {
			if err != nil {
				return "", err
			}
			if err := ctx.Err(); err != nil {
				return "", err
			}
			entries = append(entries, e)
		}
		writeField(sum, src.Rel)
		writeNumber(sum, uint64(len(entries)-begin))
	}
	contents, err := hashContents(ctx, entries)
	if err != nil {
		return "", err
	}
	for i, e := range entries {
		writeField(sum, e.Path)
		writeNumber(sum, uint64(e.Mode))
		writeField(sum, e.Link)
		sum.Write(contents[i][:])
	}
	return "sha256:" + hex.EncodeToString(sum.Sum(nil)), nil
}

// Digest is what Selection.Digest says of the files that from names in dir.
func Digest(ctx context.Context, dir, from string, opts Options) (string, error) {
	s, err := Open(dir, from, opts)
	if err != nil {
		return "", err
	}
	defer s.Close()
	return s.Digest(ctx)
}

func hashContents(ctx context.Context, entries []Entry) ([][sha256.Size]byte, error) {
	sums := make([][sha256.Size]byte, len(entries))
	g, ctx := errgroup.WithContext(ctx)
	work := make(chan int)
	for range min(runtime.GOMAXPROCS(0), len(entries)) {
		g.Go(func() error {
			h, buf := sha256.New(), make([]byte, 128<<10)
			for i := range work {
				if err := hashContent(h, buf, entries[i]); err != nil {
					return err
				}
				h.Sum(sums[i][:0])
			}
			return nil
		})
	}
	g.Go(func() error {
		defer close(work)
		for i, e := range entries {
			if !e.Mode.IsRegular() {
				continue
			}
			select {
			case work <- i:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	})
	return sums, g.Wait()
}

func hashContent(h hash.Hash, buf []byte, e Entry) error {
	f, err := e.Open()
	if err != nil {
		return err
	}
	defer f.Close()
	h.Reset()
	// Hides File.WriteTo, which would bring its own buffer for each file.
	_, err = io.CopyBuffer(h, struct{ io.Reader }{f}, buf)
	return err
}

func writeField(h hash.Hash, s string) {
	writeNumber(h, uint64(len(s)))
	io.WriteString(h, s)
}

func writeNumber(h hash.Hash, n uint64) {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], n)
	h.Write(b[:])
}
