package ecr_test

import (
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bake/builder"
	"bake/builder/buildertest"
	"bake/internal/registry"
	"bake/internal/sandbox/sandboxtest"
)

// TestADockerLoginIsNeitherNeededNorUsedNorWritten: tokens of `docker login`
// go stale in config.json after twelve hours, and pushes fail.
func TestADockerLoginIsNeitherNeededNorUsedNorWritten(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("HOME", dir)
	t.Setenv("DOCKER_CONFIG", filepath.Join(dir, ".docker"))
	w := newWorld(t)
	first := w.mustPush(t, `{repository: api, region: eu-west-1, create: true}`, w.image(t, 1))
	if _, err := os.Stat(filepath.Join(dir, ".docker")); !os.IsNotExist(err) {
		t.Errorf("docker's config was written: %v", err)
	}
	host, _, _ := strings.Cut(first.Values["uri"], "/")
	stale := map[string]string{"auth": base64.StdEncoding.EncodeToString([]byte("AWS:stale"))}
	config, err := json.Marshal(map[string]any{"auths": map[string]any{host: stale, sandboxtest.Account + ".dkr.ecr.eu-west-1.amazonaws.com": stale}})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, ".docker", "config.json")
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, config, 0o600); err != nil {
		t.Fatal(err)
	}
	w.process(t)
	w.mustPush(t, `{repository: api, region: eu-west-1, tags: ["2"]}`, w.image(t, 2))
	ref, err := registry.ParseReference(sandboxtest.Account+".dkr.ecr.eu-west-1.amazonaws.com/api:2", false)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.deps.Registry.Held(t.Context(), ref); err != nil {
		t.Errorf("pulling with a stale login in docker's config: %v", err)
	}
	if after, err := os.ReadFile(path); err != nil || string(after) != string(config) {
		t.Errorf("docker's config was changed: %s, %v", after, err)
	}
}

// TestZstdIsWarnedOfWhereTheLaunchTypeCannotTakeIt: Docker 20.10 on an EC2
// instance does not read it (amazon-ecs-agent#4179).
func TestZstdIsWarnedOfWhereTheLaunchTypeCannotTakeIt(t *testing.T) {
	for launch, want := range map[string]bool{"EC2": true, "EXTERNAL": true, "FARGATE": false} {
		w := newWorld(t)
		sink := new(logs)
		e := &builder.Engine{Catalog: builder.Catalog{Images: map[string]builder.ImageOpener{"engine": w}, Cleaners: nil}, Journal: new(buildertest.Memory), Sink: sink}
		plan := &builder.Plan{Builds: []builder.Build{{Name: "api", Steps: []builder.Step{
			{ID: "api/publish/1", Phase: builder.Publish, Kind: "ecr"},
			{ID: "api/publish/2", Phase: builder.Publish, Kind: "ecs", Name: "ecs prod", Config: []byte(`{"service": "api", "launch_type": "` + launch + `"}`)},
		}}}}
		w.mustPush(t, `{repository: api, region: eu-west-1, create: true}`, w.image(t, 1))
		w.sc = e.Scope("run", plan, "api/publish/1")
		w.mustPush(t, `{repository: api, region: eu-west-1, tags: ["2"], compression: zstd}`, w.image(t, 1))
		if got := strings.Contains(sink.text, "warning: zstd: ecs prod runs on EC2 instances"); got != want {
			t.Errorf("%s: warned %v: %s", launch, got, sink.text)
		}
	}
}

// logs keeps what steps say.
type logs struct{ text string }

func (l *logs) Emit(e builder.Event) { l.text += e.Text + "\n" }
