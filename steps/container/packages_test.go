package container_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bake/builder"
	"bake/builder/buildertest"
	"bake/internal/need"
	"bake/steps/container"
)

// archive is a Debian archive that knows its table of contents and nothing else.
func archive(t testing.TB, date *string) *httptest.Server {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/debian/dists/bookworm/InRelease" {
			http.NotFound(w, r)
			return
		}
		fmt.Fprintf(w, "Origin: Debian\nDate: %s\n", *date)
	}))
	t.Cleanup(srv.Close)
	return srv
}

func TestPackagesArePinnedToWhatTheArchiveHolds(t *testing.T) {
	w := newWorld(t)
	date := "Sat, 10 Feb 2024 11:07:25 UTC"
	srv := archive(t, &date)
	body := `{"release": "bookworm", "mirror": ` + quote(srv.URL+"/debian") + `}`
	pin := func(body string) (builder.Pin, error) {
		return w.decode(t, "packages", body).Pin(t.Context(), builder.PinEnv{Dir: w.dir, Platform: amd64()})
	}
	one, err := pin(body)
	if err != nil {
		t.Fatal(err)
	}
	if got := one.Values["created"]; got != "2024-02-10T11:07:25Z" {
		t.Errorf("created %s", got)
	}
	if same, err := pin(body); err != nil || same.Digest != one.Digest {
		t.Errorf("the same archive: %v, %s and %s", err, same.Digest, one.Digest)
	}
	date = "Sat, 29 Jun 2024 09:06:14 UTC"
	two, err := pin(body)
	if err != nil || two.Digest == one.Digest {
		t.Errorf("a changed archive: %v, still %s", err, two.Digest)
	}
	more, err := pin(`{"release": "bookworm", "include": ["curl"], "mirror": ` + quote(srv.URL+"/debian") + `}`)
	if err != nil || more.Digest == two.Digest {
		t.Errorf("with another package: %v, still %s", err, more.Digest)
	}
	srv.Close()
	offline, err := pin(body)
	if err != nil || offline.Digest != two.Digest || !strings.Contains(offline.Summary, "as it was at the last look") {
		t.Errorf("offline: %+v, %v", offline, err)
	}
	var silent *container.ArchiveError
	if _, err := pin(`{"release": "trixie", "mirror": ` + quote(srv.URL+"/debian") + `}`); !errors.As(err, &silent) {
		t.Errorf("offline and never seen: %v", err)
	}
}

func TestAMissingBootstrapProgramSaysWhatToInstall(t *testing.T) {
	w := newWorld(t)
	date := "Sat, 10 Feb 2024 11:07:25 UTC"
	body := `{"release": "bookworm", "mirror": ` + quote(archive(t, &date).URL+"/debian") + `}`
	t.Setenv("PATH", t.TempDir())
	_, err := w.open(t, "packages", body)
	var hinted interface{ Hint() string }
	if !errors.As(err, &hinted) || !strings.Contains(hinted.Hint(), "install mmdebstrap") {
		t.Errorf("%v", err)
	}
}

func TestABootstrapThatFailsSaysWhy(t *testing.T) {
	need.Tool(t, "mmdebstrap")
	need.Root(t)
	w := newWorld(t)
	date := "Sat, 10 Feb 2024 11:07:25 UTC"
	_, err := w.open(t, "packages", `{"release": "bookworm", "mirror": `+quote(archive(t, &date).URL+"/debian")+`}`)
	if err == nil || !strings.Contains(err.Error(), "bootstrapping debian bookworm: mmdebstrap:") {
		t.Errorf("%v", err)
	}
	if left, err := filepath.Glob(filepath.Join(w.cache, "systems", "*")); err != nil || len(left) != 0 {
		t.Errorf("left %v, %v", left, err)
	}
}

// mirror skips where there is no time for a real bootstrap, or no network.
func mirror(t testing.TB) {
	t.Helper()
	if os.Getenv("BAKE_REQUIRE_ALL") != "1" {
		t.Skip("takes a minute and the network; BAKE_REQUIRE_ALL=1 runs it")
	}
	need.Root(t)
	client := &http.Client{Timeout: 5 * time.Second}
	resp, err := client.Head("http://deb.debian.org/debian/dists/bookworm/InRelease")
	if err != nil {
		need.Missing(t, "no Debian archive: %v", err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		need.Missing(t, "no Debian archive: %s", resp.Status)
	}
}

func TestADebianSystemIsTheSameTwice(t *testing.T) {
	need.Tool(t, "mmdebstrap")
	mirror(t)
	const body = `{"release": "bookworm", "include": ["busybox-static"], "variant": "essential"}`
	var ids [2]string
	for i := range ids {
		w := newWorld(t)
		began := time.Now()
		pin, err := w.open(t, "packages", body)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s in %v", pin.Summary, time.Since(began))
		w.has(t, "etc/debian_version", "usr/share/doc/busybox-static/copyright", "var/lib/dpkg/status")
		ids[i] = w.engines["embedded"].config.RootFS.DiffIDs[0].String()
		for name := range w.engines["embedded"].files {
			if strings.HasPrefix(name, "dev/") && name != "dev/" {
				t.Errorf("there is a device: %s", name)
			}
		}
		path := os.Getenv("PATH")
		t.Setenv("PATH", t.TempDir()) // no program: it must be there already
		if err := w.reopen(t, "packages", body, pin); err != nil {
			t.Errorf("the second time: %v", err)
		}
		t.Setenv("PATH", path)
	}
	if ids[0] != ids[1] {
		t.Errorf("two bootstraps differ: %s and %s", ids[0], ids[1])
	}
}

func TestDebootstrapServesWhereMmdebstrapIsMissing(t *testing.T) {
	program := need.Tool(t, "debootstrap")
	mirror(t)
	bin := t.TempDir()
	for _, tool := range []string{program, need.Tool(t, "tar")} {
		if err := os.Symlink(tool, filepath.Join(bin, filepath.Base(tool))); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", bin)
	w := newWorld(t)
	if _, err := w.open(t, "packages", `"bookworm"`); err != nil {
		t.Fatal(err)
	}
	w.has(t, "etc/debian_version", "etc/apt/sources.list")
	if list := w.engines["embedded"].files["etc/apt/sources.list"]; !strings.Contains(list, "bookworm") {
		t.Errorf("sources.list: %s", list)
	}
}

func TestACancelledBootstrapLeavesNothing(t *testing.T) {
	need.Tool(t, "mmdebstrap")
	mirror(t)
	w := newWorld(t)
	src := w.decode(t, "packages", `"bookworm"`)
	pin, err := src.Pin(t.Context(), builder.PinEnv{Dir: w.dir, Platform: amd64()})
	if err != nil {
		t.Fatal(err)
	}
	sc := buildertest.Scope(t, builder.Catalog{}, w.dir)
	ctx, cancel := contextUntil(t, filepath.Join(sc.WorkDir, "bootstrap-*", "mmdebstrap.*"))
	defer cancel()
	if _, err := src.Open(ctx, sc, builder.Opening{Platform: amd64(), Pin: pin}); !errors.Is(err, ctx.Err()) {
		t.Errorf("%v", err)
	}
	for _, pattern := range []string{filepath.Join(sc.WorkDir, "*"), filepath.Join(w.cache, "systems", "*")} {
		if left, err := filepath.Glob(pattern); err != nil || len(left) != 0 {
			t.Errorf("left %v, %v", left, err)
		}
	}
	procs, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range procs {
		if data, err := os.ReadFile(p); err == nil && strings.Contains(string(data), sc.WorkDir) {
			t.Errorf("still running: %q", data)
		}
	}
}

// contextUntil returns a context that is cancelled when a file of the pattern
// exists.
func contextUntil(t testing.TB, pattern string) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for ctx.Err() == nil {
			if found, _ := filepath.Glob(pattern); len(found) > 0 { // the pattern is good
				cancel()
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
			}
		}
	}()
	return ctx, cancel
}
