package main

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"bake/internal/need"
	"bake/internal/registrytest"
)

// nginx is a Debian system with a web server that is tested and pushed.
const nginx = `
name: web
variables:
  port: {type: number}
  registry: {}
source: {packages: {release: bookworm}}
steps:
  - package: {install: [nginx-light, curl]}
  - write: {to: /etc/nginx/sites-enabled/default, content: "server { listen 127.0.0.1:${{ var.port }}; root /srv; }\n"}
  - write: {to: /srv/index.html, content: "baked\n"}
  - run: nginx -t
tests:
  - wait: {port: "${{ var.port }}", timeout: 20s}
  - run: curl -fsS http://127.0.0.1:${{ var.port }}/ | grep -qx baked
config: {cmd: [nginx, -g, daemon off;]}
outputs:
  - registry: {repository: "${{ var.registry }}/web", tags: ["1.0", latest]}
  - manifest: {path: manifest.json}
`

// TestDebianWithNginxIsTestedAndPushed bootstraps a system from Debian's
// packages and pushes it to a registry, from where another tool reads it. A
// second run finds everything done.
func TestDebianWithNginxIsTestedAndPushed(t *testing.T) {
	t.Parallel()
	need.Root(t)
	need.Tool(t, "mmdebstrap")
	skopeo := need.Tool(t, "skopeo")
	registry := registrytest.Docker(t)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "web.yaml"), []byte(nginx), 0o600); err != nil {
		t.Fatal(err)
	}
	env := append(os.Environ(), "BAKE_CACHE_DIR="+filepath.Join(dir, "cache"), "NO_COLOR=1")
	args := []string{"web.yaml", "--engine", "embedded", "--var", fmt.Sprintf("port=%d", freePort(t)), "--var", "registry=" + registry}
	run := func() (stdout, stderr string) {
		t.Helper()
		cmd := exec.Command("bake", args...)
		var errs strings.Builder
		cmd.Dir, cmd.Env, cmd.Stderr = dir, env, &errs
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("bake: %v\n%s", err, errs.String())
		}
		return string(out), errs.String()
	}
	first, _ := run()
	ref := "docker://" + registry + "/web:1.0"
	var inspected struct{ Digest, Architecture string }
	if err := json.Unmarshal([]byte(tool(t, dir, env, skopeo, "inspect", "--tls-verify=false", ref)), &inspected); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(first, inspected.Digest) {
		t.Errorf("bake says it pushed %q, the registry has %s", first, inspected.Digest)
	}
	again, story := run()
	if again != first {
		t.Errorf("the second run says %q, the first said %q", again, first)
	}
	if strings.Contains(story, "Setting up") || !strings.Contains(story, "cached") {
		t.Errorf("the second run did something:\n%s", story)
	}
	manifest, err := os.ReadFile(filepath.Join(dir, "manifest.json"))
	if err != nil || !strings.Contains(string(manifest), inspected.Digest) {
		t.Errorf("the manifest does not name %s (%v):\n%s", inspected.Digest, err, manifest)
	}
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}
