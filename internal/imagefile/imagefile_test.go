package imagefile_test

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"bake/builder"
	"bake/internal/imagefile"
	"bake/internal/need"
	"bake/internal/registry"
	"bake/internal/registrytest"
)

func amd64() builder.Platform { return builder.Platform{OS: "linux", Arch: "amd64"} }

// images returns the same content as an image with compressed layers and as
// one whose layers are streamed.
func images(t testing.TB) map[string]v1.Image {
	a, b := registrytest.Layer(t, 1, 300_000), registrytest.Layer(t, 2, 10)
	return map[string]v1.Image{"compressed": registrytest.Image(t, a, b), "streamed": registrytest.NewStreamed(t, a, b)}
}

func check(t testing.TB, path, tag string, want v1.Image) {
	t.Helper()
	found, err := imagefile.Open(t.Context(), imagefile.Source{Path: path, Tag: tag, Platform: amd64()})
	if err != nil {
		t.Fatal(err)
	}
	wantID, err := want.ConfigName()
	if err != nil || found.ID != wantID.String() {
		t.Fatalf("found image %s, want %s (%v)", found.ID, wantID, err)
	}
	layers, err := found.Image.Layers()
	if err != nil || len(layers) != len(found.Config.RootFS.DiffIDs) {
		t.Fatalf("%d layers, %v", len(layers), err)
	}
	for i, l := range layers {
		r, err := l.Uncompressed()
		if err != nil {
			t.Fatal(err)
		}
		sum, _, err := v1.SHA256(r)
		if err != nil || sum != found.Config.RootFS.DiffIDs[i] {
			t.Fatalf("layer %d is %s (%v), want %s", i, sum, err, found.Config.RootFS.DiffIDs[i])
		}
	}
}

func TestWhatIsWrittenIsReadAgainAndLeftAlone(t *testing.T) {
	for _, format := range []imagefile.Format{imagefile.OCI, imagefile.OCIDir, imagefile.Docker} {
		for _, compression := range []registry.Compression{"", registry.None, registry.Gzip, registry.Zstd} {
			for kind, img := range images(t) {
				t.Run(fmt.Sprintf("%s %s %s", format, compression, kind), func(t *testing.T) {
					f := imagefile.File{Path: filepath.Join(t.TempDir(), "image"), Format: format, Compression: compression, Tags: []string{"web:1.2"}}
					first, err := imagefile.Write(t.Context(), f, registry.Variant{Image: img, Platform: amd64(), Annotations: map[string]string{"a": "b"}})
					if err != nil || first.Unchanged {
						t.Fatal(first, err)
					}
					tag := "1.2"
					check(t, f.Path, tag, img)
					again, err := imagefile.Write(t.Context(), f, registry.Variant{Image: img, Platform: amd64(), Annotations: map[string]string{"a": "b"}})
					if err != nil || again.Digest != first.Digest {
						t.Fatalf("%+v, %v", again, err)
					}
					if packed := format == imagefile.Docker && compression != "" && compression != registry.None; again.Unchanged == packed {
						t.Errorf("second time: %+v", again)
					}
					other := registrytest.Image(t, registrytest.Layer(t, 9, 5))
					third, err := imagefile.Write(t.Context(), f, registry.Variant{Image: other, Platform: amd64()})
					if err != nil || third.Unchanged || third.Digest == first.Digest {
						t.Errorf("another image: %+v, %v", third, err)
					}
					check(t, f.Path, tag, other)
				})
			}
		}
	}
}

func TestTheSameImageGivesTheSameBytes(t *testing.T) {
	for _, format := range []imagefile.Format{imagefile.OCI, imagefile.Docker, imagefile.Rootfs} {
		var sums []string
		for range 2 {
			path := filepath.Join(t.TempDir(), "x")
			if _, err := imagefile.Write(t.Context(), imagefile.File{Path: path, Format: format, Compression: registry.Gzip}, registry.Variant{Image: images(t)["streamed"]}); err != nil {
				t.Fatal(err)
			}
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			sum := sha256.Sum256(data)
			sums = append(sums, hex.EncodeToString(sum[:]))
		}
		if sums[0] != sums[1] {
			t.Errorf("%s differs", format)
		}
	}
}

func TestOtherToolsReadWhatIsWritten(t *testing.T) {
	skopeo, umoci := need.Tool(t, "skopeo"), need.Tool(t, "umoci")
	for kind, img := range images(t) {
		dir := t.TempDir()
		write := func(name string, format imagefile.Format) string {
			path := filepath.Join(dir, name)
			if _, err := imagefile.Write(t.Context(), imagefile.File{Path: path, Format: format, Tags: []string{"example.com/web:1.2"}}, registry.Variant{Image: img, Platform: amd64()}); err != nil {
				t.Fatal(err)
			}
			return path
		}
		layout := write("layout", imagefile.OCIDir)
		for _, args := range [][]string{
			{skopeo, "copy", "oci-archive:" + write("oci.tar", imagefile.OCI), "dir:" + filepath.Join(dir, "a")},
			{skopeo, "copy", "docker-archive:" + filepath.Join(dir, "oci.tar"), "dir:" + filepath.Join(dir, "d")}, // as an old docker reads it
			{skopeo, "copy", "docker-archive:" + write("docker.tar", imagefile.Docker) + ":example.com/web:1.2", "dir:" + filepath.Join(dir, "b")},
			{skopeo, "copy", "oci:" + layout + ":1.2", "dir:" + filepath.Join(dir, "c")},
			{umoci, "unpack", "--rootless", "--image", layout + ":1.2", filepath.Join(dir, "bundle")},
		} {
			if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
				t.Errorf("%s: %s: %v\n%s", kind, strings.Join(args, " "), err, out)
			}
		}
	}
}

func TestWhatOtherToolsWriteIsRead(t *testing.T) {
	skopeo := need.Tool(t, "skopeo")
	img := images(t)["compressed"]
	dir := t.TempDir()
	layout := filepath.Join(dir, "layout")
	if _, err := imagefile.Write(t.Context(), imagefile.File{Path: layout, Format: imagefile.OCIDir}, registry.Variant{Image: img}); err != nil {
		t.Fatal(err)
	}
	for _, to := range []string{"oci-archive:" + dir + "/o.tar:x", "docker-archive:" + dir + "/d.tar:web:1", "oci:" + dir + "/l:x"} {
		if out, err := exec.Command(skopeo, "copy", "oci:"+layout, to).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", to, err, out)
		}
		path := strings.Split(to, ":")[1]
		found, err := imagefile.Open(t.Context(), imagefile.Source{Path: path, Platform: amd64()})
		if err != nil {
			t.Fatal(err)
		}
		check(t, path, "", found.Image)
	}
	for _, z := range []string{"gzip", "xz", "zstd"} {
		packed := filepath.Join(dir, "packed."+z)
		out, err := exec.Command("sh", "-c", need.Tool(t, z)+" -c < "+dir+"/d.tar > "+packed).CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		check(t, packed, "web:1", img)
	}
}

func TestALayoutKeepsItsOtherTags(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "layout")
	one, two := images(t)["compressed"], registrytest.Image(t, registrytest.Layer(t, 7, 70))
	for tag, img := range map[string]v1.Image{"one": one, "two": two} {
		if _, err := imagefile.Write(t.Context(), imagefile.File{Path: dir, Format: imagefile.OCIDir, Tags: []string{tag}}, registry.Variant{Image: img}); err != nil {
			t.Fatal(err)
		}
	}
	check(t, dir, "one", one)
	check(t, dir, "two", two)
	var several *imagefile.TagError
	if _, err := imagefile.Open(t.Context(), imagefile.Source{Path: dir, Platform: amd64()}); !errors.As(err, &several) {
		t.Errorf("without a tag: %v", err)
	}
	if _, err := imagefile.Open(t.Context(), imagefile.Source{Path: dir, Tag: "three", Platform: amd64()}); !errors.As(err, &several) || len(several.Have) != 2 {
		t.Errorf("an unknown tag: %v", err)
	}
}

func TestSeveralPlatformsBecomeAnIndexInAFile(t *testing.T) {
	arm := registrytest.ForPlatform(t, registrytest.Image(t, registrytest.Layer(t, 3, 30)), "linux", "arm64")
	amd := registrytest.Image(t, registrytest.Layer(t, 4, 40))
	for _, format := range []imagefile.Format{imagefile.OCI, imagefile.OCIDir} {
		f := imagefile.File{Path: filepath.Join(t.TempDir(), "x"), Format: format}
		if _, err := imagefile.Write(t.Context(), f, registry.Variant{Image: amd}, registry.Variant{Image: arm}); err != nil {
			t.Fatal(err)
		}
		check(t, f.Path, "", amd)
		found, err := imagefile.Open(t.Context(), imagefile.Source{Path: f.Path, Platform: builder.Platform{OS: "linux", Arch: "arm64"}})
		if err != nil || found.Platform.Arch != "arm64" {
			t.Errorf("%+v, %v", found, err)
		}
		var missing *registry.PlatformError
		if _, err := imagefile.Open(t.Context(), imagefile.Source{Path: f.Path, Platform: builder.Platform{OS: "linux", Arch: "s390x"}}); !errors.As(err, &missing) || len(missing.Have) != 2 {
			t.Errorf("s390x: %v", err)
		}
		again, err := imagefile.Write(t.Context(), f, registry.Variant{Image: amd}, registry.Variant{Image: arm})
		if err != nil || !again.Unchanged {
			t.Errorf("again: %+v, %v", again, err)
		}
	}
	_, err := imagefile.Write(t.Context(), imagefile.File{Path: filepath.Join(t.TempDir(), "x"), Format: imagefile.Docker}, registry.Variant{Image: amd}, registry.Variant{Image: arm})
	if err == nil || !strings.Contains(err.Error(), "holds one image") {
		t.Errorf("docker: %v", err)
	}
}

func TestDamageIsFoundWhenItIsRead(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "layout")
	if _, err := imagefile.Write(t.Context(), imagefile.File{Path: dir, Format: imagefile.OCIDir}, registry.Variant{Image: images(t)["compressed"]}); err != nil {
		t.Fatal(err)
	}
	found, err := imagefile.Open(t.Context(), imagefile.Source{Path: dir, Platform: amd64()})
	if err != nil {
		t.Fatal(err)
	}
	layers, _ := found.Image.Layers()
	h, _ := layers[0].Digest()
	path := filepath.Join(dir, "blobs/sha256", h.Hex)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 1
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
	r, err := layers[0].Compressed()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := io.Copy(io.Discard, r); err == nil || !strings.Contains(err.Error(), "other content") {
		t.Errorf("got %v", err)
	}
}

func TestALinkInALayoutDoesNotLeadOut(t *testing.T) {
	dir := t.TempDir()
	secret := filepath.Join(t.TempDir(), "index.json")
	if err := os.WriteFile(secret, []byte(`{"schemaVersion":2,"manifests":[]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(secret, filepath.Join(dir, "index.json")); err != nil {
		t.Fatal(err)
	}
	if _, err := imagefile.Open(t.Context(), imagefile.Source{Path: dir, Platform: amd64()}); err == nil || !strings.Contains(err.Error(), "escapes") {
		t.Errorf("got %v", err)
	}
}

type file struct {
	name, content, link string
	kind                byte
	mode                int64
}

func layerOf(t testing.TB, files ...file) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, f := range files {
		h := &tar.Header{Name: f.name, Linkname: f.link, Typeflag: f.kind, Mode: f.mode, Size: int64(len(f.content))}
		if h.Typeflag == 0 {
			h.Typeflag = tar.TypeReg
		}
		if h.Mode == 0 {
			h.Mode = 0o644
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, f.content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func d(name string, mode int64) file { return file{name: name, kind: tar.TypeDir, mode: mode} }
func reg(name, content string) file  { return file{name: name, content: content} }
func hard(name, to string) file      { return file{name: name, link: to, kind: tar.TypeLink} }
func sym(name, to string) file       { return file{name: name, link: to, kind: tar.TypeSymlink} }

func TestARootFilesystemIsWhatTheLayersLeave(t *testing.T) {
	tests := []struct {
		name   string
		layers [][]file
		want   map[string]string // path -> content, "dir MODE", "-> link", "= hard link"
	}{
		{"one layer", [][]file{{d("etc/", 0o755), reg("etc/a", "1")}}, map[string]string{"etc/": "dir 755", "etc/a": "1"}},
		{"a file is replaced", [][]file{{reg("a", "1"), reg("b", "1")}, {reg("a", "2")}}, map[string]string{"a": "2", "b": "1"}},
		{"a whiteout removes a file", [][]file{{reg("a", "1"), reg("b", "1")}, {reg(".wh.a", "")}}, map[string]string{"b": "1"}},
		{"a whiteout removes a tree", [][]file{{d("x", 0o755), reg("x/a", "1"), d("x/y", 0o755), reg("x/y/b", "1")}, {reg(".wh.x", "")}}, map[string]string{}},
		{"what is removed may come again", [][]file{{d("x", 0o755), reg("x/a", "1")}, {reg(".wh.x", "")}, {d("x", 0o700), reg("x/b", "3")}}, map[string]string{"x/": "dir 700", "x/b": "3"}},
		{"an opaque directory hides what is below", [][]file{{d("x", 0o755), reg("x/a", "1")}, {d("x", 0o711), reg("x/.wh..wh..opq", ""), reg("x/b", "2")}}, map[string]string{"x/": "dir 711", "x/b": "2"}},
		{"a directory gets its upper mode", [][]file{{d("x", 0o755), reg("x/a", "1")}, {d("x", 0o700)}}, map[string]string{"x/": "dir 700", "x/a": "1"}},
		{"a file takes a directory's place", [][]file{{d("x", 0o755), reg("x/a", "1")}, {reg("x", "2")}}, map[string]string{"x": "2"}},
		{"a directory, a file, a directory", [][]file{{d("x", 0o755), reg("x/a", "1")}, {reg("x", "2")}, {d("x", 0o750)}}, map[string]string{"x/": "dir 750"}},
		{"a directory takes a file's place", [][]file{{reg("x", "1")}, {d("x", 0o755), reg("x/a", "2")}}, map[string]string{"x/": "dir 755", "x/a": "2"}},
		{"hard links stay", [][]file{{reg("a", "1"), hard("b", "a")}}, map[string]string{"a": "1", "b": "= a"}},
		{"a link outlives its hidden file", [][]file{{reg("a", "1"), hard("b", "a"), hard("c", "a")}, {reg("a", "2")}}, map[string]string{"a": "2", "b": "1", "c": "= b"}},
		{"a link outlives its removed file", [][]file{{reg("a", "1"), hard("b", "./a"), hard("c", "/b")}, {reg(".wh.a", "")}}, map[string]string{"b": "1", "c": "= b"}},
		{"a chain over a hidden link", [][]file{{reg("a", "1"), hard("b", "a"), hard("c", "b")}, {reg(".wh.b", "")}}, map[string]string{"a": "1", "c": "= a"}},
		{"all names hidden but the last", [][]file{{reg("a", "1"), hard("b", "a"), hard("c", "b")}, {reg(".wh.b", ""), reg(".wh.a", "")}}, map[string]string{"c": "1"}},
		{"symlinks are not followed", [][]file{{d("x", 0o755), sym("l", "x")}, {reg("l", "now a file")}}, map[string]string{"x/": "dir 755", "l": "now a file"}},
		{"names cannot leave the root", [][]file{{reg("../../etc/a", "1"), reg("/b", "2")}}, map[string]string{"etc/a": "1", "b": "2"}},
		{"a whiteout in the lowest layer means nothing", [][]file{{reg("a", "1"), reg(".wh.b", "")}}, map[string]string{"a": "1"}},
	}
	for _, tt := range tests {
		for _, streamed := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, streamed=%v", tt.name, streamed), func(t *testing.T) {
				var layers [][]byte
				for _, l := range tt.layers {
					layers = append(layers, layerOf(t, l...))
				}
				img := registrytest.Image(t, layers...)
				if streamed {
					img = registrytest.NewStreamed(t, layers...)
				}
				path := filepath.Join(t.TempDir(), "root.tar")
				f := imagefile.File{Path: path, Format: imagefile.Rootfs}
				if _, err := imagefile.Write(t.Context(), f, registry.Variant{Image: img}); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(tt.want, listing(t, path)); diff != "" {
					t.Errorf("-want +got:\n%s", diff)
				}
				again, err := imagefile.Write(t.Context(), f, registry.Variant{Image: img})
				if err != nil || !again.Unchanged {
					t.Errorf("again: %+v, %v", again, err)
				}
			})
		}
	}
}

func listing(t testing.TB, path string) map[string]string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	out := map[string]string{}
	for r := tar.NewReader(f); ; {
		h, err := r.Next()
		if err == io.EOF {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		var what string
		switch h.Typeflag {
		case tar.TypeXGlobalHeader:
			continue
		case tar.TypeDir:
			what = fmt.Sprintf("dir %o", h.Mode)
		case tar.TypeLink:
			what = "= " + h.Linkname
		case tar.TypeSymlink:
			what = "-> " + h.Linkname
		default:
			data, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			what = string(data)
		}
		if _, twice := out[h.Name]; twice {
			t.Errorf("%s is there twice", h.Name)
		}
		out[h.Name] = what
	}
}

func TestACancelledWriteLeavesNothing(t *testing.T) {
	for _, format := range []imagefile.Format{imagefile.OCI, imagefile.Docker, imagefile.Rootfs} {
		ctx, cancel := context.WithCancel(t.Context())
		dir := t.TempDir()
		f := imagefile.File{Path: filepath.Join(dir, "x"), Format: format, Progress: func(int64, string) { cancel() }}
		img := registrytest.NewStreamed(t, registrytest.Layer(t, 1, 3<<20))
		_, err := imagefile.Write(ctx, f, registry.Variant{Image: img})
		if err == nil && format != imagefile.Rootfs {
			t.Errorf("%s: was written although cancelled", format)
		}
		left, rerr := os.ReadDir(dir)
		if rerr != nil || err != nil && len(left) != 0 {
			t.Errorf("%s: left %v (%v)", format, left, rerr)
		}
	}
}
