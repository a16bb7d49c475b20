package ecr_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"

	"bake/builder"
	"bake/internal/registry"
	"bake/internal/registrytest"
	"bake/internal/sandbox"
	sandboxecr "bake/internal/sandbox/ecr"
	"bake/internal/sandbox/sandboxtest"
	"bake/steps/amazon"
	"bake/steps/amazon/ecr"
)

// find sets what scans of a repository find.
func (w *world) find(t *testing.T, name string, findings ...sandboxecr.Finding) {
	t.Helper()
	if err := w.Services.ECR.Find(sandboxtest.Account, region, name, "*", findings); err != nil {
		t.Fatal(err)
	}
}

// enhanced turns on Inspector's scanning for all repositories.
func (w *world) enhanced(t *testing.T) {
	t.Helper()
	_, err := w.sdk(region).PutRegistryScanningConfiguration(t.Context(), &sdk.PutRegistryScanningConfigurationInput{ScanType: types.ScanTypeEnhanced, Rules: []types.RegistryScanningRule{
		{ScanFrequency: types.ScanFrequencyContinuousScan, RepositoryFilters: []types.ScanningRepositoryFilter{{Filter: aws.String("*"), FilterType: types.ScanningRepositoryFilterTypeWildcard}}}}})
	if err != nil {
		t.Fatal(err)
	}
}

func TestAScanGatesTheOutputBySeverity(t *testing.T) {
	findings := []sandboxecr.Finding{
		{Name: "CVE-2024-1", Severity: "HIGH", Package: "openssl", Version: "3.0", FixedIn: "3.1"},
		{Name: "CVE-2024-2", Severity: "MEDIUM", Package: "zlib", Version: "1.2"},
		{Name: "CVE-2019-3", Severity: "CRITICAL", Package: "bash", Version: "5"},
	}
	for _, enhanced := range []bool{false, true} {
		for _, c := range []struct{ scan, want string }{
			{`{fail_on: high}`, "found 2 of severity high or worse: CVE-2019-3 critical in bash 5; CVE-2024-1 high in openssl 3.0"},
			{`{fail_on: high, ignore: ["CVE-2019-*"]}`, "CVE-2024-1 high in openssl 3.0"},
			{`{fail_on: critical, ignore: [CVE-2019-3]}`, ""},
			{`{fail_on: high, ignore: [CVE-2019-3, CVE-2024-1]}`, ""},
			{`true`, ""},
		} {
			t.Run(fmt.Sprintf("enhanced=%v %s", enhanced, c.scan), func(t *testing.T) {
				w := newWorld(t)
				if enhanced {
					w.enhanced(t)
				}
				w.mustPush(t, `{repository: api, region: eu-west-1, create: true}`, w.image(t, 9))
				w.find(t, "api", findings...)
				p, err := w.push(t, `{repository: api, region: eu-west-1, tags: ["1"], scan: `+c.scan+`}`, w.index(t, 1))
				if c.want != "" {
					if e, ok := errors.AsType[*ecr.FindingsError](err); !ok || !strings.Contains(e.Error(), c.want) || !strings.Contains(hint(err), "ignore") {
						t.Errorf("got %v, want %q", err, c.want)
					}
					return
				}
				if err != nil || p.Values["scan_high"] == "" || p.Values["scan_medium"] != "1" {
					t.Errorf("%v, %+v", err, p)
				}
				if want := map[bool]string{false: "complete", true: "active"}[enhanced]; p.Values["scan_status"] != want {
					t.Errorf("the scan is %q, want %q", p.Values["scan_status"], want)
				}
				if !strings.Contains(p.Values["scan_findings"], "CVE-2024-2") || !strings.Contains(p.Summary, "1 medium") {
					t.Errorf("%+v", p)
				}
			})
		}
	}
}

func TestAScanThatFailsOrCannotBeIsSaid(t *testing.T) {
	w := newWorld(t)
	w.mustPush(t, `{repository: api, region: eu-west-1, create: {scan_on_push: true}}`, w.image(t, 9))
	w.find(t, "api", sandboxecr.Finding{Name: "UNSUPPORTED_IMAGE"})
	p := w.mustPush(t, `{repository: api, region: eu-west-1, tags: ["1"], scan: {fail_on: high}}`, w.image(t, 1))
	if p.Values["scan_status"] != "unsupported_image" || !strings.Contains(p.Summary, "not scanned") {
		t.Errorf("%+v", p)
	}
	if _, err := w.push(t, `{repository: api, region: eu-west-1, tags: ["1"], scan: {unsupported: fail}}`, w.image(t, 1)); err == nil || !strings.Contains(err.Error(), "cannot scan") {
		t.Errorf("unsupported: fail: %v", err)
	}
	w.find(t, "api", sandboxecr.Finding{Name: "FAILED"})
	if _, err := w.push(t, `{repository: api, region: eu-west-1, tags: ["1"], scan: true}`, w.image(t, 1)); err == nil || !strings.Contains(err.Error(), "ended as FAILED") {
		t.Errorf("a failed scan: %v", err)
	}
}

func TestAScanThatDoesNotEndIsTimedOut(t *testing.T) {
	w := newWorldIn(t, sandboxtest.StartWith(t, sandbox.Options{Account: sandboxtest.Account, Pace: 1}))
	began := time.Now()
	_, err := w.push(t, `{repository: api, region: eu-west-1, create: {scan_on_push: true}, scan: {timeout: 1s}}`, w.image(t, 1))
	if err == nil || !strings.Contains(err.Error(), "timed out") || time.Since(began) > 10*time.Second {
		t.Errorf("%v after %s", err, time.Since(began))
	}
}

// replicate makes the registry copy everything to other regions.
func (w *world) replicate(t *testing.T, regions ...string) {
	t.Helper()
	var to []types.ReplicationDestination
	for _, r := range regions {
		to = append(to, types.ReplicationDestination{Region: aws.String(r), RegistryId: aws.String(sandboxtest.Account)})
	}
	_, err := w.sdk(region).PutReplicationConfiguration(t.Context(), &sdk.PutReplicationConfigurationInput{ReplicationConfiguration: &types.ReplicationConfiguration{Rules: []types.ReplicationRule{{Destinations: to}}}})
	if err != nil {
		t.Fatal(err)
	}
}

func TestReplicationIsWaitedFor(t *testing.T) {
	w := newWorldIn(t, sandboxtest.StartWith(t, sandbox.Options{Account: sandboxtest.Account, Pace: 0.03}))
	w.replicate(t, "us-east-1")
	p := w.mustPush(t, `{repository: api, region: eu-west-1, tags: ["1"], create: true, replication: true}`, w.index(t, 1))
	if got := w.held(t, "us-east-1", "api"); len(got) != 3 || fmt.Sprint(got[p.Values["digest"]]) != "[1]" {
		t.Errorf("us-east-1 holds %v", got)
	}
	slow := newWorldIn(t, sandboxtest.StartWith(t, sandbox.Options{Account: sandboxtest.Account, Pace: 1}))
	slow.replicate(t, "us-east-1")
	if _, err := slow.push(t, `{repository: api, region: eu-west-1, tags: ["1"], create: true, replication: {timeout: 1s}}`, slow.image(t, 1)); err == nil || !strings.Contains(err.Error(), "timed out waiting for us-east-1") {
		t.Errorf("%v", err)
	}
	if _, err := newWorld(t).push(t, `{repository: api, region: eu-west-1, create: true, replication: true}`, builder.Image{}); err == nil {
		t.Error("an image that is nowhere was pushed")
	}
}

func TestOldImagesAreDeletedAndIndexesWithTheirImages(t *testing.T) {
	w := newWorld(t)
	const body = `{repository: api, region: eu-west-1, tags: ["%d"], create: true, keep: {tagged: 2, untagged_older_than: 0s}}`
	for n := range 5 {
		w.mustPush(t, fmt.Sprintf(body, n), w.index(t, uint64(n)))
	}
	got := w.held(t, region, "api")
	var tags []string
	for _, t := range got {
		tags = append(tags, t...)
	}
	if len(got) != 6 || len(tags) != 2 || !strings.Contains(strings.Join(tags, " "), "4") || !strings.Contains(strings.Join(tags, " "), "3") {
		t.Errorf("two indexes of two images: %v", got)
	}
	w.mustPush(t, `{repository: api, region: eu-west-1, tags: ["x"], keep: {tagged: 1, dry_run: true}}`, w.index(t, 9))
	if n := len(w.held(t, region, "api")); n != 9 {
		t.Errorf("a dry run left %d of 9", n)
	}
}

func TestBaseImagesInECRNeedNoLogin(t *testing.T) {
	t.Setenv("HOME", t.TempDir())
	w := newWorld(t)
	w.mustPush(t, `{repository: base, region: eu-west-1, tags: ["1"], create: true}`, w.image(t, 1))
	w.process(t)
	name := sandboxtest.Account + ".dkr.ecr.eu-west-1.amazonaws.com/base:1"
	ref, err := registry.ParseReference(name, false)
	if err != nil {
		t.Fatal(err)
	}
	found, err := w.deps.Registry.Find(t.Context(), ref, registry.Pull{Platform: builder.Platform{OS: "linux", Arch: "amd64"}})
	if err != nil {
		t.Fatal(err)
	}
	img, err := w.deps.Registry.Image(t.Context(), ref, found, nil)
	if err != nil {
		t.Fatal(err)
	}
	if layers, err := img.Layers(); err != nil || len(layers) != 1 {
		t.Errorf("%d layers, %v", len(layers), err)
	}
	user, password, err := ecr.Keychain{Tokens: w.deps.Tokens}.Password(t.Context(), ref.Host())
	if err != nil || user != "AWS" || password == "" {
		t.Errorf("an engine that pulls itself gets %q, %v", user, err)
	}
}

func TestAnAddressThatAnEarlierRunPrintedIsPulledFromInTheSandbox(t *testing.T) {
	w := newWorld(t)
	p := w.mustPush(t, `{repository: base, region: us-west-2, tags: ["1"], create: true}`, w.image(t, 1))
	w.process(t)
	ref, err := registry.ParseReference(p.Values["ref"], false)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.deps.Registry.Held(t.Context(), ref); err != nil {
		t.Error(err)
	}
}

func TestWithoutCredentialsTheErrorSaysHowToLogIn(t *testing.T) {
	for _, name := range []string{"AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL"} {
		t.Setenv(name, "")
	}
	t.Setenv("AWS_CONFIG_FILE", "/dev/null")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	t.Setenv("HOME", t.TempDir())
	tokens := ecr.NewTokens(amazon.New(amazon.Options{}))
	c := registry.New(registry.Config{Keychain: ecr.Keychain{Tokens: tokens}, Route: tokens.Route, Retry: registry.Retry{Attempts: 1}})
	ref, err := registry.ParseReference("123456789012.dkr.ecr.eu-west-1.amazonaws.com/base:1", false)
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Find(t.Context(), ref, registry.Pull{})
	if err == nil || !strings.Contains(hint(err), "log in") || strings.Contains(hint(err), "docker login 1") {
		t.Errorf("%v; %s", err, hint(err))
	}
}

func TestImagesComeThroughAPullThroughCache(t *testing.T) {
	w := newWorld(t)
	upstream := registrytest.Memory(t)
	client := registry.New(registry.Config{})
	from, err := registry.ParseReference(upstream+"/library/debian:12", false)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Push(t.Context(), registry.Push{To: from}, registry.Variant{Image: registrytest.Image(t, registrytest.Layer(t, 1, 1000))}); err != nil {
		t.Fatal(err)
	}
	const home = "us-east-1" // the sandbox's own default
	for cache, at := range map[string]string{"ecr": home, sandboxtest.Account + ".dkr.ecr.eu-west-1.amazonaws.com": region} {
		_, err = w.sdk(at).CreatePullThroughCacheRule(t.Context(), &sdk.CreatePullThroughCacheRuleInput{EcrRepositoryPrefix: aws.String("hub"), UpstreamRegistryUrl: aws.String(upstream)})
		if err != nil {
			t.Fatal(err)
		}
		mirror, err := w.deps.PullThrough(t.Context(), cache, from)
		if want := sandboxtest.Account + ".dkr.ecr." + at + ".amazonaws.com/hub"; err != nil || mirror != want {
			t.Fatalf("%s: %s, %v, want %s", cache, mirror, err, want)
		}
		found, err := w.deps.Registry.Find(t.Context(), from, registry.Pull{Platform: builder.Platform{OS: "linux", Arch: "amd64"}, Mirrors: []string{mirror}})
		if err != nil {
			t.Fatal(err)
		}
		if got := w.held(t, at, "hub/library/debian"); len(got) != 1 || got[found.Digest] == nil {
			t.Errorf("the cache in %s holds %v, found %s", at, got, found.Digest)
		}
	}
	other, err := registry.ParseReference("quay.io/a/b", false)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.deps.PullThrough(t.Context(), "ecr", other); err == nil || !strings.Contains(err.Error(), "no pull-through cache rule for quay.io") {
		t.Errorf("an upstream without a rule: %v", err)
	}
}

func TestARepositoryIsListedWithAllThatItHolds(t *testing.T) {
	w := newWorld(t)
	w.mustPush(t, `{repository: api, region: eu-west-1, tags: ["1", latest], create: {scan_on_push: true, immutable: {except: [latest]}}}`, w.image(t, 1))
	w.find(t, "api", sandboxecr.Finding{Name: "CVE-1", Severity: "HIGH"}, sandboxecr.Finding{Name: "CVE-2", Severity: "LOW"})
	second := w.mustPush(t, `{repository: api, region: eu-west-1, tags: ["2", latest]}`, w.index(t, 2))
	for _, name := range []string{"api", sandboxtest.Account + ".dkr.ecr.eu-west-1.amazonaws.com/api"} {
		l, err := w.deps.List(t.Context(), ecr.List{Repository: name, Access: amazon.Access{Region: region}})
		if err != nil {
			t.Fatal(err)
		}
		if l.RegistryID != sandboxtest.Account || l.Total != 4 || l.Settings.Tags != "IMMUTABLE_WITH_EXCLUSION" || !l.Settings.ScanOnPush {
			t.Errorf("%+v", l)
		}
		untagged, scanned := 0, 0
		for _, i := range l.Images {
			if len(i.Tags) == 0 {
				untagged++
			}
			if i.Scan() == "1 high 1 low" {
				scanned++
			}
			if i.Digest == second.Values["digest"] && fmt.Sprint(i.Tags) != "[2 latest]" {
				t.Errorf("%+v", i)
			}
			if i.PushedAt.IsZero() || i.Size == 0 && len(i.Tags) == 1 {
				t.Errorf("%+v", i)
			}
		}
		if untagged != 2 || scanned != 3 {
			t.Errorf("%d untagged, %d scanned: %+v", untagged, scanned, l.Images)
		}
	}
	l, err := w.deps.List(t.Context(), ecr.List{Repository: "api", Access: amazon.Access{Region: region}, Match: "lat", Limit: 1})
	if err != nil || len(l.Images) != 1 || l.Total != 4 || l.Images[0].Digest != second.Values["digest"] {
		t.Errorf("%+v, %v", l, err)
	}
	if _, err := w.deps.List(t.Context(), ecr.List{Repository: "none", Access: amazon.Access{Region: region}}); !errors.Is(err, builder.ErrNotFound) {
		t.Errorf("a repository that is missing: %v", err)
	}
	all, err := w.deps.Repositories(t.Context(), amazon.Access{Region: region})
	if err != nil || len(all) != 1 || all[0].Repository != "api" || all[0].RegistryID != sandboxtest.Account {
		t.Errorf("%+v, %v", all, err)
	}
}
