package filetree

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash"
	"io"
	"os"
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
	contents, err := s.contents(ctx, entries)
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

// A content is what a regular file holds.
type content struct {
	known
	// keep says that the identity stands for the content.
	keep bool
	// fresh says that it was read.
	fresh bool
}

// contents returns the digest of every regular file, and remembers them.
func (s *Selection) contents(ctx context.Context, entries []Entry) ([][sha256.Size]byte, error) {
	all := make([]content, len(entries))
	old := map[string]known{}
	key := ""
	if s.opts.Sums != nil {
		key = s.key()
		old = s.opts.Sums.recall(key)
	}
	var unknown []int
	for i, e := range entries {
		if !e.Mode.IsRegular() {
			continue
		}
		if k, ok := old[e.name]; ok && e.identified && k.id == e.identity {
			all[i] = content{known: k, keep: true}
			continue
		}
		unknown = append(unknown, i)
	}
	if err := s.hash(ctx, entries, all, unknown); err != nil {
		return nil, err
	}
	sums := make([][sha256.Size]byte, len(entries))
	keep, changed := map[string]known{}, false
	for i, c := range all {
		sums[i] = c.sum
		if c.keep {
			keep[entries[i].name] = c.known
			changed = changed || c.fresh
		}
	}
	if changed || len(keep) != len(old) {
		s.opts.Sums.keep(key, keep)
	} else if len(keep) > 0 {
		s.opts.Sums.used(key)
	}
	return sums, nil
}

// hash reads the files of some entries, several at a time.
func (s *Selection) hash(ctx context.Context, entries []Entry, all []content, which []int) error {
	g, ctx := errgroup.WithContext(ctx)
	work := make(chan int)
	for range min(runtime.GOMAXPROCS(0), len(which)) {
		g.Go(func() error {
			h, buf := sha256.New(), make([]byte, 128<<10)
			for i := range work {
				var err error
				if all[i], err = s.hashContent(h, buf, entries[i]); err != nil {
					return err
				}
			}
			return nil
		})
	}
	g.Go(func() error {
		defer close(work)
		for _, i := range which {
			select {
			case work <- i:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	})
	return g.Wait()
}

func (s *Selection) hashContent(h hash.Hash, buf []byte, e Entry) (c content, err error) {
	f, err := e.Open()
	if err != nil {
		return c, err
	}
	defer f.Close()
	sums, before := s.opts.Sums, identity{}
	if sums != nil {
		before, c.keep = statOpen(f)
		c.keep = c.keep && before.settled(sums.now())
	}
	h.Reset()
	// Hides File.WriteTo, which would bring its own buffer for each file.
	n, err := io.CopyBuffer(h, struct{ io.Reader }{f}, buf)
	if err != nil {
		return c, err
	}
	h.Sum(c.sum[:0])
	if sums != nil {
		sums.read.Add(n)
		after, ok := statOpen(f)
		c.id, c.fresh = before, true
		c.keep = c.keep && ok && after == before
	}
	return c, nil
}

// statOpen is the identity of an open file.
func statOpen(f *os.File) (identity, bool) {
	info, err := f.Stat()
	if err != nil {
		return identity{}, false
	}
	return identityOf(info)
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
