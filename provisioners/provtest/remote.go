package provtest

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"

	"bake/builder"
	"bake/internal/need"
)

func fetch(t *testing.T, b *Bench) {
	b.Scope.CacheDir = t.TempDir()
	body := strings.Repeat("0123456789", 1000)
	var asked atomic.Int32
	mux := http.NewServeMux()
	mux.HandleFunc("/tool", func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		io.WriteString(w, body)
	})
	mux.HandleFunc("/flaky", func(w http.ResponseWriter, r *http.Request) {
		if asked.Add(1) == 1 {
			http.Error(w, "later", http.StatusServiceUnavailable)
			return
		}
		io.WriteString(w, r.Header.Get("Authorization"))
	})
	server := httptest.NewServer(mux)
	defer server.Close()
	sum := digest(body)
	step := fmt.Sprintf("{url: %s/tool, to: /suite/bin/, mode: '0755', owner: 7, sha256: %s}", server.URL, sum)
	b.Do(t, "fetch", step, Changed)
	b.Do(t, "fetch", step, Unchanged)
	b.WantTree(t, "/suite/bin/tool", fmt.Sprintf("-rwxr-xr-x 7:7 tool %q", body))
	b.Do(t, "fetch", strings.Replace(step, "/suite/bin/", "/suite/other", 1), Changed)
	if n := asked.Load(); n != 1 {
		t.Errorf("downloaded %d times, not once", n)
	}
	_, err := b.Try(t, "fetch", strings.Replace(step, sum, strings.Repeat("f", 64), 1))
	if err == nil || !strings.Contains(err.Error(), "sha256 is "+sum) {
		t.Errorf("a wrong checksum: %v", err)
	}
	if _, err := b.Try(t, "fetch", fmt.Sprintf("{url: %s/none, to: /suite/none, sha256: %s}", server.URL, digest("none"))); err == nil || !strings.HasSuffix(err.Error(), "404 Not Found") {
		t.Errorf("what is not there: %v", err)
	}
	asked.Store(0)
	b.Do(t, "fetch", fmt.Sprintf("{url: %s/flaky, to: /suite/flaky, sha256: %s, headers: {Authorization: s3cret}}", server.URL, digest("s3cret")), Changed)
	if said := b.Log(); strings.Contains(said, "s3cret") || !strings.Contains(said, "trying again") {
		t.Errorf("log: %s", said)
	}
	if left, err := os.ReadDir(b.Scope.WorkDir); err != nil || len(left) > 0 {
		t.Errorf("left on this machine: %v, %v", left, err)
	}
}

func digest(s string) string {
	h := sha256.Sum256([]byte(s))
	return hex.EncodeToString(h[:])
}

func fetchArchives(t *testing.T, b *Bench) {
	b.Scope.CacheDir = t.TempDir()
	plain := tarball(t, tar.Header{Name: "app-1.0/", Typeflag: tar.TypeDir, Mode: 0o755}, tar.Header{Name: "app-1.0/bin/", Typeflag: tar.TypeDir, Mode: 0o755},
		tar.Header{Name: "app-1.0/bin/app", Typeflag: tar.TypeReg, Mode: 0o755, Uid: 501, Gid: 20}, tar.Header{Name: "app-1.0/bin/link", Typeflag: tar.TypeSymlink, Linkname: "app"})
	archives := map[string][]byte{
		"app.tar":     plain,
		"app.tar.gz":  pack(t, plain, func(w io.Writer) (io.WriteCloser, error) { return gzip.NewWriter(w), nil }),
		"app.tar.xz":  pack(t, plain, func(w io.Writer) (io.WriteCloser, error) { return xz.NewWriter(w) }),
		"app.tar.zst": pack(t, plain, func(w io.Writer) (io.WriteCloser, error) { return zstd.NewWriter(w) }),
		"app.zip":     zipped(t),
		"out.tar":     tarball(t, tar.Header{Name: "../out", Typeflag: tar.TypeReg, Mode: 0o644}),
		"dev.tar":     tarball(t, tar.Header{Name: "dev", Typeflag: tar.TypeBlock, Mode: 0o644}),
		"hard.tar":    tarball(t, tar.Header{Name: "f", Typeflag: tar.TypeReg, Mode: 0o644}, tar.Header{Name: "g", Typeflag: tar.TypeLink, Linkname: "f"}),
		"broken.tar":  plain[:700],
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Write(archives[strings.TrimPrefix(r.URL.Path, "/")]) }))
	defer server.Close()
	step := func(name, dir, more string) string {
		return fmt.Sprintf("{url: %s/%s, to: %s, extract: true, sha256: %s%s}", server.URL, name, dir, digest(string(archives[name])), more)
	}
	for i, name := range []string{"app.tar", "app.tar.gz", "app.tar.xz", "app.tar.zst", "app.zip"} {
		dir := fmt.Sprintf("/suite/%d", i)
		b.Do(t, "fetch", step(name, dir, ", strip: 1, owner: 9"), Changed)
		b.Do(t, "fetch", step(name, dir, ", strip: 1, owner: 9"), again(t, b))
		b.WantTree(t, dir+"/bin", "drwxr-xr-x 9:9 bin", `-rwxr-xr-x 9:9 bin/app "app-1.0/bin/app"`, "L 9:9 bin/link -> app")
	}
	for name, want := range map[string]string{"out.tar": "leads out", "dev.tar": "neither a file", "broken.tar": "unexpected EOF"} {
		if _, err := b.Try(t, "fetch", step(name, "/suite/bad", "")); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
		}
		b.WantTree(t, "/suite/bad", "nothing")
	}
	if _, err := b.Try(t, "fetch", step("app.tar", "/suite/bad", ", strip: 5")); err == nil {
		t.Error("nothing was extracted without an error")
	}
	b.Do(t, "fetch", step("hard.tar", "/suite/hard", ""), Changed)
	b.Do(t, "fetch", step("hard.tar", "/suite/hard", ""), again(t, b))
	if got := b.Sh(t, "cat /suite/hard/g"); got != "f" {
		t.Errorf("hard link: %q", got)
	}
}

// tarball holds the entries; the content of files is their name.
func tarball(t *testing.T, headers ...tar.Header) []byte {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, h := range headers {
		if h.Typeflag == tar.TypeReg {
			h.Size = int64(len(h.Name))
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeReg {
			io.WriteString(w, h.Name)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func pack(t *testing.T, plain []byte, with func(io.Writer) (io.WriteCloser, error)) []byte {
	var buf bytes.Buffer
	w, err := with(&buf)
	if err == nil {
		_, err = w.Write(plain)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func zipped(t *testing.T) []byte {
	var buf bytes.Buffer
	w := zip.NewWriter(&buf)
	for _, e := range []struct {
		name, content string
		mode          os.FileMode
	}{{"app-1.0/bin/", "", os.ModeDir | 0o755}, {"app-1.0/bin/app", "app-1.0/bin/app", 0o755}, {"app-1.0/bin/link", "app", os.ModeSymlink | 0o777}} {
		h := &zip.FileHeader{Name: e.name, Method: zip.Deflate}
		h.SetMode(e.mode)
		f, err := w.CreateHeader(h)
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(f, e.content)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func checkout(t *testing.T, b *Bench) {
	need.Tool(t, "git")
	repo := filepath.Join(b.Dir, "repo")
	git(t, b.Dir, "init", "-q", "-b", "main", "repo")
	commit := func(name, content, message string) string {
		b.File(t, "repo/"+name, content)
		git(t, repo, "add", "-A")
		git(t, repo, "commit", "-q", "-m", message)
		return strings.TrimSpace(git(t, repo, "rev-parse", "HEAD"))
	}
	first := commit("src/a", "one", "first")
	git(t, repo, "tag", "-a", "-m", "v1", "v1")
	b.File(t, "repo/.dockerignore", "**")
	commit("src/b", "b", "second")
	commit("src/a", "two", "third")
	b.Do(t, "checkout", "{repo: repo, ref: v1, to: /suite/v1}", Changed)
	b.Do(t, "checkout", "{repo: repo, ref: v1, to: /suite/v1}", again(t, b))
	b.WantTree(t, "/suite/v1", "drwxr-xr-x 0:0 v1", "drwxr-xr-x 0:0 v1/src", `-rw-r--r-- 0:0 v1/src/a "one"`)
	b.Do(t, "checkout", "{repo: repo, to: /suite/head, path: src, owner: '3:4', exclude: b}", Changed)
	b.WantTree(t, "/suite/head", "drwxr-xr-x 3:4 head", `-rw-r--r-- 3:4 head/a "two"`)
	b.Do(t, "checkout", "{repo: 'file://"+repo+"', ref: "+first+", to: /suite/v1}", again(t, b))
	if _, err := b.Try(t, "checkout", "{repo: repo, ref: v9, to: /suite/v9}"); err == nil || !strings.Contains(err.Error(), `no branch or tag "v9"`) {
		t.Errorf("a ref that does not exist: %v", err)
	}
	if _, err := b.Try(t, "checkout", "{repo: no-repo, to: /suite/v9}"); err == nil || !strings.HasPrefix(err.Error(), "git ls-remote: ") {
		t.Errorf("a repository that does not exist: %v", err)
	}
	if left, err := os.ReadDir(b.Scope.WorkDir); err != nil || len(left) > 0 {
		t.Errorf("left on this machine: %v, %v", left, err)
	}
}

func git(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", append([]string{"-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "commit.gpgsign=false"}, args...)...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return string(out)
}

func local(t *testing.T, b *Bench) {
	b.Scope.Env = map[string]string{"GREETING": "it's"}
	b.Do(t, "local", `["echo $GREETING $BAKE_BUILD $BAKE_STEP", "[ $PWD = $BAKE_DIR ]", "cat", "echo x >made"]`, Changed)
	if got := b.Log(); got != "it's web web/provision/0" {
		t.Errorf("log %q", got)
	}
	if _, err := os.Stat(filepath.Join(b.Dir, "made")); err != nil {
		t.Error(err)
	}
	if _, err := b.Try(t, "local", `["false", "echo not reached"]`); err == nil {
		t.Error("not strict")
	}
}

// ansible runs a playbook where ansible has a connection to the machine, and
// the machine a Python. It sees that the machine it changes is this one.
func ansible(t *testing.T, b *Bench) {
	if _, ok := builder.As[builder.Chrooter](b.Comm); !ok {
		b.File(t, "play.yml", "- hosts: all\n")
		if _, err := b.Try(t, "ansible", "play.yml"); err == nil {
			t.Error("a machine that ansible cannot reach was accepted")
		}
		return
	}
	need.Tool(t, "ansible-playbook")
	if !b.Has(t, "python3") {
		t.Log("the machine has no python3, so ansible cannot work on it")
		return
	}
	b.File(t, "play.yml", "- hosts: all\n  gather_facts: false\n  tasks:\n  - copy: {content: '{{ text }}', dest: /suite-ansible}\n")
	b.Do(t, "ansible", "{playbook: play.yml, extra_vars: {text: hello}}", Changed)
	b.WantTree(t, "/suite-ansible", `-rw-r--r-- 0:0 suite-ansible "hello"`)
	b.Do(t, "ansible", "{playbook: play.yml, extra_vars: {text: hello}}", Unchanged)
}

func download(t *testing.T, b *Bench) {
	b.Do(t, "run", `["mkdir -p /srv/out/deep", "echo one >/srv/out/a", "echo two >'/srv/out/deep/b c'", "chmod 755 /srv/out/a", "ln -s ../a /srv/out/deep/link", "ln /srv/out/a /srv/out/hard", "ln -s /etc/passwd /srv/out/away"]`, Changed)
	dir := filepath.Join(t.TempDir(), "here")
	b.Do(t, "download", fmt.Sprintf(`{from: /srv/out, to: %s/}`, dir), Changed)
	b.Do(t, "download", fmt.Sprintf(`{from: /srv/out, to: %s/}`, dir), Changed) // over what is there
	for name, want := range map[string]string{"out/a": "one\n", "out/deep/b c": "two\n", "out/hard": "one\n"} {
		if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(got) != want {
			t.Errorf("%s is %q, %v", name, got, err)
		}
	}
	for name, want := range map[string]string{"out/deep/link": "../a", "out/away": "/etc/passwd"} {
		if got, err := os.Readlink(filepath.Join(dir, name)); err != nil || got != want {
			t.Errorf("%s leads to %q, %v", name, got, err)
		}
	}
	if info, err := os.Stat(filepath.Join(dir, "out/a")); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("%v, %v", info, err)
	}
	b.Do(t, "download", fmt.Sprintf(`{from: /srv/out/a, to: %s/named}`, dir), Changed)
	if got, err := os.ReadFile(filepath.Join(dir, "named")); err != nil || string(got) != "one\n" {
		t.Errorf("named is %q, %v", got, err)
	}
	// A link that is in the way on this machine is replaced, not followed.
	away := filepath.Join(t.TempDir(), "away")
	if err := errors.Join(os.WriteFile(away, []byte("mine"), 0o600), os.Remove(filepath.Join(dir, "named")), os.Symlink(away, filepath.Join(dir, "named"))); err != nil {
		t.Fatal(err)
	}
	b.Do(t, "download", fmt.Sprintf(`{from: /srv/out/a, to: %s/named}`, dir), Changed)
	if got, err := os.ReadFile(away); err != nil || string(got) != "mine" {
		t.Errorf("what a link led to is %q, %v", got, err)
	}
	if _, err := b.Try(t, "download", fmt.Sprintf(`{from: /srv/none, to: %s/}`, dir)); !errors.Is(err, builder.ErrNotFound) {
		t.Errorf("what is not there: %v", err)
	}
	b.Do(t, "download", fmt.Sprintf(`{from: /srv/none, to: %s/, optional: true}`, dir), Changed)
}
