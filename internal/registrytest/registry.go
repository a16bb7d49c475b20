// Package registrytest gives tests real registries: Debian's docker-registry
// on loopback, a small one in memory, and proxies before them that misbehave
// as networks and registries do.
package registrytest

import (
	"bufio"
	"fmt"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"

	"bake/internal/need"
)

const config = `version: 0.1
log: {level: info, fields: {service: registry}}
storage:
  filesystem: {rootdirectory: %q}
  delete: {enabled: true}
  maintenance: {uploadpurging: {enabled: false}}
http: {addr: "127.0.0.1:0"}
`

// startUntil starts a command that is to end with this process, from a thread
// that lives until over is closed: the kernel sends Pdeathsig when the thread
// that forked ends.
func startUntil(over <-chan struct{}, cmd *exec.Cmd) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		started <- cmd.Start()
		<-over
	}()
	return <-started
}

// Docker starts Debian's docker-registry with an empty store and returns its
// host and port. It ends with the test.
func Docker(t testing.TB) (host string) {
	t.Helper()
	dir := t.TempDir()
	program := need.Tool(t, "docker-registry")
	file := filepath.Join(dir, "config.yml")
	if err := os.WriteFile(file, fmt.Appendf(nil, config, filepath.Join(dir, "store")), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "serve", file)
	cmd.Env = []string{"OTEL_TRACES_EXPORTER=none"}
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	over := make(chan struct{})
	if err := startUntil(over, cmd); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(stderr)
	listening := regexp.MustCompile(`listening on (127\.0\.0\.1:\d+)`)
	var said strings.Builder
	for lines.Scan() {
		said.WriteString(lines.Text() + "\n")
		if m := listening.FindStringSubmatch(lines.Text()); m != nil {
			host = m[1]
			break
		}
	}
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		_, _ = io.Copy(io.Discard, stderr) // so that it never blocks on its log
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may be gone
		<-drained
		_ = cmd.Wait() // killed, so an error
		close(over)
	})
	if host == "" {
		t.Fatalf("docker-registry did not start:\n%s", said.String())
	}
	return host
}

// Memory starts a registry in this process and returns its host and port.
func Memory(t testing.TB) (host string) {
	t.Helper()
	srv := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(srv.Close)
	return strings.TrimPrefix(srv.URL, "http://")
}
