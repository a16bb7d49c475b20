package ecr_test

import (
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"

	"bake/builder"
	"bake/builder/buildertest"
	"bake/internal/registry"
	"bake/internal/registrytest"
	"bake/internal/sandbox/sandboxtest"
	"bake/steps/amazon"
	"bake/steps/amazon/ecr"
	"bake/steps/amazon/permit"
	"bake/steps/amazon/permit/permittest"
)

// limited makes the world's runs those of a user who may do what a policy allows.
func (w *world) limited(t *testing.T, doc permit.Document) {
	t.Helper()
	w.as(t, permittest.Limit(t, w.Sandbox, doc))
	w.sc.Plan.Name = "web"
}

// as makes the world's runs those of whoever a cloud calls as.
func (w *world) as(t *testing.T, cloud *amazon.Cloud) {
	t.Helper()
	tokens := ecr.NewTokens(cloud)
	client := registry.New(registry.Config{Keychain: ecr.Keychain{Tokens: tokens}, Route: tokens.Route, CacheDir: t.TempDir(),
		Retry: registry.Retry{Base: time.Millisecond, Max: 20 * time.Millisecond}})
	w.deps = ecr.Deps{Cloud: cloud, Tokens: tokens, Registry: client}
	w.sc = buildertest.Scope(t, builder.Catalog{
		Images:   map[string]builder.ImageOpener{"engine": w, registry.Engine: client},
		Cleaners: ecr.Cleaners(w.deps),
	}, t.TempDir())
}

func TestAPushUnderThePolicyThatIsPrintedNeedsAllOfIt(t *testing.T) {
	w := newWorld(t)
	_, err := w.sdk(region).PutReplicationConfiguration(t.Context(), &sdk.PutReplicationConfigurationInput{ReplicationConfiguration: &types.ReplicationConfiguration{
		Rules: []types.ReplicationRule{{Destinations: []types.ReplicationDestination{{Region: aws.String("eu-central-1"), RegistryId: aws.String(sandboxtest.Account)}}}}}})
	if err != nil {
		t.Fatal(err)
	}
	body := strings.TrimSuffix(settings, "}") + `, scan: true, replication: true, keep: {tagged: 1, untagged_older_than: 0s}}`
	doc := permittest.Document("web", w.output(t, body))
	w.limited(t, doc)
	w.mustPush(t, body, w.index(t, 1))
	arn := aws.String("arn:aws:ecr:" + region + ":" + sandboxtest.Account + ":repository/api")
	w.drift(t, arn)
	w.mustPush(t, strings.Replace(body, `["1"]`, `["2"]`, 1), w.index(t, 2))
	if got := w.held(t, region, "api"); len(got) != 3 {
		t.Errorf("the old index is kept: %v", got)
	}
	permittest.Covers(t, w.Sandbox, doc)
	permittest.Needed(t, w.Sandbox, doc, map[string]string{
		"ecr:DeleteRepository":    "one that a run has made and put nothing into",
		"ecr:StartImageScan":      "where nobody scans on push",
		"inspector2:ListFindings": "where Inspector scans",
		"inspector2:ListCoverage": "where Inspector scans",
		"ecs:DescribeServices":    "clusters with services", "ecs:ListServices": "clusters", "ecs:ListTasks": "clusters",
		"ecs:DescribeTasks":          "clusters with tasks",
		"ecs:DescribeTaskDefinition": "task definitions",
	})
}

func TestAPushThatFailsRemovesItsRepositoryUnderThePolicy(t *testing.T) {
	w := newWorld(t)
	body := `{repository: api, region: eu-west-1, create: true}`
	doc := permittest.Document("web", w.output(t, body))
	less := permit.Document{Version: doc.Version}
	for _, s := range doc.Statements {
		if s.Sid != "PushImages" {
			less.Statements = append(less.Statements, s)
		} else {
			s.Action = []string{"ecr:DescribeRepositories", "ecr:BatchGetImage", "ecr:BatchCheckLayerAvailability"}
			less.Statements = append(less.Statements, s)
		}
	}
	w.limited(t, less)
	out := w.output(t, body)
	e := &builder.Engine{Catalog: builder.Catalog{Images: map[string]builder.ImageOpener{"engine": w}, Cleaners: ecr.Cleaners(w.deps)}, Journal: new(buildertest.Memory), Sink: buildertest.Log(t), WorkDir: t.TempDir()}
	sc := e.Scope("run-1", &builder.Plan{Name: "web", Dir: t.TempDir(), Builds: []builder.Build{{Name: "web"}}}, "web/publish/1")
	img := w.image(t, 1)
	if _, err := out.Publish(t.Context(), sc, builder.Artifact{Image: &img}); err == nil || !strings.Contains(hint(err), `"ecr:InitiateLayerUpload"`) {
		t.Errorf("%v; %s", err, hint(err))
	}
	if err := e.Release(t.Context()); err != nil {
		t.Errorf("removing what was made: %v", err)
	}
}

func TestECRPublicIsPushedToUnderThePolicyThatIsPrinted(t *testing.T) {
	w := newWorld(t)
	body := `{repository: tools/api, public: true, tags: ["1"], create: {tags: {team: web}}, keep: 1}`
	doc := permittest.Document("web", w.output(t, body))
	w.limited(t, doc)
	w.mustPush(t, body, w.image(t, 1))
	w.mustPush(t, strings.Replace(body, `["1"]`, `["2"]`, 1), w.image(t, 2))
	permittest.Needed(t, w.Sandbox, doc, map[string]string{
		"ecr-public:DeleteRepository": "one that a run has made and put nothing into",
	})
}

func TestAnImageIsPulledAndTakenThroughACacheUnderThePolicy(t *testing.T) {
	w := newWorld(t)
	p := w.mustPush(t, `{repository: base, region: eu-west-1, tags: ["1"], create: true}`, w.image(t, 1))
	amd64 := builder.Platform{OS: "linux", Arch: "amd64"}
	name := sandboxtest.Account + ".dkr.ecr." + region + ".amazonaws.com/base:1"
	env := permit.Env{Plan: &builder.Plan{Name: "web"}, Account: sandboxtest.Account}
	doc := permit.Merge(ecr.Pulling(env, name))
	w.limited(t, doc)
	ref, err := registry.ParseReference(name, false)
	if err != nil {
		t.Fatal(err)
	}
	found, err := w.deps.Registry.Find(t.Context(), ref, registry.Pull{Platform: amd64})
	if err != nil || found.Digest != p.Values["digest"] {
		t.Fatalf("%+v, %v", found, err)
	}
	download(t, w, ref, found, nil)
	permittest.Needed(t, w.Sandbox, doc, nil)

	upstream := registrytest.Memory(t)
	from, err := registry.ParseReference(upstream+"/library/debian:12", false)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := registry.New(registry.Config{}).Push(t.Context(), registry.Push{To: from}, registry.Variant{Image: registrytest.Image(t, registrytest.Layer(t, 2, 1000))}); err != nil {
		t.Fatal(err)
	}
	if _, err = w.sdk(region).CreatePullThroughCacheRule(t.Context(), &sdk.CreatePullThroughCacheRuleInput{EcrRepositoryPrefix: aws.String("hub"), UpstreamRegistryUrl: aws.String(upstream)}); err != nil {
		t.Fatal(err)
	}
	cache := sandboxtest.Account + ".dkr.ecr." + region + ".amazonaws.com"
	// A registry on this machine may be the sandbox's, which is looked for; AWS's never is.
	doc = permit.Merge(append(ecr.PullingThrough(env, cache, from.String()), permit.Read("ec2:DescribeRegions")))
	w.limited(t, doc)
	mirror, err := w.deps.PullThrough(t.Context(), cache, from)
	if err != nil {
		t.Fatal(err)
	}
	if found, err = w.deps.Registry.Find(t.Context(), from, registry.Pull{Platform: amd64, Mirrors: []string{mirror}}); err != nil {
		t.Fatal(err)
	}
	download(t, w, from, found, []string{mirror})
	permittest.Needed(t, w.Sandbox, doc, nil)
}

// download reads all layers of an image.
func download(t *testing.T, w *world, ref registry.Reference, found registry.Found, mirrors []string) {
	t.Helper()
	img, err := w.deps.Registry.Image(t.Context(), ref, found, mirrors)
	if err != nil {
		t.Fatal(err)
	}
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range layers {
		r, err := l.Compressed()
		if err == nil {
			_, err = io.Copy(io.Discard, r)
			err = errors.Join(err, r.Close())
		}
		if err != nil {
			t.Error(err)
		}
	}
}
