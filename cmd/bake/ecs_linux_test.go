package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"bake/internal/need"
	"bake/internal/registrytest"
	"bake/internal/sandbox"
	"bake/internal/sandbox/sandboxtest"
)

// An ecsWorld is a sandbox, a registry with images, and a folder to run bake in.
type ecsWorld struct {
	*testing.T
	sandbox  *sandbox.Sandbox
	registry string
	dir      string
	base     v1.Image
}

func newECSWorld(t *testing.T) *ecsWorld {
	t.Helper()
	need.Root(t)
	w := &ecsWorld{T: t, sandbox: sandboxtest.Start(t), registry: registrytest.Memory(t), dir: t.TempDir()}
	w.base = registrytest.Busybox(t, "sh cat echo sleep true false seq")
	w.push("v1", "echo serving; exec sleep 600")
	w.push("v2", "echo serving two; exec sleep 600")
	w.push("bad", "echo no such table: users; exit 3")
	return w
}

func (w *ecsWorld) push(tag, script string) {
	w.Helper()
	registrytest.Push(w, w.image(tag), w.base, v1.Config{Cmd: []string{"sh", "-c", script}, Env: []string{"PATH=/bin"}})
}

func (w *ecsWorld) image(tag string) string { return w.registry + "/api:" + tag }

func (w *ecsWorld) write(name, text string) {
	w.Helper()
	if err := os.WriteFile(filepath.Join(w.dir, name), []byte(text), 0o600); err != nil {
		w.Fatal(err)
	}
}

// bake runs bake and wants an exit code.
func (w *ecsWorld) bake(code int, args ...string) (stdout, stderr string) {
	w.Helper()
	cmd := exec.CommandContext(w.Context(), "bake", args...)
	cmd.Dir = w.dir
	cmd.Env = append(sandboxtest.Env(w.sandbox, "eu-west-1"), "BAKE_CACHE_DIR="+filepath.Join(w.dir, "cache"), "NO_COLOR=1", "HOME="+w.dir)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.ExitCode() == code || err == nil && code == 0 {
		return out.String(), errs.String()
	}
	w.Fatalf("bake %s: %v, want exit code %d\n%s%s", strings.Join(args, " "), err, code, out.String(), errs.String())
	return "", ""
}

// wants looks for words in what bake said.
func (w *ecsWorld) wants(text string, words ...string) {
	w.Helper()
	for _, word := range words {
		if !strings.Contains(text, word) {
			w.Errorf("%q is not in:\n%s", word, text)
		}
	}
}

const apiTemplate = `
name: api
variables: {image: {default: ""}}
source: {scratch: true}
outputs:
  - ecs:
      cluster: prod
      service: api
      image: ${{ var.image }}
      desired_count: 2
      launch_type: FARGATE
      network: {subnets: [subnet-1]}
      verify: {skip: [network]}
      task_definition: task.yaml
`

const apiTask = `
family: api
requiresCompatibilities: [FARGATE]
networkMode: awsvpc
cpu: "256"
memory: "512"
containerDefinitions:
  - name: api
    environment: [{name: LOG, value: json}]
`

func TestECSFromAClusterToItsEnd(t *testing.T) {
	t.Parallel()
	w := newECSWorld(t)
	w.write("api.yaml", apiTemplate)
	w.write("task.yaml", apiTask)
	at := []string{"--cluster", "prod", "--service", "api"}

	out, _ := w.bake(0, "ecs", "clusters", "create", "prod", "--tag", "team=web")
	w.wants(out, "prod", "ACTIVE")
	out, _ = w.bake(0, "ecs", "clusters")
	w.wants(out, "prod")

	out, _ = w.bake(4, "ecs", "diff", "api.yaml", "--var", "image="+w.image("v1"))
	w.wants(out, "+ service api in cluster prod")
	out, errs := w.bake(0, "ecs", "deploy", "api.yaml", "--var", "image="+w.image("v1"), "-o", "plain")
	w.wants(out+errs, "registered api:1", "service api serves api:1 (2 of 2 running)")
	_, _ = w.bake(0, "ecs", "diff", "api.yaml", "--var", "image="+w.image("v1"))
	out, errs = w.bake(0, "ecs", "deploy", "api.yaml", "--var", "image="+w.image("v1"), "-o", "plain")
	w.wants(out+errs, "already runs api:1")

	out, errs = w.bake(0, append([]string{"ecs", "deploy", "--image", w.image("v2"), "--env", "LOG=text", "-o", "plain"}, at...)...)
	w.wants(out+errs, "service api serves api:2 (2 of 2 running)")
	out, errs = w.bake(3, append([]string{"ecs", "deploy", "--image", w.image("bad"), "-o", "plain"}, at...)...)
	w.wants(out+errs, "container api exited with 3", "rolled back", "serving now: api:2 (2 of 2 running)")

	out, _ = w.bake(0, append([]string{"ecs", "status"}, at...)...)
	w.wants(out, "api:2, 2 of 2 running", "127.0.0.1:")
	out, _ = w.bake(0, append([]string{"ecs", "tasks", "--all", "-o", "json"}, at...)...)
	var tasks []struct{ ID, Status, Revision string }
	if err := json.Unmarshal([]byte(out), &tasks); err != nil || len(tasks) < 4 {
		t.Errorf("tasks: %v\n%s", err, out)
	}
	out, errs = w.bake(0, append([]string{"ecs", "rollback", "-o", "plain"}, at...)...)
	w.wants(out+errs, "serves api:1")
	out, errs = w.bake(0, append([]string{"ecs", "scale", "1", "-o", "plain"}, at...)...)
	w.wants(out+errs, "serves api:1 (1 of 1 running)")
	out, errs = w.bake(0, append([]string{"ecs", "refresh", "-o", "plain"}, at...)...)
	w.wants(out+errs, "serves api:1 (1 of 1 running)")
	out, _ = w.bake(0, append([]string{"ecs", "wait"}, at...)...)
	w.wants(out, "service api serves api:1 (1 of 1 running)")
	out, _ = w.bake(0, append([]string{"ecs", "revisions"}, at...)...)
	w.wants(out, "api:3", "service prod/api")
	out, _ = w.bake(0, append([]string{"ecs", "revisions", "--keep", "0"}, at...)...)
	w.wants(out, "api:3", "api:2")
	if strings.Contains(out, "api:1 ") {
		t.Errorf("a revision in use was deregistered:\n%s", out)
	}
	out, errs = w.bake(0, "ecs", "run", "--cluster", "prod", "--like", "api", "-o", "plain", "--", "echo migrated; true")
	w.wants(out+errs, "is done")
	out, errs = w.bake(1, "ecs", "run", "--cluster", "prod", "--like", "api", "-o", "plain", "--", "echo broken; exit 9")
	w.wants(out+errs, "exited with 9")

	w.bake(0, append([]string{"ecs", "init", "--dir", "live"}, at...)...)
	w.bake(0, "ecs", "diff", "live/api.yaml")
	out, _ = w.bake(0, "ecs", "services", "--cluster", "prod")
	w.wants(out, "api:1")
	w.bake(0, "ecs", "services", "destroy", "api", "--cluster", "prod", "--yes")
	w.bake(0, "ecs", "clusters", "destroy", "prod", "--yes")
	out, _ = w.bake(0, "ecs", "clusters", "-o", "json")
	if strings.TrimSpace(out) != "[]" {
		t.Errorf("clusters at the end: %s", out)
	}
}

func TestECSCommandsTeachTheirUse(t *testing.T) {
	t.Parallel()
	w := &ecsWorld{T: t, dir: t.TempDir(), sandbox: &sandbox.Sandbox{}}
	for _, sub := range strings.Fields("deploy diff verify rollback run wait continue stop scale refresh status tasks logs exec revisions clusters services render init") {
		out, _ := w.bake(0, "ecs", sub, "--help")
		w.wants(out, "Examples:", "bake ecs "+sub, "Exit codes:")
	}
	_, errs := w.bake(2, "ecs", "deploy", "--cluster", "prod")
	w.wants(errs, "no service is named")
	_, errs = w.bake(2, "ecs", "scale", "many", "--service", "api")
	w.wants(errs, `"many" is not a number of tasks`)
}

// TestTheReleaseDemo runs `make demo-release`: it fails unless the third
// release ends with exit code 3.
func TestTheReleaseDemo(t *testing.T) {
	t.Parallel()
	need.Root(t)
	bin, err := staticBake()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), filepath.Join(repository, "testdata", "demo-release", "run"), bin, t.TempDir())
	cmd.Env = append(os.Environ(), "BAKE_CACHE_DIR="+t.TempDir(), "NO_COLOR=1", "AWS_EC2_METADATA_DISABLED=true")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	w := &ecsWorld{T: t}
	_, end, _ := strings.Cut(string(out), "== version 3")
	w.wants(string(out), "says: hello from version 1", "says: hello from version 2", "pushed ", "service hello serves hello:2 (2 of 2 running)")
	w.wants(end, "container hello exited with 3", "| hello: no such table: users", "serving now: hello:2 (2 of 2 running)", "exit code 3: it was rolled back", "says: hello from version 2")
}
