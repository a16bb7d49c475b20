package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"

	"bake/internal/sandbox/api"
	"bake/internal/sandbox/sandboxtest"
)

// pushTemplate pushes an image to a repository that it makes.
const pushTemplate = `
name: web
source: {scratch: true}
steps: [{copy: {from: site/, to: /site/}}]
outputs:
  - ecr: {repository: web, region: eu-west-1, tags: ["1", latest], create: {immutable: {except: [latest]}, scan_on_push: true}, scan: true}
  - manifest: dist/made.json
`

// TestKillAtEveryCallOfAPushToECR kills bake, as by kill -9, before and after
// each call that a push makes of ECR's API and registry. Resumed, it converges:
// nothing is there twice, nothing is missing.
func TestKillAtEveryCallOfAPushToECR(t *testing.T) {
	t.Parallel()
	calls := 0
	pushKilledAt(t, 0, &calls)
	if calls < 15 {
		t.Fatalf("a push made only %d calls", calls)
	}
	t.Logf("%d calls", calls)
	for n := 1; n <= 2*calls; n++ {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			pushKilledAt(t, n, new(int))
		})
	}
}

// pushKilledAt pushes, killed at the nth moment before or after a call; never if n is 0.
func pushKilledAt(t *testing.T, n int, calls *int) {
	t.Helper()
	s := sandboxtest.Start(t)
	w := killWorld{dir: t.TempDir()}
	w.env = append(os.Environ(), "BAKE_CACHE_DIR="+filepath.Join(w.dir, "cache"), "NO_COLOR=1", "HOME="+w.dir)
	write := func(name, text string) {
		path := filepath.Join(w.dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("web.yaml", pushTemplate)
	write("site/index.html", "hello")

	cmd := exec.Command("bake", "build", "web.yaml", "--sandbox="+s.URL)
	cmd.Dir, cmd.Env = w.dir, w.env
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	var mu sync.Mutex
	moments := 0
	s.Faults.OnCall(func(c *api.Call, _ int, _ bool) {
		mu.Lock()
		defer mu.Unlock()
		if c.Service != "ecr" {
			return
		}
		if moments++; moments == n {
			_ = cmd.Process.Kill() // it may just have ended
		}
	})
	err := cmd.Run()
	mu.Lock()
	*calls = moments / 2
	mu.Unlock()
	s.Faults.OnCall(nil)
	status, _ := cmd.ProcessState.Sys().(syscall.WaitStatus)
	if err != nil && !status.Signaled() {
		t.Fatalf("bake: %v\n%s", err, out.String())
	}
	if status.Signaled() {
		w.bake(t, 0, "resume")
	}
	checkConverged(t, ecr.NewFromConfig(sandboxtest.Config(s, "eu-west-1")))
	again := exec.Command("bake", "build", "web.yaml", "--sandbox="+s.URL)
	again.Dir, again.Env = w.dir, w.env
	if said, err := again.CombinedOutput(); err != nil || !strings.Contains(string(said), "already at ") {
		t.Errorf("again: %v\n%s", err, said)
	}
	w.wantNothingLeft(t, noContainers)
}

// checkConverged wants one repository with one image that has both tags.
func checkConverged(t *testing.T, c *ecr.Client) {
	t.Helper()
	repos, err := c.DescribeRepositories(t.Context(), &ecr.DescribeRepositoriesInput{})
	if err != nil || len(repos.Repositories) != 1 {
		t.Fatalf("%d repositories, %v", len(repos.Repositories), err)
	}
	images, err := c.DescribeImages(t.Context(), &ecr.DescribeImagesInput{RepositoryName: aws.String("web")})
	if err != nil || len(images.ImageDetails) != 1 || len(images.ImageDetails[0].ImageTags) != 2 {
		t.Errorf("the repository holds %+v, %v", images, err)
	}
}
