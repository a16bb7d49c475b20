package registry_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"bake/internal/registry"
	"bake/internal/registrytest"
)

// diskImage is an image of layers on disk: plain, as the Docker engine streams
// them, or compressed, as bake's own store has them.
type diskImage struct {
	v1.Image
	dir     string
	diffIDs []v1.Hash
}

func (d *diskImage) StreamLayers(_ context.Context, want func(v1.Hash) bool, fn func(v1.Hash, io.Reader) error) error {
	for i, h := range d.diffIDs {
		if !want(h) {
			continue
		}
		f, err := os.Open(filepath.Join(d.dir, fmt.Sprintf("%d.tar", i)))
		if err != nil {
			return err
		}
		err = fn(h, f)
		f.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

type diskLayer struct {
	path   string
	desc   v1.Descriptor
	diffID v1.Hash
}

func (l *diskLayer) Digest() (v1.Hash, error)             { return l.desc.Digest, nil }
func (l *diskLayer) DiffID() (v1.Hash, error)             { return l.diffID, nil }
func (l *diskLayer) Size() (int64, error)                 { return l.desc.Size, nil }
func (l *diskLayer) MediaType() (types.MediaType, error)  { return l.desc.MediaType, nil }
func (l *diskLayer) Compressed() (io.ReadCloser, error)   { return os.Open(l.path) }
func (l *diskLayer) Uncompressed() (io.ReadCloser, error) { return nil, os.ErrNotExist }

// packedImage is the image with its layers compressed.
type packedImage struct {
	v1.Image
	config, manifest []byte
	layers           []v1.Layer
}

func (p *packedImage) RawConfigFile() ([]byte, error) { return p.config, nil }
func (p *packedImage) RawManifest() ([]byte, error)   { return p.manifest, nil }
func (p *packedImage) Layers() ([]v1.Layer, error)    { return p.layers, nil }

// plainImage keeps the config that partial would need layers for.
type plainImage struct {
	diskImage
	config []byte
}

func (p *plainImage) RawConfigFile() ([]byte, error) { return p.config, nil }

// bigImages makes an image of five layers with size bytes in all, half of
// which compress, in both forms.
func bigImages(b *testing.B, size int) (plain, packed v1.Image) {
	b.Helper()
	dir := b.TempDir()
	const layers = 5
	file := v1.ConfigFile{OS: "linux", Architecture: "amd64", RootFS: v1.RootFS{Type: "layers"}}
	manifest := v1.Manifest{SchemaVersion: 2, MediaType: types.OCIManifestSchema1}
	var list []v1.Layer
	for i := range layers {
		l := writeLayer(b, dir, i, size/layers)
		file.RootFS.DiffIDs = append(file.RootFS.DiffIDs, l.diffID)
		manifest.Layers = append(manifest.Layers, l.desc)
		list = append(list, l)
	}
	config, err := json.Marshal(file)
	if err != nil {
		b.Fatal(err)
	}
	h, n, err := v1.SHA256(bytes.NewReader(config))
	if err != nil {
		b.Fatal(err)
	}
	manifest.Config = v1.Descriptor{MediaType: types.OCIConfigJSON, Digest: h, Size: n}
	raw, err := json.Marshal(manifest)
	if err != nil {
		b.Fatal(err)
	}
	return &plainImage{diskImage{dir: dir, diffIDs: file.RootFS.DiffIDs}, config}, &packedImage{config: config, manifest: raw, layers: list}
}

func writeLayer(b *testing.B, dir string, i, size int) *diskLayer {
	b.Helper()
	l := &diskLayer{path: filepath.Join(dir, fmt.Sprintf("%d.tar.gz", i)), desc: v1.Descriptor{MediaType: types.OCILayer}}
	plain, err := os.Create(filepath.Join(dir, fmt.Sprintf("%d.tar", i)))
	if err != nil {
		b.Fatal(err)
	}
	defer plain.Close()
	gz, err := os.Create(l.path)
	if err != nil {
		b.Fatal(err)
	}
	defer gz.Close()
	plainSum, gzSum := sha256.New(), sha256.New()
	z, err := registry.Gzip.Writer(io.MultiWriter(gz, gzSum))
	if err != nil {
		b.Fatal(err)
	}
	w := io.MultiWriter(plain, plainSum, z)
	r := rand.NewChaCha8([32]byte{byte(i)})
	block := make([]byte, 8192)
	for range size / len(block) {
		_, _ = r.Read(block[:4096]) // never fails
		if _, err := w.Write(block); err != nil {
			b.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		b.Fatal(err)
	}
	info, err := gz.Stat()
	if err != nil {
		b.Fatal(err)
	}
	l.diffID = v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(plainSum.Sum(nil))}
	l.desc.Digest, l.desc.Size = v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(gzSum.Sum(nil))}, info.Size()
	return l
}

// forgetMemory gives back what the preparation took, and begins to count anew
// (proc(5), clear_refs).
func forgetMemory(b *testing.B) {
	b.Helper()
	debug.FreeOSMemory()
	if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0); err != nil {
		b.Fatal(err)
	}
}

// peakMemory is the most memory this process has had since, in MiB.
func peakMemory(b *testing.B) float64 {
	b.Helper()
	data, err := os.ReadFile("/proc/self/status")
	if err != nil {
		b.Fatal(err)
	}
	var kib float64
	_, line, _ := strings.Cut(string(data), "VmHWM:")
	if _, err := fmt.Sscan(line, &kib); err != nil {
		b.Fatal(err)
	}
	return kib / 1024
}

// BenchmarkPush pushes 1 GiB in five layers to docker-registry on loopback:
// from compressed blobs, from plain layers that come as a stream, and each
// again with nothing changed.
func BenchmarkPush(b *testing.B) {
	plain, packed := bigImages(b, 1<<30)
	for _, bb := range []struct {
		name string
		img  v1.Image
	}{{"compressed", packed}, {"streamed", plain}} {
		b.Run(bb.name+"/first", func(b *testing.B) {
			for range b.N {
				b.StopTimer()
				host := registrytest.Docker(b)
				c := registry.New(registry.Config{Keychain: authn.NewMultiKeychain(), CacheDir: b.TempDir()})
				forgetMemory(b)
				b.StartTimer()
				if _, err := c.Push(b.Context(), registry.Push{To: parse(b, host+"/x:1")}, registry.Variant{Image: bb.img}); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(peakMemory(b), "peak-MiB")
		})
		b.Run(bb.name+"/again", func(b *testing.B) {
			host, cache := registrytest.Docker(b), b.TempDir()
			push := func() registry.Pushed {
				c := registry.New(registry.Config{Keychain: authn.NewMultiKeychain(), CacheDir: cache}) // as a new process
				got, err := c.Push(b.Context(), registry.Push{To: parse(b, host+"/x:1")}, registry.Variant{Image: bb.img})
				if err != nil {
					b.Fatal(err)
				}
				return got
			}
			push()
			for b.Loop() {
				if !push().Unchanged {
					b.Fatal("pushed again")
				}
			}
		})
	}
}
