// Package dockertest gives tests a real Docker engine: one that answers
// already, or a private dockerd of their own.
package dockertest

import (
	"context"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"bake/internal/need"
)

// hostVariable names an engine that tests shall use instead of their own.
const hostVariable = "BAKE_TEST_DOCKER_HOST"

// Start returns the host (as in DOCKER_HOST) of a Docker engine for one test:
// that of BAKE_TEST_DOCKER_HOST, or the one on the default socket if it
// answers, or a private one, which is stopped when the test ends. It skips the
// test if there is none and none can be started.
func Start(t testing.TB) string {
	t.Helper()
	s := new(Shared)
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Errorf("stopping the private dockerd: %v", err)
		}
	})
	return s.Start(t)
}

// Shared is one engine for all tests of a package: its TestMain calls Stop
// when all have run. The zero value is ready to use.
type Shared struct {
	mu     sync.Mutex
	host   string
	daemon *Daemon
	dir    string
}

// Start is like the function of that name; the engine starts with the first call.
func (s *Shared) Start(t testing.TB) string {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.host != "" {
		return s.host
	}
	if s.host = answering(); s.host != "" {
		return s.host
	}
	needs(t)
	dir, err := os.MkdirTemp("", "bake-dockerd-")
	if err != nil {
		t.Fatal(err)
	}
	s.dir = dir
	if s.daemon, err = Launch(dir); err != nil {
		t.Fatalf("starting a private dockerd: %v", err)
	}
	s.host = s.daemon.Host
	return s.host
}

// Stop stops the engine if it is a private one that was started.
func (s *Shared) Stop() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.daemon == nil {
		return os.RemoveAll(s.dir)
	}
	err := s.daemon.Stop()
	s.host, s.daemon = "", nil
	if err != nil {
		return err
	}
	return os.RemoveAll(s.dir)
}

func needs(t testing.TB) {
	t.Helper()
	need.Root(t)
	need.Tool(t, "dockerd")
	need.Tool(t, "containerd")
}

// answering returns the host of an engine that is there already, or "".
func answering() string {
	for _, host := range []string{os.Getenv(hostVariable), "unix:///var/run/docker.sock"} {
		if host != "" && answers(host) == nil {
			return host
		}
	}
	return ""
}

// answers asks the engine at host for its ping.
func answers(host string) error {
	network, addr, _ := strings.Cut(host, "://")
	client := http.Client{
		Timeout: 3 * time.Second,
		Transport: &http.Transport{
			DisableKeepAlives: true,
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, network, addr)
			},
		},
	}
	resp, err := client.Get("http://docker/_ping")
	if err != nil {
		return err
	}
	return resp.Body.Close()
}
