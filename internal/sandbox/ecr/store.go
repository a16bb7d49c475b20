package ecr

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"

	"bake/internal/lazyregexp"
)

// A store keeps blobs by their digest, for all registries; which of them a
// repository has is in its state.
type store struct{ dir string }

func openStore(dir string) (*store, error) {
	s := &store{dir}
	for _, d := range []string{s.path(""), s.uploads()} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// close removes what uploads left; they do not survive a restart.
func (s *store) close() error {
	if err := os.RemoveAll(s.uploads()); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

func (s *store) uploads() string { return filepath.Join(s.dir, "uploads") }

var digestForm = lazyregexp.New(`^sha256:[0-9a-f]{64}$`)

func (s *store) path(digest string) string {
	return filepath.Join(s.dir, "sha256", strings.TrimPrefix(digest, "sha256:"))
}

// put keeps bytes and returns their digest.
func (s *store) put(data []byte) (string, error) {
	sum := sha256.Sum256(data)
	digest := "sha256:" + hex.EncodeToString(sum[:])
	f, err := os.CreateTemp(s.uploads(), "put-")
	if err != nil {
		return "", err
	}
	if _, err := f.Write(data); err != nil {
		return "", errors.Join(err, f.Close(), os.Remove(f.Name()))
	}
	return digest, errors.Join(f.Close(), os.Rename(f.Name(), s.path(digest)))
}

// adopt takes a finished file whose digest is known.
func (s *store) adopt(file, digest string) error { return os.Rename(file, s.path(digest)) }

func (s *store) read(digest string) ([]byte, error) { return os.ReadFile(s.path(digest)) }

func (s *store) open(digest string) (*os.File, error) { return os.Open(s.path(digest)) }

// keep copies a stream of a known digest.
func (s *store) keep(digest string, from io.Reader) (int64, error) {
	f, err := os.CreateTemp(s.uploads(), "keep-")
	if err != nil {
		return 0, err
	}
	h := sha256.New()
	n, err := io.Copy(io.MultiWriter(f, h), from)
	if err == nil && "sha256:"+hex.EncodeToString(h.Sum(nil)) != digest {
		err = errors.New("the content does not have the digest " + digest)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return 0, errors.Join(err, os.Remove(f.Name()))
	}
	return n, s.adopt(f.Name(), digest)
}
