package ecr

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"github.com/google/go-cmp/cmp"

	"bake/internal/registry"
)

func TestHostsOfECRAreKnownInAllPartitions(t *testing.T) {
	for host, want := range map[string]Host{
		"123456789012.dkr.ecr.eu-west-1.amazonaws.com":          {Account: "123456789012", Region: "eu-west-1"},
		"123456789012.dkr.ecr-fips.us-gov-west-1.amazonaws.com": {Account: "123456789012", Region: "us-gov-west-1"},
		"123456789012.dkr-ecr.eu-west-1.on.aws":                 {Account: "123456789012", Region: "eu-west-1"},
		"123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn":      {Account: "123456789012", Region: "cn-north-1"},
		"public.ecr.aws": {Public: true},
	} {
		if got, ok := ParseHost(host); !ok || got != want {
			t.Errorf("%s: %+v %v", host, got, ok)
		}
	}
	for _, host := range []string{"docker.io", "12.dkr.ecr.eu-west-1.amazonaws.com", "123456789012.dkr.ecr.eu-west-1.amazonaws.com.evil.example", "x123456789012.dkr.ecr.eu-west-1.amazonaws.com"} {
		if got, ok := ParseHost(host); ok {
			t.Errorf("%s is taken for %+v", host, got)
		}
	}
}

func TestATokenIsRenewedBeforeItExpiresAndWhenItIsRefused(t *testing.T) {
	n := 0
	life := 12 * time.Hour
	var fail error
	tok := &token{get: func(context.Context) (credential, error) {
		if fail != nil {
			return credential{}, fail
		}
		n++
		now := time.Now()
		return credential{user: "AWS", password: strings.Repeat("x", n), taken: now, expires: now.Add(life)}, nil
	}}
	use := func() string {
		auth, err := tok.AuthorizationContext(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return auth.Password
	}
	if first, second := use(), use(); first != "x" || second != "x" || n != 1 {
		t.Fatalf("%d tokens were got for two uses", n)
	}
	if ok, err := tok.Renew(t.Context(), "x"); ok || err != nil || n != 1 {
		t.Errorf("a token that was never taken is renewed: %v %v", ok, err)
	}
	tok.have.expires = time.Now().Add(-time.Second)
	if ok, err := tok.Renew(t.Context(), "x"); !ok || err != nil || n != 2 {
		t.Errorf("a token whose time is over is not renewed: %v %v", ok, err)
	}
	n, tok.have.password = 1, "x"
	tok.Accepted("older")
	if ok, _ := tok.Renew(t.Context(), "x"); ok {
		t.Error("a word on another token counts for this one")
	}
	tok.Accepted("x")
	if ok, err := tok.Renew(t.Context(), "x"); !ok || err != nil || use() != "xx" {
		t.Errorf("a token that was taken before is not renewed: %v %v", ok, err)
	}
	if ok, _ := tok.Renew(t.Context(), "x"); !ok || n != 2 {
		t.Errorf("the second request that was refused gets a third token")
	}
	tok.have.taken = time.Now().Add(-12 * time.Hour)
	tok.have.expires = time.Now().Add(time.Minute) // within the margin of five minutes
	if use() != "xxx" {
		t.Error("it is not renewed before it expires")
	}
	tok.have.taken = time.Now().Add(-12 * time.Hour)
	tok.have.expires, fail = time.Now().Add(time.Minute), errors.New("throttled")
	if use() != "xxx" {
		t.Error("a token that is good for a minute is not used when there is no other")
	}
	tok.have.expires = time.Now().Add(-time.Second)
	if _, err := tok.AuthorizationContext(t.Context()); !errors.Is(err, fail) {
		t.Errorf("an expired token is used: %v", err)
	}
}

func TestATokenIsDecoded(t *testing.T) {
	user, password, err := decodeToken("QVdTOnNlY3JldDp3aXRoOmNvbG9ucw==")
	if err != nil || user != "AWS" || password != "secret:with:colons" {
		t.Errorf("%q %q %v", user, password, err)
	}
	for _, bad := range []string{"", "QVdT", "!!"} {
		if _, _, err := decodeToken(bad); err == nil || strings.Contains(err.Error(), "QVdT") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestPoliciesThatSayTheSameAreTheSame(t *testing.T) {
	mine := `{"Version": "2012-10-17", "Statement": [{"Sid": "a", "Effect": "Allow", "Principal": {"AWS": ["210987654321", "arn:aws:iam::1:user/b"]}, "Action": ["ecr:GetDownloadUrlForLayer", "ecr:BatchGetImage"]}]}`
	theirs := `{"Statement":{"Action":["ecr:BatchGetImage","ecr:getDownloadUrlForLayer"],"Effect":"Allow","Sid":"a","Principal":{"AWS":["arn:aws:iam::1:user/b","arn:aws:iam::210987654321:root"]}},"Version":"2012-10-17"}`
	if !samePolicy(mine, theirs) {
		t.Error("they differ")
	}
	if samePolicy(mine, strings.Replace(theirs, "BatchGetImage", "PutImage", 1)) {
		t.Error("another action makes no difference")
	}
	rules := `{"rules":[{"rulePriority":1,"selection":{"tagStatus":"tagged","tagPrefixList":["v"],"countType":"imageCountMoreThan","countNumber":5},"action":{"type":"expire"}}]}`
	if samePolicy(rules, strings.Replace(rules, "5", "6", 1)) || !samePolicy(rules, strings.ReplaceAll(rules, `"rules":`, `  "rules": `)) {
		t.Error("lifecycle policies are compared wrongly")
	}
}

func TestOnlySomeTagsOfARepositoryAreFixed(t *testing.T) {
	filters := []types.ImageTagMutabilityExclusionFilter{{Filter: aws.String("latest")}, {Filter: aws.String("dev-*")}}
	for _, c := range []struct {
		m     types.ImageTagMutability
		fixed []string
	}{
		{types.ImageTagMutabilityMutable, nil},
		{types.ImageTagMutabilityImmutable, []string{"1.0", "latest", "dev-2"}},
		{types.ImageTagMutabilityImmutableWithExclusion, []string{"1.0"}},
		{types.ImageTagMutabilityMutableWithExclusion, []string{"latest", "dev-2"}},
	} {
		fixed := fixedTag(c.m, filters)
		var got []string
		for _, tag := range []string{"1.0", "latest", "dev-2"} {
			if fixed(tag) {
				got = append(got, tag)
			}
		}
		if diff := cmp.Diff(c.fixed, got); diff != "" {
			t.Errorf("%s: %s", c.m, diff)
		}
	}
}

func TestPatternsMatchAsECRs(t *testing.T) {
	for _, c := range []struct {
		pattern, text string
		want          bool
	}{
		{"latest", "latest", true}, {"latest", "latest2", false}, {"dev-*", "dev-", true}, {"*-rc", "1-rc", true},
		{"*-rc", "1-rc1", false}, {"v*.*", "v1.2", true}, {"v*.*", "v1", false}, {"*", "", true}, {"", "x", false},
	} {
		if got := matches(c.pattern, c.text); got != c.want {
			t.Errorf("matches(%q, %q) = %v", c.pattern, c.text, got)
		}
	}
}

// images of a repository, the newest first, an hour apart.
func repositoryOf(list ...held) []held {
	now := time.Date(2026, 1, 10, 0, 0, 0, 0, time.UTC)
	for i := range list {
		list[i].pushed = now.Add(-time.Duration(i) * 24 * time.Hour)
	}
	return list
}

func TestRetentionKeepsWhatIsNewOrUsed(t *testing.T) {
	now := time.Date(2026, 1, 10, 1, 0, 0, 0, time.UTC)
	index := "application/vnd.oci.image.index.v1+json"
	images := repositoryOf(
		held{digest: "pushed", tags: []string{"5"}},
		held{digest: "index", tags: []string{"4"}, mediaType: index, children: []string{"amd", "arm"}},
		held{digest: "amd"}, held{digest: "arm"},
		held{digest: "signature", tags: []string{"sha256-4.sig"}, subject: "index"},
		held{digest: "lost"}, // untagged, of an upload that was replaced
		held{digest: "three", tags: []string{"3"}},
		held{digest: "running", tags: []string{"2"}},
		held{digest: "release", tags: []string{"v1"}},
		held{digest: "old-index", tags: []string{"1"}, mediaType: index, children: []string{"old-amd"}},
		held{digest: "old-amd"},
		held{digest: "old-by-tag", tags: []string{"0", "stable"}},
	)
	for _, c := range []struct {
		name  string
		keep  Keep
		inUse []string
		want  []string // in the order they go
	}{
		{"the newest two", Keep{Tagged: 2, Tags: "*"}, nil,
			[]string{"old-index", "lost", "three", "running", "release", "old-amd", "old-by-tag"}},
		{"what a task runs, by digest and by tag", Keep{Tagged: 2, Tags: "*"}, []string{"running", "stable"},
			[]string{"old-index", "lost", "three", "release", "old-amd"}},
		{"an image of an index that runs keeps itself only", Keep{Tagged: 2, Tags: "*", Protected: []string{"v*", "stable"}}, []string{"old-amd"},
			[]string{"old-index", "lost", "three", "running"}},
		{"untagged alone", Keep{Tags: "*"}, nil, []string{"lost"}},
		{"young untagged ones stay", Keep{Tags: "*", Untagged: 30 * 24 * time.Hour}, nil, nil},
		{"only some tags are ever deleted", Keep{Tagged: 1, Tags: "v*"}, nil, []string{"lost", "release"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			inUse := map[string]bool{}
			for _, id := range c.inUse {
				inUse[id] = true
			}
			var got []string
			for _, h := range c.keep.choose(slices.Clone(images), []string{"pushed"}, inUse, now) {
				got = append(got, h.digest)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestImagesInUseAreKnownByRepositoryWhateverTheirRegionIs(t *testing.T) {
	u := &usage{}
	u.add("1.dkr.ecr.eu-west-1.amazonaws.com/team/api:3", "sha256:abc")
	u.add("123456789012.dkr.ecr.us-east-1.amazonaws.com/team/api@sha256:"+strings.Repeat("d", 64), "")
	u.add("nginx", "")
	u.add("not a name", "")
	want := map[string]bool{"3": true, "sha256:abc": true, "sha256:" + strings.Repeat("d", 64): true}
	if diff := cmp.Diff(want, u.of("team/api")); diff != "" {
		t.Error(diff)
	}
	if u.of("library/nginx")["latest"] != true {
		t.Error("an image without a tag is not taken for latest")
	}
}

func TestFindingsOfBothKindsOfScansAreJudgedAlike(t *testing.T) {
	basic := basicFinding(types.ImageScanFinding{Name: aws.String("CVE-2024-1"), Severity: types.FindingSeverityHigh, Attributes: []types.Attribute{
		{Key: aws.String("package_name"), Value: aws.String("openssl")}, {Key: aws.String("package_version"), Value: aws.String("3.0")}}})
	enhanced := enhancedFindings(types.EnhancedImageScanFinding{Severity: aws.String("CRITICAL"), Title: aws.String("CVE-2024-2 - zlib"), PackageVulnerabilityDetails: &types.PackageVulnerabilityDetails{
		VulnerabilityId: aws.String("CVE-2024-2"), VulnerablePackages: []types.VulnerablePackage{{Name: aws.String("zlib"), Version: aws.String("1"), FixedInVersion: aws.String("2")}, {Name: aws.String("zlib-dev"), FixedInVersion: aws.String("NotAvailable")}}}})
	r := &scanned{findings: append([]finding{basic, basic, {id: "CVE-2019-7", severity: "LOW"}}, enhanced...)}
	s := &Scan{Ignore: []string{"CVE-2019-*"}}
	s.judge(r)
	var got []string
	for _, f := range r.findings {
		got = append(got, f.String())
	}
	want := []string{"CVE-2024-2 critical in zlib 1, fixed in 2", "CVE-2024-2 critical in zlib-dev", "CVE-2024-1 high in openssl 3.0"}
	if diff := cmp.Diff(want, got); diff != "" || r.ignored != 1 || r.String() != "found 2 critical, 1 high" {
		t.Errorf("%s %d %s", diff, r.ignored, r)
	}
	if fixable := (&Scan{OnlyFixable: true}); fixable.ignores(basic) != true || fixable.ignores(enhanced[0]) {
		t.Error("only_fixable counts the wrong ones")
	}
	if got := enhancedFindings(types.EnhancedImageScanFinding{Status: aws.String("SUPPRESSED")}); got != nil {
		t.Errorf("a suppressed finding counts: %v", got)
	}
}

func TestAScanIsDoneOnlyWhenItsStatusSaysSo(t *testing.T) {
	for status, want := range map[types.ScanStatus]string{
		types.ScanStatusComplete: "done", types.ScanStatusActive: "done", types.ScanStatusUnsupportedImage: "done",
		types.ScanStatusInProgress: "wait", types.ScanStatusPending: "wait",
		types.ScanStatusFailed: "error", types.ScanStatusFindingsUnavailable: "error", types.ScanStatusScanEligibilityExpired: "error", types.ScanStatusLimitExceeded: "error",
	} {
		got := "wait"
		done, err := scanDone(&types.ImageScanStatus{Status: status}, true)
		if done {
			got = "done"
		}
		if err != nil {
			got = "error"
		}
		if got != want {
			t.Errorf("%s: %s, want %s", status, got, want)
		}
	}
}

func TestARefusalNamesTheStatementThatAllowsThePush(t *testing.T) {
	refused := errors.New("pushing x: denied: User: arn:aws:sts::1:assumed-role/ci/x is not authorized to perform: ecr:InitiateLayerUpload on resource: arn:aws:ecr:eu-west-1:1:repository/api because no identity-based policy allows the ecr:InitiateLayerUpload action")
	var hinted interface{ Hint() string }
	if !errors.As(explainDenied(refused), &hinted) {
		t.Fatal("there is no hint")
	}
	for _, want := range []string{`"ecr:InitiateLayerUpload", "ecr:UploadLayerPart", "ecr:CompleteLayerUpload", "ecr:PutImage"`, `"Resource": "arn:aws:ecr:eu-west-1:1:repository/api"`} {
		if !strings.Contains(hinted.Hint(), want) {
			t.Errorf("%s lacks %s", hinted.Hint(), want)
		}
	}
}

func TestAPullThroughRuleIsFoundByItsUpstream(t *testing.T) {
	rules := []types.PullThroughCacheRule{
		{UpstreamRegistryUrl: aws.String("quay.io"), EcrRepositoryPrefix: aws.String("quay")},
		{UpstreamRegistryUrl: aws.String("registry-1.docker.io"), EcrRepositoryPrefix: aws.String("docker-hub")},
	}
	for image, want := range map[string]string{"debian": "docker-hub", "quay.io/a/b:1": "quay", "ghcr.io/a/b": ""} {
		ref, err := registry.ParseReference(image, false)
		if err != nil {
			t.Fatal(err)
		}
		if rule, ok := ruleFor(rules, ref); ok != (want != "") || aws.ToString(rule.EcrRepositoryPrefix) != want {
			t.Errorf("%s: %v %v", image, aws.ToString(rule.EcrRepositoryPrefix), ok)
		}
	}
}
