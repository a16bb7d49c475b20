package ecr_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"bake/internal/sandbox"
	"bake/internal/sandbox/api"
	sandboxecr "bake/internal/sandbox/ecr"
	"bake/internal/sandbox/sandboxtest"
)

const region = "eu-west-1"

func code(err error) string {
	var e smithy.APIError
	if errors.As(err, &e) {
		return e.ErrorCode()
	}
	return ""
}

// A world is a sandbox with a repository.
type world struct {
	*testing.T
	s    *sandbox.Sandbox
	ecr  *ecr.Client
	repo *types.Repository
}

func newWorld(t *testing.T, in ecr.CreateRepositoryInput) *world {
	t.Helper()
	w := &world{T: t, s: sandboxtest.Start(t)}
	w.ecr = ecr.NewFromConfig(sandboxtest.Config(w.s, region))
	if in.RepositoryName == nil {
		in.RepositoryName = aws.String("team/api")
	}
	out, err := w.ecr.CreateRepository(t.Context(), &in)
	if err != nil {
		t.Fatal(err)
	}
	w.repo = out.Repository
	return w
}

// auth is a login with ECR's token.
func (w *world) auth(c *ecr.Client) remote.Option {
	w.Helper()
	out, err := c.GetAuthorizationToken(w.Context(), nil)
	if err != nil {
		w.Fatal(err)
	}
	text, err := base64.StdEncoding.DecodeString(*out.AuthorizationData[0].AuthorizationToken)
	if err != nil {
		w.Fatal(err)
	}
	user, password, _ := strings.Cut(string(text), ":")
	return remote.WithAuth(&authn.Basic{Username: user, Password: password})
}

func (w *world) tag(label string) name.Tag {
	w.Helper()
	t, err := name.NewTag(*w.repo.RepositoryUri + ":" + label)
	if err != nil {
		w.Fatal(err)
	}
	return t
}

func (w *world) image(size int64) v1.Image {
	w.Helper()
	img, err := random.Image(size, 2)
	if err != nil {
		w.Fatal(err)
	}
	return img
}

func (w *world) push(label string, img v1.Image) error {
	w.Helper()
	return remote.Write(w.tag(label), img, w.auth(w.ecr), remote.WithRetryBackoff(remote.Backoff{Steps: 1}))
}

func (w *world) mustPush(label string, img v1.Image) string {
	w.Helper()
	if err := w.push(label, img); err != nil {
		w.Fatal(err)
	}
	d, _ := img.Digest()
	return d.String()
}

// status is what a registry refused a request with.
func status(err error) (int, string) {
	var te *transport.Error
	switch {
	case !errors.As(err, &te):
		return 0, fmt.Sprint(err)
	case len(te.Errors) == 0: // an answer to HEAD has no text
		return te.StatusCode, ""
	}
	return te.StatusCode, string(te.Errors[0].Code)
}

func TestWhatIsPushedIsInTheAPIAndPullsWhole(t *testing.T) {
	w := newWorld(t, ecr.CreateRepositoryInput{})
	img := w.image(1000)
	digest := w.mustPush("v1", img)
	got, err := remote.Image(w.tag("v1"), w.auth(w.ecr))
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Image(got); err != nil {
		t.Error(err)
	}
	out, err := w.ecr.DescribeImages(t.Context(), &ecr.DescribeImagesInput{RepositoryName: w.repo.RepositoryName})
	if err != nil || len(out.ImageDetails) != 1 || *out.ImageDetails[0].ImageDigest != digest || out.ImageDetails[0].ImageTags[0] != "v1" || *out.ImageDetails[0].ImageSizeInBytes < 2000 {
		t.Errorf("%+v, %v", out, err)
	}
	index, err := random.Index(500, 1, 3)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.WriteIndex(w.tag("multi"), index, w.auth(w.ecr)); err != nil {
		t.Fatal(err)
	}
	back, err := remote.Index(w.tag("multi"), w.auth(w.ecr))
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Index(back); err != nil {
		t.Error(err)
	}
	child, _ := index.IndexManifest()
	del, err := w.ecr.BatchDeleteImage(t.Context(), &ecr.BatchDeleteImageInput{RepositoryName: w.repo.RepositoryName, ImageIds: []types.ImageIdentifier{{ImageDigest: aws.String(child.Manifests[0].Digest.String())}}})
	if err != nil || len(del.Failures) != 1 || del.Failures[0].FailureCode != "ImageReferencedByManifestList" {
		t.Errorf("an image of an index is deleted: %+v, %v", del, err)
	}
	here, err := w.s.Services.ECR.Image(t.Context(), sandboxtest.Account, *w.repo.RepositoryUri+":v1", v1.Platform{OS: "linux", Architecture: "amd64"})
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Image(here); err != nil {
		t.Error(err)
	}
}

func TestATokenIsNeededAndExpires(t *testing.T) {
	w := newWorld(t, ecr.CreateRepositoryInput{})
	img := w.image(100)
	if s, c := status(remote.Write(w.tag("a"), img)); s != 401 {
		t.Errorf("without a token: %d %s", s, c)
	}
	if s, c := status(remote.Write(w.tag("a"), img, remote.WithAuth(&authn.Basic{Username: "AWS", Password: "x"}))); s != 403 {
		t.Errorf("with a wrong token: %d %s", s, c)
	}
	elsewhere := ecr.NewFromConfig(sandboxtest.Config(w.s, "us-east-1"))
	if s, _ := status(remote.Write(w.tag("a"), img, w.auth(elsewhere))); s != 403 {
		t.Errorf("with another region's token: %d", s)
	}
	w.s.Services.ECR.Turn(sandboxecr.Knobs{TokenLasts: api.Duration(time.Nanosecond)})
	_, err := remote.Get(w.tag("a"), w.auth(w.ecr))
	if s, c := status(err); s != 403 || c != "DENIED" {
		t.Errorf("with an expired token: %d %s", s, c)
	}
}

func TestImmutableTagsStay(t *testing.T) {
	w := newWorld(t, ecr.CreateRepositoryInput{ImageTagMutability: "IMMUTABLE_WITH_EXCLUSION",
		ImageTagMutabilityExclusionFilters: []types.ImageTagMutabilityExclusionFilter{{Filter: aws.String("latest*"), FilterType: "WILDCARD"}}})
	one, two := w.image(100), w.image(100)
	w.mustPush("v1", one)
	w.mustPush("latest", one)
	w.mustPush("latest", two)
	if s, c := status(w.push("v1", two)); s != 400 || c != "TAG_INVALID" {
		t.Errorf("moving a tag: %d %s", s, c)
	}
	raw, _ := one.RawManifest()
	mt, _ := one.MediaType()
	put := func() string {
		_, err := w.ecr.PutImage(t.Context(), &ecr.PutImageInput{RepositoryName: w.repo.RepositoryName, ImageManifest: aws.String(string(raw)), ImageManifestMediaType: aws.String(string(mt)), ImageTag: aws.String("v1")})
		return code(err)
	}
	if got := put(); got != "ImageTagAlreadyExistsException" {
		t.Errorf("the same image to an immutable tag: %s", got)
	}
	if _, err := w.ecr.PutImageTagMutability(t.Context(), &ecr.PutImageTagMutabilityInput{RepositoryName: w.repo.RepositoryName, ImageTagMutability: "MUTABLE"}); err != nil {
		t.Fatal(err)
	}
	if got := put(); got != "ImageAlreadyExistsException" {
		t.Errorf("the same image to a tag that has it: %s", got)
	}
	w.mustPush("v1", two)
}

func TestManifestsAndRepositoriesAreChecked(t *testing.T) {
	w := newWorld(t, ecr.CreateRepositoryInput{})
	raw, _ := w.image(100).RawManifest()
	_, err := w.ecr.PutImage(t.Context(), &ecr.PutImageInput{RepositoryName: w.repo.RepositoryName, ImageManifest: aws.String(string(raw)), ImageTag: aws.String("x")})
	if code(err) != "LayersNotFoundException" {
		t.Errorf("a manifest without its layers: %v", err)
	}
	other, _ := name.NewTag(strings.Replace(*w.repo.RepositoryUri, "team/api", "none", 1) + ":x")
	if s, c := status(remote.Write(other, w.image(10), w.auth(w.ecr))); s != 404 || c != "NAME_UNKNOWN" {
		t.Errorf("a repository that is not there: %d %s", s, c)
	}
	for _, c := range []struct {
		in   ecr.CreateRepositoryInput
		want string
	}{
		{ecr.CreateRepositoryInput{RepositoryName: aws.String("team/api")}, "RepositoryAlreadyExistsException"},
		{ecr.CreateRepositoryInput{RepositoryName: aws.String("Team")}, "InvalidParameterException"},
		{ecr.CreateRepositoryInput{RepositoryName: aws.String("x"), ImageTagMutability: "NEVER"}, "InvalidParameterException"},
		{ecr.CreateRepositoryInput{RepositoryName: aws.String("kms"), EncryptionConfiguration: &types.EncryptionConfiguration{EncryptionType: "KMS", KmsKey: aws.String("alias/none")}}, "KmsException"},
	} {
		if _, err := w.ecr.CreateRepository(t.Context(), &c.in); code(err) != c.want {
			t.Errorf("%s: %v, want %s", *c.in.RepositoryName, err, c.want)
		}
	}
	_, err = w.ecr.DeleteRepository(t.Context(), &ecr.DeleteRepositoryInput{RepositoryName: w.repo.RepositoryName})
	if err != nil {
		t.Error(err)
	}
}

// upload is one by hand, to see what is kept of it.
func (w *world) upload(method, url string, body io.Reader, header map[string]string) *http.Response {
	w.Helper()
	out, err := w.ecr.GetAuthorizationToken(w.Context(), nil)
	if err != nil {
		w.Fatal(err)
	}
	r, err := http.NewRequestWithContext(w.Context(), method, url, body)
	if err != nil {
		w.Fatal(err)
	}
	r.Header.Set("Authorization", "Basic "+*out.AuthorizationData[0].AuthorizationToken)
	for k, v := range header {
		r.Header.Set(k, v)
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil
	}
	res.Body.Close()
	return res
}

func TestACutConnectionCostsThePartInFlight(t *testing.T) {
	w := newWorld(t, ecr.CreateRepositoryInput{})
	data := bytes.Repeat([]byte("0123456789abcdef"), 12<<20/16)
	host, _, _ := strings.Cut(*w.repo.RepositoryUri, "/")
	at := w.upload("POST", "http://"+host+"/v2/team/api/blobs/uploads/", nil, nil).Header.Get("Location")
	w.s.Services.ECR.Turn(sandboxecr.Knobs{CutAfter: 11 << 20})
	if res := w.upload("PATCH", at, bytes.NewReader(data), nil); res != nil {
		t.Errorf("it was not cut: %s", res.Status)
	}
	if got := w.upload("GET", at, nil, nil).Header.Get("Range"); got != "0-10485759" {
		t.Errorf("kept: %s, want two parts of 5 MiB", got)
	}
	if res := w.upload("PATCH", at, bytes.NewReader(data), map[string]string{"Content-Range": "5-100"}); res.StatusCode != 416 {
		t.Errorf("a chunk at the wrong place: %s", res.Status)
	}
	if res := w.upload("PATCH", at, bytes.NewReader(data[10<<20:]), map[string]string{"Content-Range": "10485760-12582911"}); res.StatusCode != 202 {
		t.Errorf("the rest: %s", res.Status)
	}
	if res := w.upload("PATCH", at, strings.NewReader("more"), nil); res.StatusCode != 400 {
		t.Errorf("a part after a short one: %s", res.Status)
	}
	if res := w.upload("PUT", at+"?digest=sha256:"+strings.Repeat("0", 64), nil, nil); res.StatusCode != 400 {
		t.Errorf("a wrong digest: %s", res.Status)
	}
	digest := fmt.Sprintf("sha256:%x", sha256.Sum256(data))
	if res := w.upload("PUT", at+"?digest="+digest, nil, nil); res.StatusCode != 201 {
		t.Errorf("the end: %s", res.Status)
	}
	out, err := w.ecr.BatchCheckLayerAvailability(t.Context(), &ecr.BatchCheckLayerAvailabilityInput{RepositoryName: w.repo.RepositoryName, LayerDigests: []string{digest}})
	if err != nil || out.Layers[0].LayerAvailability != "AVAILABLE" {
		t.Errorf("%+v, %v", out, err)
	}
}

func TestFaultsHitTheRegistryToo(t *testing.T) {
	w := newWorld(t, ecr.CreateRepositoryInput{})
	img := w.image(100)
	for _, c := range []struct {
		fault api.Fault
		want  int
	}{
		{api.Fault{Kind: api.FaultThrottle, Action: "UploadLayerPart"}, 429},
		{api.Fault{Kind: api.FaultError, Action: "PutImage"}, 500},
		{api.Fault{Kind: api.FaultLost, Action: "PutImage"}, 0},
	} {
		w.s.Faults.Clear()
		if err := w.s.Faults.Add(c.fault); err != nil {
			t.Fatal(err)
		}
		err := w.push("x", img)
		if s, text := status(err); err == nil || s != c.want {
			t.Errorf("%+v: %d %s", c.fault, s, text)
		}
	}
	if _, err := remote.Head(w.tag("x"), w.auth(w.ecr)); err != nil {
		t.Errorf("what was done before its answer was lost is not there: %v", err)
	}
	if n := w.s.Faults.Counts()["ecr:PutImage"]; n != 2 {
		t.Errorf("%d calls of PutImage are counted", n)
	}
}

func TestScansTakeTimeAndFindWhatTheyAreTold(t *testing.T) {
	w := newWorld(t, ecr.CreateRepositoryInput{ImageScanningConfiguration: &types.ImageScanningConfiguration{ScanOnPush: true}})
	w.s.World.Pace = 1
	digest := w.mustPush("v1", w.image(100))
	ids := []types.ImageIdentifier{{ImageTag: aws.String("v1")}}
	get := func() (*ecr.DescribeImageScanFindingsOutput, error) {
		return w.ecr.DescribeImageScanFindings(t.Context(), &ecr.DescribeImageScanFindingsInput{RepositoryName: w.repo.RepositoryName, ImageId: &ids[0]})
	}
	out, err := get()
	if err != nil || out.ImageScanStatus.Status != "IN_PROGRESS" {
		t.Fatalf("%+v, %v", out, err)
	}
	if err := w.s.Services.ECR.Find(sandboxtest.Account, region, "team/api", digest, []sandboxecr.Finding{{Name: "CVE-1", Severity: "HIGH", Package: "openssl"}, {Name: "CVE-2", Severity: "LOW"}}); err != nil {
		t.Fatal(err)
	}
	w.s.World.Now = func() time.Time { return time.Now().Add(time.Minute) }
	if out, err = get(); err != nil || out.ImageScanStatus.Status != "COMPLETE" || out.ImageScanFindings.FindingSeverityCounts["HIGH"] != 1 || *out.ImageScanFindings.Findings[0].Name != "CVE-1" {
		t.Errorf("%+v, %v", out, err)
	}
	if _, err := w.ecr.StartImageScan(t.Context(), &ecr.StartImageScanInput{RepositoryName: w.repo.RepositoryName, ImageId: &ids[0]}); code(err) != "LimitExceededException" {
		t.Errorf("a second scan in a day: %v", err)
	}
	if _, err := w.ecr.PutRegistryScanningConfiguration(t.Context(), &ecr.PutRegistryScanningConfigurationInput{ScanType: "ENHANCED", Rules: []types.RegistryScanningRule{{ScanFrequency: "CONTINUOUS_SCAN", RepositoryFilters: []types.ScanningRepositoryFilter{{Filter: aws.String("*"), FilterType: "WILDCARD"}}}}}); err != nil {
		t.Fatal(err)
	}
	if out, err = get(); err != nil || out.ImageScanStatus.Status != "ACTIVE" || *out.ImageScanFindings.EnhancedFindings[0].PackageVulnerabilityDetails.VulnerabilityId != "CVE-1" {
		t.Errorf("%+v, %v", out, err)
	}
}

func TestReplicationCopiesToTheOtherRegionsRegistry(t *testing.T) {
	w := newWorld(t, ecr.CreateRepositoryInput{})
	if _, err := w.ecr.PutReplicationConfiguration(t.Context(), &ecr.PutReplicationConfigurationInput{ReplicationConfiguration: &types.ReplicationConfiguration{Rules: []types.ReplicationRule{{Destinations: []types.ReplicationDestination{{Region: aws.String("us-east-1"), RegistryId: aws.String(sandboxtest.Account)}}}}}}); err != nil {
		t.Fatal(err)
	}
	w.s.World.Pace = 1
	img := w.image(100)
	w.mustPush("v1", img)
	state := func() string {
		out, err := w.ecr.DescribeImageReplicationStatus(t.Context(), &ecr.DescribeImageReplicationStatusInput{RepositoryName: w.repo.RepositoryName, ImageId: &types.ImageIdentifier{ImageTag: aws.String("v1")}})
		if err != nil {
			t.Fatal(err)
		}
		return string(out.ReplicationStatuses[0].Status)
	}
	if got := state(); got != "IN_PROGRESS" {
		t.Errorf("at once: %s", got)
	}
	w.s.World.Now = func() time.Time { return time.Now().Add(time.Minute) }
	if got := state(); got != "COMPLETE" {
		t.Errorf("in the end: %s", got)
	}
	there := ecr.NewFromConfig(sandboxtest.Config(w.s, "us-east-1"))
	out, err := there.DescribeRepositories(t.Context(), &ecr.DescribeRepositoriesInput{RepositoryNames: []string{"team/api"}})
	if err != nil {
		t.Fatal(err)
	}
	ref, _ := name.ParseReference(*out.Repositories[0].RepositoryUri + ":v1")
	got, err := remote.Image(ref, w.auth(there))
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Image(got); err != nil {
		t.Error(err)
	}
}

func TestALifecyclePolicyRemovesWhatItSays(t *testing.T) {
	w := newWorld(t, ecr.CreateRepositoryInput{})
	w.s.World.Pace = 1
	var digests []string
	for i := range 4 {
		w.s.World.Now = func() time.Time { return time.Now().Add(time.Duration(i) * time.Minute) }
		digests = append(digests, w.mustPush(fmt.Sprintf("v%d", i), w.image(10)))
	}
	w.mustPush("release", mutate.MediaType(w.image(10), "application/vnd.oci.image.manifest.v1+json"))
	policy := `{"rules": [{"rulePriority": 1, "description": "keep two of the versions that there are", "selection": {"tagStatus": "tagged", "tagPrefixList": ["v"], "countType": "imageCountMoreThan", "countNumber": 2}, "action": {"type": "expire"}}]}`
	if _, err := w.ecr.PutLifecyclePolicy(t.Context(), &ecr.PutLifecyclePolicyInput{RepositoryName: w.repo.RepositoryName, LifecyclePolicyText: aws.String(strings.Replace(policy, "tagged", "both", 1))}); code(err) != "InvalidParameterException" {
		t.Errorf("a wrong policy: %v", err)
	}
	if _, err := w.ecr.PutLifecyclePolicy(t.Context(), &ecr.PutLifecyclePolicyInput{RepositoryName: w.repo.RepositoryName, LifecyclePolicyText: &policy}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.ecr.StartLifecyclePolicyPreview(t.Context(), &ecr.StartLifecyclePolicyPreviewInput{RepositoryName: w.repo.RepositoryName}); err != nil {
		t.Fatal(err)
	}
	preview, err := w.ecr.GetLifecyclePolicyPreview(t.Context(), &ecr.GetLifecyclePolicyPreviewInput{RepositoryName: w.repo.RepositoryName})
	if err != nil || preview.Summary == nil || *preview.Summary.ExpiringImageTotalCount != 2 {
		t.Errorf("%+v, %v", preview, err)
	}
	w.s.World.Now = func() time.Time { return time.Now().Add(25 * time.Hour) }
	left, err := w.ecr.ListImages(t.Context(), &ecr.ListImagesInput{RepositoryName: w.repo.RepositoryName})
	if err != nil {
		t.Fatal(err)
	}
	have := map[string]bool{}
	for _, id := range left.ImageIds {
		have[*id.ImageTag] = true
	}
	if diff := cmp.Diff(map[string]bool{"v2": true, "v3": true, "release": true}, have); diff != "" {
		t.Error(diff, digests)
	}
}

func TestAnotherAccountNeedsTheRepositorysPolicy(t *testing.T) {
	w := newWorld(t, ecr.CreateRepositoryInput{})
	w.mustPush("v1", w.image(10))
	other := ecr.NewFromConfig(sandboxtest.ConfigAs(w.s, region, "444455556666", "x", ""))
	pull := func() error { _, err := remote.Image(w.tag("v1"), w.auth(other)); return err }
	if s, c := status(pull()); s != 403 || c != "DENIED" {
		t.Errorf("without a policy: %d %s", s, c)
	}
	if _, err := w.ecr.SetRepositoryPolicy(t.Context(), &ecr.SetRepositoryPolicyInput{RepositoryName: w.repo.RepositoryName, PolicyText: aws.String(`{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::444455556666:root"}, "Action": ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]}]}`)}); err != nil {
		t.Fatal(err)
	}
	if err := pull(); err != nil {
		t.Errorf("with a policy: %v", err)
	}
}

func TestRepositoriesAreMadeByPushAndByPullThrough(t *testing.T) {
	w := newWorld(t, ecr.CreateRepositoryInput{})
	upstream := w.image(100)
	w.mustPush("v1", upstream)
	host, _, _ := strings.Cut(*w.repo.RepositoryUri, "/")
	pushed, _ := name.NewTag(host + "/made/by/push:1")
	if s, _ := status(remote.Write(pushed, w.image(10), w.auth(w.ecr))); s != 404 {
		t.Errorf("without a template: %d", s)
	}
	if _, err := w.ecr.CreateRepositoryCreationTemplate(t.Context(), &ecr.CreateRepositoryCreationTemplateInput{Prefix: aws.String("made"), AppliedFor: []types.RCTAppliedFor{"CREATE_ON_PUSH"}, ImageTagMutability: "IMMUTABLE"}); err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(pushed, w.image(10), w.auth(w.ecr)); err != nil {
		t.Error(err)
	}
	out, err := w.ecr.DescribeRepositories(t.Context(), &ecr.DescribeRepositoriesInput{RepositoryNames: []string{"made/by/push"}})
	if err != nil || out.Repositories[0].ImageTagMutability != "IMMUTABLE" {
		t.Errorf("%+v, %v", out, err)
	}
	// ECR Public is an upstream without a login.
	free := pushPublic(t, w, upstream)
	for _, c := range []struct{ url, want string }{{"example.com", "UnsupportedUpstreamRegistryException"}, {"registry-1.docker.io", "InvalidParameterException"}, {free, ""}} {
		_, err := w.ecr.CreatePullThroughCacheRule(t.Context(), &ecr.CreatePullThroughCacheRuleInput{EcrRepositoryPrefix: aws.String("cache"), UpstreamRegistryUrl: &c.url})
		if code(err) != c.want {
			t.Errorf("%s: %v, want %q", c.url, err, c.want)
		}
	}
	cached, _ := name.NewTag(host + "/cache/a2223333/base:1")
	got, err := remote.Image(cached, w.auth(w.ecr))
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Image(got); err != nil {
		t.Error(err)
	}
	if _, err := remote.Image(cached.Context().Tag("none"), w.auth(w.ecr)); err == nil {
		t.Error("what is not upstream is pulled")
	}
}
