package ecr_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/ecr"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"bake/builder"
	"bake/builder/buildertest"
	"bake/internal/registry"
	"bake/internal/registrytest"
	"bake/internal/sandbox"
	"bake/internal/sandbox/sandboxtest"
	"bake/steps/amazon"
	"bake/steps/amazon/ecr"
	"bake/templates"
)

const region = "eu-west-1"

// A world is a sandbox, an engine that holds images, and the output.
type world struct {
	*sandbox.Sandbox
	deps   ecr.Deps
	images map[string]v1.Image // by id
	sc     *builder.Scope
}

func newWorld(t testing.TB) *world {
	t.Helper()
	return newWorldIn(t, sandboxtest.Start(t))
}

func newWorldIn(t testing.TB, s *sandbox.Sandbox) *world {
	t.Helper()
	w := &world{Sandbox: s, images: map[string]v1.Image{}}
	w.process(t)
	return w
}

// process forgets what a process and its machine know: clients, tokens, what was pushed.
func (w *world) process(t testing.TB) {
	t.Helper()
	cloud := amazon.New(amazon.Options{Endpoint: w.URL})
	tokens := ecr.NewTokens(cloud)
	client := registry.New(registry.Config{Keychain: ecr.Keychain{Tokens: tokens}, Route: tokens.Route, CacheDir: t.TempDir(),
		Retry: registry.Retry{Base: time.Millisecond, Max: 20 * time.Millisecond}})
	w.deps = ecr.Deps{Cloud: cloud, Tokens: tokens, Registry: client}
	w.sc = buildertest.Scope(t, builder.Catalog{
		Images:   map[string]builder.ImageOpener{"engine": w, registry.Engine: client},
		Cleaners: ecr.Cleaners(w.deps),
	}, t.TempDir())
}

// OpenImage makes the world an engine.
func (w *world) OpenImage(_ context.Context, img builder.Image) (v1.Image, error) {
	if found, ok := w.images[img.ID]; ok {
		return found, nil
	}
	return nil, builder.ErrNotFound
}

// hold puts an image into the engine.
func (w *world) hold(t testing.TB, img v1.Image) builder.Image {
	t.Helper()
	id, err := img.ConfigName()
	if err != nil {
		t.Fatal(err)
	}
	file, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	w.images[id.String()] = img
	return builder.Image{Engine: "engine", ID: id.String(), Platform: builder.Platform{OS: file.OS, Arch: file.Architecture}}
}

// image is a small image in the engine; another seed is another image.
func (w *world) image(t testing.TB, seed uint64) builder.Image {
	t.Helper()
	return w.hold(t, registrytest.Image(t, registrytest.Layer(t, seed, 10_000)))
}

// index is an image for two platforms.
func (w *world) index(t testing.TB, seed uint64) builder.Image {
	t.Helper()
	arm := w.hold(t, registrytest.ForPlatform(t, registrytest.Image(t, registrytest.Layer(t, seed+100, 10_000)), "linux", "arm64"))
	return builder.Image{Manifests: []builder.Image{w.image(t, seed), arm}, Annotations: map[string]string{"x": "y"}}
}

// output decodes the output as a template would.
func (w *world) output(t testing.TB, body string) builder.Output {
	t.Helper()
	data, diags := templates.ReadBlock("output", []byte(body))
	if err := diags.Err(); err != nil {
		t.Fatal(err)
	}
	out := ecr.Outputs(w.deps)["ecr"]()
	if err := templates.Decode(data, out).Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

// push runs the output as a template would.
func (w *world) push(t testing.TB, body string, img builder.Image) (builder.Published, error) {
	t.Helper()
	return w.output(t, body).Publish(t.Context(), w.sc, builder.Artifact{Image: &img})
}

func (w *world) mustPush(t testing.TB, body string, img builder.Image) builder.Published {
	t.Helper()
	p, err := w.push(t, body, img)
	if err != nil {
		t.Fatalf("pushing with %s: %v", body, err)
	}
	return p
}

// sdk is a client as a user's own program has it.
func (w *world) sdk(region string) *sdk.Client {
	return sdk.NewFromConfig(sandboxtest.Config(w.Sandbox, region))
}

// held lists the digests that a repository holds, with their tags.
func (w *world) held(t testing.TB, region, name string) map[string][]string {
	t.Helper()
	out, err := w.sdk(region).DescribeImages(t.Context(), &sdk.DescribeImagesInput{RepositoryName: &name})
	if err != nil {
		t.Fatal(err)
	}
	all := map[string][]string{}
	for _, d := range out.ImageDetails {
		all[aws.ToString(d.ImageDigest)] = slices.Sorted(slices.Values(d.ImageTags))
	}
	return all
}

// calls counts calls of ECR's API, and requests to its registries, by action.
func (w *world) calls(action string) int { return w.Faults.Counts()["ecr:"+action] }

func hint(err error) string {
	if h, ok := errors.AsType[interface {
		error
		Hint() string
	}](err); ok {
		return h.Hint()
	}
	return ""
}
