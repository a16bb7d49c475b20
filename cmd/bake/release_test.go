package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"bake/internal/registry"
	"bake/internal/registrytest"
	"bake/steps/publish"
)

// A releaseWorld is a folder in which an image was built and pushed to one
// registry, and an empty second registry.
type releaseWorld struct {
	killWorld
	first, second string
	digest        string // of the image in the first
}

func newReleaseWorld(t *testing.T, platforms string) releaseWorld {
	t.Helper()
	w := releaseWorld{first: registrytest.Docker(t), second: registrytest.Docker(t)}
	w.killWorld = killWorld{dir: t.TempDir()}
	w.env = append(os.Environ(), "BAKE_CACHE_DIR="+filepath.Join(w.dir, "cache"), "NO_COLOR=1", "HOME="+w.dir)
	w.file(t, "site/index.html", "hello")
	w.file(t, "web.yaml", fmt.Sprintf(`
name: web
variables: {stage: {default: test}}
source: {scratch: true, platforms: %s}
steps: [{copy: {from: site/, to: /site/}}]
outputs:
  - registry: {repository: %s/web, tags: ["1.0", latest]}
  - manifest: dist/made.json
`, platforms, w.first))
	w.file(t, "deploy.yaml", fmt.Sprintf(`
name: deploy
variables: {stage: {default: test}}
source: {scratch: true}
outputs:
  - registry: {repository: "%s/${{ var.stage }}/web", tags: ["1.0"]}
  - manifest: dist/${{ var.stage }}.json
`, w.second))
	w.bake(t, 0, "build", "web.yaml")
	w.digest = w.released(t, "made")
	return w
}

func (w releaseWorld) file(t *testing.T, name, text string) {
	t.Helper()
	path := filepath.Join(w.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// released is the digest that a manifest lists.
func (w releaseWorld) released(t *testing.T, name string) string {
	t.Helper()
	m, err := publish.ReadManifest(filepath.Join(w.dir, "dist", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	b, err := m.Build("")
	if err != nil {
		t.Fatal(err)
	}
	return b.Outputs[0].Values["digest"]
}

// digestOf is what a registry says that a name is.
func digestOf(t *testing.T, name string) string {
	t.Helper()
	ref, err := registry.ParseReference(name, false)
	if err != nil {
		t.Fatal(err)
	}
	img, err := registry.New(registry.Config{}).Held(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	_, digest, _ := strings.Cut(img.Ref, "@")
	return digest
}

func TestAReleaseHandsOnExactlyWhatWasBuilt(t *testing.T) {
	t.Parallel()
	for _, platforms := range []string{"[linux/amd64]", "[linux/amd64, linux/arm64]"} {
		t.Run(platforms, func(t *testing.T) {
			w := newReleaseWorld(t, platforms)
			w.file(t, "site/index.html", "changed since it was built")
			w.bake(t, 0, "release", "dist/made.json", "--template", "deploy.yaml", "--var", "stage=prod")
			for _, got := range []string{w.released(t, "prod"), digestOf(t, w.second+"/prod/web:1.0")} {
				if got != w.digest {
					t.Errorf("released %s, built %s", got, w.digest)
				}
			}
			if out := w.output(t, "release", "dist/made.json", "--template", "deploy.yaml", "--var", "stage=prod"); !strings.Contains(out, "already at") {
				t.Errorf("the same again: %s", out)
			}
			w.bake(t, 0, "release", "dist/made.json", "--to", w.second+"/by/flags", "--tag", "2")
			if got := digestOf(t, w.second+"/by/flags:2"); got != w.digest {
				t.Errorf("released %s by flags, built %s", got, w.digest)
			}
			// From a stage to the next, and with the template that built it.
			w.bake(t, 0, "release", "dist/prod.json", "--to", w.first+"/next")
			w.bake(t, 0, "release", "dist/made.json", "--template", "web.yaml", "--outputs", "registry")
			if got := digestOf(t, w.first+"/next:1.0"); got != w.digest || digestOf(t, w.first+"/web:latest") != w.digest {
				t.Errorf("released %s, built %s", got, w.digest)
			}
		})
	}
}

// output is what bake says, on both streams.
func (w releaseWorld) output(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.Command("bake", args...)
	cmd.Dir, cmd.Env = w.dir, w.env
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("bake %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

func TestAReleaseThatIsKilledGoesOn(t *testing.T) {
	t.Parallel()
	w := newReleaseWorld(t, "[linux/amd64, linux/arm64]")
	for n := 1; ; n++ {
		stage := fmt.Sprintf("stage%d", n)
		killed := w.bake(t, n, "release", "dist/made.json", "--template", "deploy.yaml", "--var", "stage="+stage)
		if killed {
			w.bake(t, 0, "resume")
		}
		if got := digestOf(t, w.second+"/"+stage+"/web:1.0"); got != w.digest || w.released(t, stage) != w.digest {
			t.Errorf("killed at %d: released %s, built %s", n, got, w.digest)
		}
		if !killed {
			if n < 6 {
				t.Errorf("a release wrote its journal only %d times", n-1)
			}
			return
		}
	}
}

func TestWhatCannotBeReleasedIsSaidBeforeAnythingStarts(t *testing.T) {
	t.Parallel()
	w := newReleaseWorld(t, "[linux/amd64]")
	w.file(t, "dist/unpushed.json", `{"version": 1, "name": "x", "builds": [{"build": "x", "artifact": {"image": {"id": "sha256:1"}}}]}`)
	w.file(t, "dist/gone.json", fmt.Sprintf(`{"version": 1, "name": "x", "builds": [{"build": "x", "artifact": {"image": {"id": "sha256:1"}},
		"outputs": [{"output": "registry", "values": {"ref": "%s/x@sha256:%s"}}]}]}`, w.first, strings.Repeat("0", 64)))
	for want, args := range map[string][]string{
		"was not pushed to a registry":             {"dist/unpushed.json", "--to", "x/y"},
		"looking up " + w.first + "/x@sha256:0000": {"dist/gone.json", "--to", w.second + "/y"},
		"there is nothing to do with the images":   {"dist/made.json"},
		"--template does not go with":              {"dist/made.json", "--template", "deploy.yaml", "--to", "x"},
		"no such file":                             {"dist/missing.json", "--to", "x"},
		"has no build \"api\"":                     {"dist/made.json", "--only", "api", "--to", "x"},
		"the template has no such outputs":         {"dist/made.json", "--template", "deploy.yaml", "--outputs", "archive"},
		"was not pushed to elsewhere":              {"dist/made.json", "--template", "deploy.yaml", "--from", "elsewhere"},
	} {
		cmd := exec.Command("bake", append([]string{"release"}, args...)...)
		cmd.Dir, cmd.Env = w.dir, w.env
		out, err := cmd.CombinedOutput()
		if err == nil || !strings.Contains(string(out), want) {
			t.Errorf("release %q: %v\n%s\nwant %q", args, err, out, want)
		}
	}
	if runs, err := filepath.Glob(filepath.Join(w.dir, runsDir, "*")); err != nil || len(runs) != 1 {
		t.Errorf("runs were begun: %v", runs)
	}
}

func TestATemplateMayStartFromAManifest(t *testing.T) {
	t.Parallel()
	w := newReleaseWorld(t, "[linux/amd64, linux/arm64]")
	w.file(t, "from.yaml", fmt.Sprintf("name: from\nsource: {manifest: dist/made.json}\noutputs:\n  - registry: %s/from:3\n", w.second))
	w.bake(t, 0, "build", "from.yaml")
	if got := digestOf(t, w.second+"/from:3"); got != w.digest {
		t.Errorf("pushed %s, built %s", got, w.digest)
	}
}
