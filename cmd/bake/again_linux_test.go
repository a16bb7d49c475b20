package main

import (
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"
	"golang.org/x/sys/unix"

	"bake/builder"
)

// An unchanged image costs a look: nothing goes to the registry, and of the
// files that its steps bring not one byte is read.
func TestAgainNothingIsSentAndNoInputIsRead(t *testing.T) {
	var writes atomic.Int64
	handler := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			writes.Add(1)
		}
		handler.ServeHTTP(w, r)
	}))
	defer server.Close()
	dir := t.TempDir()
	t.Chdir(dir)
	for name, text := range map[string]string{
		"data/one": strings.Repeat("one\n", 100_000),
		"data/two": strings.Repeat("two\n", 100_000),
		"bake.yaml": "name: again\nsource: {scratch: true}\nsteps:\n  - copy: {from: data/, to: /data/}\n" +
			"outputs:\n  - registry: {repository: " + strings.TrimPrefix(server.URL, "http://") + "/again, tags: [latest]}\n",
	} {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	bake := func() {
		t.Helper()
		var said strings.Builder
		a := &app{stdin: strings.NewReader(""), stdout: &said, stderr: &said,
			environ: append(os.Environ(), "BAKE_CACHE_DIR="+filepath.Join(dir, "cache")),
			// By then the files have been left alone for long enough to be trusted.
			now:     func() time.Time { return time.Now().Add(time.Minute) },
			journal: func(j builder.Journal) builder.Journal { return j }}
		if code := a.main([]string{"bake.yaml", "--engine", "embedded"}); code != 0 {
			t.Fatalf("exit code %d\n%s", code, said.String())
		}
	}
	bake()
	if writes.Load() == 0 {
		t.Fatal("the first push wrote nothing")
	}
	writes.Store(0)
	opened := watchOpens(t, "data/one", "data/two")
	bake()
	if n := writes.Load(); n != 0 {
		t.Errorf("again, %d requests wrote to the registry", n)
	}
	if names := opened(); len(names) > 0 {
		t.Errorf("again, inputs were opened: %v", names)
	}
	if _, err := os.ReadFile("data/two"); err != nil {
		t.Fatal(err)
	}
	if names := opened(); len(names) != 1 {
		t.Errorf("the watch saw %v opened, want data/two: it sees nothing", names)
	}
}

// watchOpens returns which of the files were opened since it was asked last.
func watchOpens(t *testing.T, files ...string) func() []string {
	t.Helper()
	fd, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	watched := map[int32]string{}
	for _, f := range files {
		wd, err := unix.InotifyAddWatch(fd, f, unix.IN_OPEN)
		if err != nil {
			t.Fatal(err)
		}
		watched[int32(wd)] = f
	}
	return func() (names []string) {
		buf := make([]byte, 4096)
		for {
			n, err := unix.Read(fd, buf)
			if err == unix.EAGAIN {
				return names
			}
			if err != nil {
				t.Fatal(err)
			}
			// An event of a watched file itself has no name: its size is fixed.
			for at := 0; at+unix.SizeofInotifyEvent <= n; at += unix.SizeofInotifyEvent {
				wd := int32(uint32(buf[at]) | uint32(buf[at+1])<<8 | uint32(buf[at+2])<<16 | uint32(buf[at+3])<<24)
				names = append(names, watched[wd])
			}
		}
	}
}
