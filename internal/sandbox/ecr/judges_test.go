package ecr_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"bake/internal/dockertest"
	"bake/internal/need"
	"bake/internal/sandbox"
	"bake/internal/sandbox/sandboxtest"
)

// run runs another's client and returns what it prints.
func run(t *testing.T, stdin string, command string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), need.Tool(t, command), args...)
	cmd.Stdin = strings.NewReader(stdin)
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir())
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s%s", command, strings.Join(args, " "), err, out, errs.String())
	}
	return string(out)
}

func (w *world) password() string {
	w.Helper()
	return strings.TrimSpace(sandboxtest.CLI(w, w.s, region, "ecr", "get-login-password"))
}

func TestTheAWSCLIAndSkopeoPushPullAndList(t *testing.T) {
	need.Tool(t, "skopeo")
	w := newWorld(t, ecr.CreateRepositoryInput{})
	dir := t.TempDir()
	img := mutate.MediaType(w.image(2000), "application/vnd.oci.image.manifest.v1+json")
	img = mutate.ConfigMediaType(img, "application/vnd.oci.image.config.v1+json")
	p, err := layout.Write(filepath.Join(dir, "in"), empty.Index)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.AppendImage(img, layout.WithAnnotations(map[string]string{"org.opencontainers.image.ref.name": "v1"})); err != nil {
		t.Fatal(err)
	}
	creds := "AWS:" + w.password()
	uri := "docker://" + *w.repo.RepositoryUri + ":v1"
	run(t, "", "skopeo", "copy", "--insecure-policy", "--dest-tls-verify=false", "--dest-creds", creds, "oci:"+filepath.Join(dir, "in")+":v1", uri)
	run(t, "", "skopeo", "copy", "--insecure-policy", "--src-tls-verify=false", "--src-creds", creds, uri, "oci:"+filepath.Join(dir, "out")+":v1")
	digest, _ := img.Digest()
	if out := run(t, "", "skopeo", "inspect", "--tls-verify=false", "--creds", creds, "--format", "{{.Digest}}", uri); strings.TrimSpace(out) != digest.String() {
		t.Errorf("skopeo sees %s, want %s", out, digest)
	}
	var images struct {
		ImageDetails []struct {
			ImageDigest string
			ImageTags   []string
		}
	}
	if err := json.Unmarshal([]byte(sandboxtest.CLI(t, w.s, region, "ecr", "describe-images", "--repository-name", "team/api")), &images); err != nil {
		t.Fatal(err)
	}
	if len(images.ImageDetails) != 1 || images.ImageDetails[0].ImageDigest != digest.String() {
		t.Errorf("%+v", images)
	}
	if _, stderr, err := sandboxtest.TryCLI(t, w.s, region, "ecr", "describe-images", "--repository-name", "none"); err == nil || !strings.Contains(stderr, "RepositoryNotFoundException") {
		t.Errorf("a repository that is not there: %v: %s", err, stderr)
	}
}

func TestDockerLogsInAndPushes(t *testing.T) {
	host := dockertest.Start(t)
	w := newWorld(t, ecr.CreateRepositoryInput{})
	config := t.TempDir()
	docker := func(stdin string, args ...string) string {
		t.Helper()
		return run(t, stdin, "docker", append([]string{"--config", config, "--host", host}, args...)...)
	}
	tag := w.tag("docker")
	archive := filepath.Join(t.TempDir(), "image.tar")
	img := w.image(3000)
	if err := tarball.WriteToFile(archive, tag, img); err != nil {
		t.Fatal(err)
	}
	docker("", "load", "--input", archive)
	docker(w.password(), "login", "--username", "AWS", "--password-stdin", tag.RegistryStr())
	docker("", "push", tag.String())
	docker("", "image", "rm", tag.String())
	docker("", "pull", tag.String())
	docker("", "image", "rm", tag.String())
	if _, err := remote.Head(tag, w.auth(w.ecr)); err != nil {
		t.Error(err)
	}
}

func TestImagesAndTheirNamesSurviveARestart(t *testing.T) {
	dir := t.TempDir()
	first, err := sandbox.Start(t.Context(), sandbox.Options{Dir: dir, Account: sandboxtest.Account})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{T: t, s: first, ecr: ecr.NewFromConfig(sandboxtest.Config(first, region))}
	made, err := w.ecr.CreateRepository(t.Context(), &ecr.CreateRepositoryInput{RepositoryName: aws.String("app")})
	if err != nil {
		t.Fatal(err)
	}
	w.repo = made.Repository
	digest := w.mustPush("v1", w.image(100))
	auth := w.auth(w.ecr)
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	sandboxtest.StartWith(t, sandbox.Options{Dir: dir, Account: sandboxtest.Account})
	ref, _ := name.ParseReference(*w.repo.RepositoryUri + ":v1")
	got, err := remote.Get(ref, auth)
	if err != nil || got.Digest.String() != digest {
		t.Errorf("%+v, %v; want %s", got, err, digest)
	}
}
