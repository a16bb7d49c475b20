package registrytest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"bake/internal/need"
)

// Layer returns a tar of one file with size bytes of which half compress, the
// same for the same seed.
func Layer(t testing.TB, seed uint64, size int) []byte {
	t.Helper()
	data := make([]byte, size)
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	for i := 0; i < size; i += 8192 {
		_, _ = r.Read(data[i:min(i+4096, size)]) // never fails
	}
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	header := &tar.Header{Name: fmt.Sprintf("file-%d", seed), Mode: 0o644, Size: int64(size), Format: tar.FormatPAX}
	if err := w.WriteHeader(header); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// Image returns an image for linux/amd64 with the tars as its layers, gzipped.
func Image(t testing.TB, layers ...[]byte) v1.Image {
	t.Helper()
	img := mutate.MediaType(empty.Image, types.OCIManifestSchema1)
	img = mutate.ConfigMediaType(img, types.OCIConfigJSON)
	for _, l := range layers {
		layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(l)), nil },
			tarball.WithMediaType(types.OCILayer), tarball.WithCompressionLevel(gzip.BestSpeed), tarball.WithCompressedCaching)
		if err != nil {
			t.Fatal(err)
		}
		if img, err = mutate.AppendLayers(img, layer); err != nil {
			t.Fatal(err)
		}
	}
	return ForPlatform(t, img, "linux", "amd64")
}

// Busybox returns an image with this machine's busybox and links to it of the
// applets, which are words apart by blanks. It skips the test where there is none.
func Busybox(t testing.TB, applets string) v1.Image {
	t.Helper()
	program, err := os.ReadFile(need.Tool(t, "busybox"))
	if err != nil {
		t.Fatal(err)
	}
	files := []*tar.Header{{Name: "bin/", Typeflag: tar.TypeDir, Mode: 0o755}, {Name: "bin/busybox", Mode: 0o755, Size: int64(len(program))}}
	for _, a := range strings.Fields(applets) {
		files = append(files, &tar.Header{Name: "bin/" + a, Typeflag: tar.TypeSymlink, Linkname: "busybox"})
	}
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, h := range files {
		err = errors.Join(err, w.WriteHeader(h))
		if h.Size > 0 {
			_, werr := w.Write(program)
			err = errors.Join(err, werr)
		}
	}
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return Image(t, buf.Bytes())
}

// Push puts an image with another config into a registry that asks for no password.
func Push(t testing.TB, ref string, img v1.Image, config v1.Config) {
	t.Helper()
	img, err := mutate.Config(img, config)
	if err != nil {
		t.Fatal(err)
	}
	at, err := name.ParseReference(ref)
	if err == nil {
		err = remote.Write(at, img)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// ForPlatform returns the image with another platform in its config.
func ForPlatform(t testing.TB, img v1.Image, os, arch string) v1.Image {
	t.Helper()
	file, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	file = file.DeepCopy()
	file.OS, file.Architecture = os, arch
	img, err = mutate.ConfigFile(img, file)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// Streamed is an image as the Docker engine has it: its layers exist only
// uncompressed and come in one go.
type Streamed struct {
	v1.Image
	tars []string

	mu      sync.Mutex
	streams int
	layers  int
}

// NewStreamed returns a streamed image with the tars as layers.
func NewStreamed(t testing.TB, layers ...[]byte) *Streamed {
	t.Helper()
	s := &Streamed{}
	config := v1.ConfigFile{OS: "linux", Architecture: "amd64", RootFS: v1.RootFS{Type: "layers"}}
	for _, l := range layers {
		s.tars = append(s.tars, string(l))
		sum := sha256.Sum256(l)
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum[:])})
	}
	img, err := partial.UncompressedToImage(&streamedCore{config: config})
	if err != nil {
		t.Fatal(err)
	}
	s.Image = img
	return s
}

// StreamLayers is builder.LayerStreamer.
func (s *Streamed) StreamLayers(ctx context.Context, want func(v1.Hash) bool, fn func(v1.Hash, io.Reader) error) error {
	file, err := s.ConfigFile()
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.streams++
	s.mu.Unlock()
	for i, h := range file.RootFS.DiffIDs {
		if !want(h) {
			continue
		}
		s.mu.Lock()
		s.layers++
		s.mu.Unlock()
		if err := fn(h, bytes.NewReader([]byte(s.tars[i]))); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// Streams returns how often the layers were asked for, and how many were read.
func (s *Streamed) Streams() (asked, read int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.streams, s.layers
}

type streamedCore struct{ config v1.ConfigFile }

func (c *streamedCore) RawConfigFile() ([]byte, error)      { return partial.RawConfigFile(c) }
func (c *streamedCore) ConfigFile() (*v1.ConfigFile, error) { return &c.config, nil }
func (c *streamedCore) MediaType() (types.MediaType, error) { return types.DockerManifestSchema2, nil }
func (c *streamedCore) LayerByDiffID(h v1.Hash) (partial.UncompressedLayer, error) {
	return nil, fmt.Errorf("layer %s is only in the stream", h)
}
