package docker

import (
	"bufio"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// errNotReadable says that the engine's files are not to be had: it runs
// elsewhere, keeps them in another way, or we may not.
var errNotReadable = errors.New("the engine's files cannot be read")

// A localStore reads layers from the data root of an engine on this machine.
// The overlay2 driver keeps a layer's files in a directory, and beside it what
// else was in its tar (tar-split), so that the same bytes can be put together
// again. `docker save` does that too, but first writes all of it to the disk.
type localStore struct{ layers []storedLayer }

type storedLayer struct {
	diffID v1.Hash
	split  string // path of the tar-split file
	files  string // directory
}

func (e *Engine) localStore(diffIDs []v1.Hash) (*localStore, error) {
	root, driver, err := e.dataRoot()
	if err != nil || driver != "overlay2" {
		return nil, errNotReadable
	}
	var s localStore
	chain := ""
	for _, id := range diffIDs {
		chain = nextChain(chain, id)
		dir := filepath.Join(root, "image", driver, "layerdb", "sha256", strings.TrimPrefix(chain, "sha256:"))
		known, err := os.ReadFile(filepath.Join(dir, "diff"))
		cache, cacheErr := os.ReadFile(filepath.Join(dir, "cache-id"))
		if err != nil || cacheErr != nil || strings.TrimSpace(string(known)) != id.String() {
			return nil, errNotReadable
		}
		l := storedLayer{diffID: id, split: filepath.Join(dir, "tar-split.json.gz"), files: filepath.Join(root, driver, strings.TrimSpace(string(cache)), "diff")}
		for _, path := range []string{l.split, l.files} {
			f, err := os.Open(path)
			if err != nil {
				return nil, errNotReadable
			}
			f.Close()
		}
		s.layers = append(s.layers, l)
	}
	return &s, nil
}

// nextChain returns the chain id of a layer on top of the chain parent.
// https://github.com/opencontainers/image-spec/blob/main/config.md#layer-chainid
func nextChain(parent string, id v1.Hash) string {
	if parent == "" {
		return id.String()
	}
	return digestOf([]byte(parent + " " + id.String()))
}

func (s *localStore) stream(ctx context.Context, wanted map[v1.Hash]bool, fn func(v1.Hash, io.Reader) error) error {
	for _, l := range s.layers {
		if !wanted[l.diffID] {
			continue
		}
		delete(wanted, l.diffID) // the same layer may be there twice
		if err := l.stream(ctx, fn); err != nil {
			return err
		}
	}
	return nil
}

func (l storedLayer) stream(ctx context.Context, fn func(v1.Hash, io.Reader) error) error {
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() {
		out := bufio.NewWriterSize(w, 1<<20)
		err := l.assemble(ctx, out)
		if err == nil {
			err = out.Flush()
		}
		w.CloseWithError(err)
		done <- err
	}()
	err := fn(l.diffID, newVerified(r, l.diffID))
	r.CloseWithError(errStopped)
	if werr := <-done; werr != nil && !errors.Is(werr, errStopped) {
		return fmt.Errorf("reading layer %s: %w", l.diffID, werr)
	}
	return err
}

var errStopped = errors.New("nobody reads on")

// splitEntry is one line of a tar-split file: bytes of the tar as they are, or
// the name of a file whose content stands there.
// https://github.com/vbatts/tar-split/blob/main/tar/storage/entry.go
type splitEntry struct {
	Type    int    `json:"type"` // 1: file, 2: bytes
	Name    string `json:"name"`
	NameRaw []byte `json:"name_raw"`
	Size    int64  `json:"size"`
	Payload []byte `json:"payload"`
}

func (l storedLayer) assemble(ctx context.Context, w io.Writer) error {
	f, err := os.Open(l.split)
	if err != nil {
		return err
	}
	defer f.Close()
	zr, err := gzip.NewReader(f)
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(l.files)
	if err != nil {
		return err
	}
	defer root.Close()
	for entries := json.NewDecoder(zr); ; {
		var entry splitEntry
		err := entries.Decode(&entry)
		if err == io.EOF {
			return nil
		}
		if err == nil {
			err = ctx.Err()
		}
		if err == nil {
			err = entry.write(root, w)
		}
		if err != nil {
			return err
		}
	}
}

func (s splitEntry) write(root *os.Root, w io.Writer) error {
	if s.Type == 2 {
		_, err := w.Write(s.Payload)
		return err
	}
	if s.Size == 0 {
		return nil
	}
	name := s.Name
	if len(s.NameRaw) > 0 {
		name = string(s.NameRaw)
	}
	f, err := root.Open(strings.TrimPrefix(filepath.Clean("/"+name), "/"))
	if err != nil {
		return err
	}
	defer f.Close()
	n, err := io.Copy(w, f)
	if err == nil && n != s.Size {
		return fmt.Errorf("%s: %d bytes instead of %d", name, n, s.Size)
	}
	return err
}

// verified gives an error instead of the end if what was read is not what it
// should have been.
type verified struct {
	r    io.Reader
	want v1.Hash
	sum  hash.Hash
}

func newVerified(r io.Reader, want v1.Hash) *verified {
	return &verified{r: r, want: want, sum: sha256.New()}
}

func (v *verified) Read(p []byte) (int, error) {
	n, err := v.r.Read(p)
	v.sum.Write(p[:n])
	if err == io.EOF && hex.EncodeToString(v.sum.Sum(nil)) != v.want.Hex {
		return n, fmt.Errorf("layer %s: the engine holds other bytes under this name", v.want)
	}
	return n, err
}
