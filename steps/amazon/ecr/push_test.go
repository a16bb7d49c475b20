package ecr_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"

	"bake/builder"
	"bake/internal/registry"
	"bake/internal/registrytest"
	"bake/internal/sandbox/sandboxtest"
	"bake/steps/amazon"
	"bake/steps/amazon/ecr"
)

func TestAnImageIsPushedOnceAndTheRepositoryMadeWhenAsked(t *testing.T) {
	w := newWorld(t)
	img := w.image(t, 1)
	body := `{repository: team/api, region: eu-west-1, tags: ["1.0", latest], create: {scan_on_push: true, tags: {team: web}}}`
	first := w.mustPush(t, body, img)
	if first.Unchanged || first.Values["repository"] != "team/api" || first.Values["registry"] != sandboxtest.Account {
		t.Errorf("%+v", first)
	}
	if want := first.Values["uri"] + "@" + first.Values["digest"]; first.Values["ref"] != want || first.Values["refs"] != want {
		t.Errorf("ref %s, refs %s, want %s", first.Values["ref"], first.Values["refs"], want)
	}
	if got := w.held(t, region, "team/api"); fmt.Sprint(got[first.Values["digest"]]) != "[1.0 latest]" || len(got) != 1 {
		t.Errorf("the repository holds %v", got)
	}
	w.process(t)
	parts, puts := w.calls("UploadLayerPart"), w.calls("PutImage")
	again := w.mustPush(t, body, img)
	if !again.Unchanged || !strings.HasPrefix(again.Summary, "already at ") || again.Values["digest"] != first.Values["digest"] {
		t.Errorf("the same again: %+v", again)
	}
	if w.calls("UploadLayerPart") != parts || w.calls("PutImage") != puts || w.calls("CreateRepository") != 1 || parts == 0 {
		t.Error("the same again was sent again")
	}
}

func TestAMissingRepositoryIsToldBeforeTheUpload(t *testing.T) {
	w := newWorld(t)
	_, err := w.push(t, `{repository: api, region: eu-west-1}`, w.image(t, 1))
	if missing, ok := errors.AsType[*ecr.MissingRepositoryError](err); !ok || !strings.Contains(missing.Error(), "api in eu-west-1") || !strings.Contains(hint(err), "create: true") {
		t.Errorf("%v; %s", err, hint(err))
	}
	if n := w.calls("InitiateLayerUpload"); n != 0 {
		t.Errorf("%d uploads began", n)
	}
}

func TestAnImmutableTagTakesTheSameImageAndRefusesAnotherBeforeTheUpload(t *testing.T) {
	w := newWorld(t)
	for name, images := range map[string][2]builder.Image{
		"one":   {w.image(t, 1), w.image(t, 2)},
		"index": {w.index(t, 3), w.index(t, 4)},
		"streamed": {w.hold(t, registrytest.NewStreamed(t, registrytest.Layer(t, 5, 10_000))),
			w.hold(t, registrytest.NewStreamed(t, registrytest.Layer(t, 6, 10_000)))},
	} {
		t.Run(name, func(t *testing.T) {
			body := `{repository: fixed/` + name + `, region: eu-west-1, tags: ["1", latest], create: {immutable: {except: [latest]}}}`
			first := w.mustPush(t, body, images[0])
			w.process(t)
			if again := w.mustPush(t, body, images[0]); !again.Unchanged {
				t.Errorf("the same again: %+v", again)
			}
			uploads := w.calls("InitiateLayerUpload")
			_, err := w.push(t, body, images[1])
			if exists, ok := errors.AsType[*registry.TagExistsError](err); !ok || exists.Have != first.Values["digest"] || !strings.HasSuffix(exists.Ref, ":1") {
				t.Errorf("another image: %v", err)
			}
			if n := w.calls("InitiateLayerUpload") - uploads; n != 0 {
				t.Errorf("%d uploads began", n)
			}
			w.mustPush(t, `{repository: fixed/`+name+`, region: eu-west-1, tags: [latest]}`, images[1])
		})
	}
}

// settings is an output that names all that can be kept.
const settings = `{repository: api, region: eu-west-1, tags: ["1"], create: {scan_on_push: true, immutable: {except: ["dev-*"]}, encryption: aes256, tags: {team: web},
	lifecycle: {rules: [{rulePriority: 1, selection: {tagStatus: untagged, countType: imageCountMoreThan, countNumber: 5}, action: {type: expire}}]},
	policy: {Version: "2012-10-17", Statement: [{Sid: pull, Effect: Allow, Principal: {AWS: "210987654321"}, Action: ["ecr:GetDownloadUrlForLayer", "ecr:BatchGetImage"]}]}}}`

// drift changes everything that settings names behind bake's back.
func (w *world) drift(t *testing.T, arn *string) {
	t.Helper()
	c, name := w.sdk(region), aws.String("api")
	_, scanning := c.PutImageScanningConfiguration(t.Context(), &sdk.PutImageScanningConfigurationInput{RepositoryName: name, ImageScanningConfiguration: &types.ImageScanningConfiguration{}})
	_, mutability := c.PutImageTagMutability(t.Context(), &sdk.PutImageTagMutabilityInput{RepositoryName: name, ImageTagMutability: types.ImageTagMutabilityMutable})
	_, lifecycle := c.DeleteLifecyclePolicy(t.Context(), &sdk.DeleteLifecyclePolicyInput{RepositoryName: name})
	_, policy := c.DeleteRepositoryPolicy(t.Context(), &sdk.DeleteRepositoryPolicyInput{RepositoryName: name})
	_, tags := c.TagResource(t.Context(), &sdk.TagResourceInput{ResourceArn: arn, Tags: []types.Tag{{Key: aws.String("team"), Value: aws.String("other")}, {Key: aws.String("mine"), Value: aws.String("stays")}}})
	if err := errors.Join(scanning, mutability, lifecycle, policy, tags); err != nil {
		t.Fatal(err)
	}
}

func TestSettingsOfARepositoryAreRepairedAndOtherwiseLeftAlone(t *testing.T) {
	w := newWorld(t)
	img, c, name := w.image(t, 1), w.sdk(region), aws.String("api")
	first := w.mustPush(t, settings, img)
	arn := aws.String(first.Values["arn"])
	count := func() (all []int) {
		for _, a := range []string{"CreateRepository", "PutImageScanningConfiguration", "PutImageTagMutability", "PutLifecyclePolicy", "SetRepositoryPolicy", "TagResource"} {
			all = append(all, w.calls(a))
		}
		return all
	}
	before := count()
	if again := w.mustPush(t, settings, img); !again.Unchanged || !slices.Equal(count(), before) {
		t.Errorf("nothing had changed, but writes were %v and are %v: %+v", before, count(), again)
	}
	w.drift(t, arn)
	if repaired := w.mustPush(t, settings, img); repaired.Unchanged {
		t.Errorf("drift was not seen: %+v", repaired)
	}
	repo, err := c.DescribeRepositories(t.Context(), &sdk.DescribeRepositoriesInput{RepositoryNames: []string{"api"}})
	if err != nil {
		t.Fatal(err)
	}
	if r := repo.Repositories[0]; !r.ImageScanningConfiguration.ScanOnPush || r.ImageTagMutability != types.ImageTagMutabilityImmutableWithExclusion || len(r.ImageTagMutabilityExclusionFilters) != 1 {
		t.Errorf("settings are %+v", r)
	}
	if _, err := c.GetLifecyclePolicy(t.Context(), &sdk.GetLifecyclePolicyInput{RepositoryName: name}); err != nil {
		t.Error(err)
	}
	if _, err := c.GetRepositoryPolicy(t.Context(), &sdk.GetRepositoryPolicyInput{RepositoryName: name}); err != nil {
		t.Error(err)
	}
	got := w.tags(t, arn)
	if got["team"] != "web" || got["mine"] != "stays" || got[amazon.TagRun] != string(w.sc.Run) {
		t.Errorf("tags are %v", got)
	}
	if again := w.mustPush(t, settings, img); !again.Unchanged {
		t.Error("it is repaired again and again")
	}
	_, err = w.push(t, strings.Replace(settings, "encryption: aes256", "encryption: {type: kms}", 1), img)
	if e, ok := errors.AsType[*ecr.EncryptionError](err); !ok || !strings.Contains(e.Error(), "cannot be changed") {
		t.Errorf("another encryption: %v", err)
	}
}

func (w *world) tags(t *testing.T, arn *string) map[string]string {
	t.Helper()
	out, err := w.sdk(region).ListTagsForResource(t.Context(), &sdk.ListTagsForResourceInput{ResourceArn: arn})
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, tag := range out.Tags {
		all[*tag.Key] = *tag.Value
	}
	return all
}

func TestPoliciesAreTakenAway(t *testing.T) {
	w := newWorld(t)
	img := w.image(t, 1)
	w.mustPush(t, `{repository: api, region: eu-west-1, create: {lifecycle: {rules: [{rulePriority: 1, selection: {tagStatus: any, countType: imageCountMoreThan, countNumber: 5}, action: {type: expire}}]}}}`, img)
	w.mustPush(t, `{repository: api, region: eu-west-1, create: {lifecycle: none, policy: none}}`, img)
	if _, err := w.sdk(region).GetLifecyclePolicy(t.Context(), &sdk.GetLifecyclePolicyInput{RepositoryName: aws.String("api")}); !amazon.IsCode(err, "LifecyclePolicyNotFoundException") {
		t.Errorf("the policy is still there: %v", err)
	}
}

func TestSeveralRegionsGetTheSameImageAtOnce(t *testing.T) {
	w := newWorld(t)
	body := `{repository: api, tags: ["1"], regions: [eu-west-1, us-east-1], create: true, also: [{repository: mirror/api, region: eu-central-1}]}`
	p := w.mustPush(t, body, w.index(t, 1))
	refs := strings.Split(p.Values["refs"], ",")
	if len(refs) != 3 || p.Values["region"] != "eu-west-1" || !strings.Contains(p.Summary, "and 2 more") {
		t.Fatalf("%+v", p)
	}
	for at, name := range map[string]string{"eu-west-1": "api", "us-east-1": "api", "eu-central-1": "mirror/api"} {
		if got := w.held(t, at, name); fmt.Sprint(got[p.Values["digest"]]) != "[1]" || len(got) != 3 {
			t.Errorf("%s in %s holds %v", name, at, got)
		}
	}
	if again := w.mustPush(t, body, w.index(t, 1)); !again.Unchanged {
		t.Errorf("the same again: %+v", again)
	}
}

func TestNothingIsUploadedAnywhereIfOnePlaceWouldRefuse(t *testing.T) {
	w := newWorld(t)
	w.mustPush(t, `{repository: api, region: us-east-1, tags: ["1"], create: {immutable: true}}`, w.image(t, 1))
	uploads := w.calls("InitiateLayerUpload")
	_, err := w.push(t, `{repository: api, regions: [eu-west-1, us-east-1], tags: ["1"], create: true}`, w.image(t, 2))
	if _, ok := errors.AsType[*registry.TagExistsError](err); !ok || w.calls("InitiateLayerUpload") != uploads {
		t.Errorf("%v after %d uploads", err, w.calls("InitiateLayerUpload")-uploads)
	}
}

func TestAnotherAccountLetsInWhomItsPolicyNames(t *testing.T) {
	w := newWorld(t)
	const other = "999988887777"
	c := sdk.NewFromConfig(sandboxtest.ConfigAs(w.Sandbox, region, other, "any", ""))
	if _, err := c.CreateRepository(t.Context(), &sdk.CreateRepositoryInput{RepositoryName: aws.String("api")}); err != nil {
		t.Fatal(err)
	}
	body := `{repository: api, region: eu-west-1, account: "` + other + `", tags: ["1"]}`
	_, err := w.push(t, body, w.image(t, 1))
	if err == nil || !strings.Contains(err.Error(), "not authorized to perform") || !strings.Contains(hint(err), `"Effect": "Allow"`) {
		t.Errorf("without leave: %v; %s", err, hint(err))
	}
	allow := `{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::` + sandboxtest.Account + `:root"}, "Action": "ecr:*"}]}`
	if _, err := c.SetRepositoryPolicy(t.Context(), &sdk.SetRepositoryPolicyInput{RepositoryName: aws.String("api"), PolicyText: &allow}); err != nil {
		t.Fatal(err)
	}
	w.process(t)
	if p := w.mustPush(t, body, w.image(t, 1)); p.Values["registry"] != other {
		t.Errorf("%+v", p)
	}
}

func TestTheTokenIsAskedForOnceForEachRegion(t *testing.T) {
	w := newWorld(t)
	w.mustPush(t, `{repository: api, regions: [eu-west-1, us-east-1], tags: ["1"], create: true}`, w.image(t, 1))
	w.mustPush(t, `{repository: web, regions: [eu-west-1, us-east-1], tags: ["1"], create: true}`, w.image(t, 2))
	if n := w.calls("GetAuthorizationToken"); n != 2 {
		t.Errorf("%d tokens for two regions", n)
	}
}

func TestECRPublicIsPushedTo(t *testing.T) {
	w := newWorld(t)
	img := w.image(t, 1)
	if _, err := w.push(t, `{repository: tools/api, public: true}`, img); err == nil || !strings.Contains(hint(err), "create: true") {
		t.Errorf("a repository that is missing: %v", err)
	}
	body := `{repository: tools/api, public: true, tags: ["1"], create: {tags: {team: web}}, keep: 5}`
	first := w.mustPush(t, body, img)
	if again := w.mustPush(t, body, img); !again.Unchanged || again.Values["digest"] != first.Values["digest"] {
		t.Errorf("%+v", again)
	}
}
