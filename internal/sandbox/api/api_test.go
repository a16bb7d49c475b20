package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"

	"bake/internal/sandbox/api"
)

type tag struct {
	Key   string `q:"Key" xml:"key"`
	Value string `q:"Value" xml:"value"`
}

type volume struct {
	ID      string    `xml:"volumeId"`
	Size    int32     `xml:"size"`
	Created time.Time `xml:"createTime"`
	Tags    []tag     `xml:"tagSet>item"`
}

// shop is a service of each protocol, with one idea: things that are made and listed.
type shop struct {
	volumes []volume
	caller  api.Call
}

type createVolume struct {
	Zone  string `q:"AvailabilityZone,required"`
	Size  int32  `q:"Size"`
	Token string `q:"ClientToken"`
	Specs []struct {
		Type string `q:"ResourceType"`
		Tags []tag  `q:"Tag"`
	} `q:"TagSpecification"`
}

func (s *shop) services() []*api.Service {
	create := func(_ context.Context, c *api.Call, in *createVolume) (*volume, error) {
		s.caller = *c
		v := volume{ID: "vol-0a", Size: in.Size, Created: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
		for _, spec := range in.Specs {
			v.Tags = append(v.Tags, spec.Tags...)
		}
		s.volumes = append(s.volumes, v)
		return &v, nil
	}
	type describeIn struct {
		IDs []string `q:"VolumeId"`
		Max int      `q:"MaxResults"`
	}
	type describeOut struct {
		Volumes []volume `xml:"volumeSet>item"`
	}
	describe := func(_ context.Context, c *api.Call, in *describeIn) (*describeOut, error) {
		var out describeOut
		for _, v := range s.volumes {
			// Asked twice: a call is told the same.
			if first, again := c.Hidden(v.ID), c.Hidden(v.ID); !first && !again {
				out.Volumes = append(out.Volumes, v)
			}
		}
		if len(in.IDs) > 0 && len(out.Volumes) == 0 {
			return nil, api.Errorf("InvalidVolume.NotFound", "The volume '%s' does not exist.", in.IDs[0])
		}
		return &out, nil
	}
	type role struct {
		Name string `xml:"RoleName"`
	}
	type rolesOut struct {
		Roles     []role `xml:"Roles>member"`
		Truncated bool   `xml:"IsTruncated"`
	}
	roles := func(context.Context, *api.Call, *struct{}) (*rolesOut, error) {
		return &rolesOut{Roles: []role{{"a<b"}}}, nil
	}
	type identity struct{ Account, Arn, UserId string }
	whoami := func(_ context.Context, c *api.Call, _ *struct{}) (*identity, error) {
		return &identity{c.Account, c.Caller, c.UserID}, nil
	}
	type clustersOut struct {
		Arns []string `json:"clusterArns"`
	}
	clusters := func(context.Context, *api.Call, *struct {
		Max int `json:"maxResults"`
	}) (*clustersOut, error) {
		return &clustersOut{}, nil
	}
	missing := func(context.Context, *api.Call, *struct{ Cluster, Task string }) (*struct{}, error) {
		e := api.Errorf("ClusterNotFoundException", "Cluster not found.")
		return nil, e
	}
	type alarm struct {
		AlarmName  string
		StateValue string
		Threshold  float64
		Updated    time.Time `json:"StateUpdatedTimestamp"`
	}
	type alarmsOut struct{ MetricAlarms []alarm }
	alarms := func(_ context.Context, _ *api.Call, in *struct {
		AlarmNames []string
	}) (*alarmsOut, error) {
		return &alarmsOut{[]alarm{{in.AlarmNames[0], "OK", 1.5, time.Unix(1700000000, 0)}}}, nil
	}
	return []*api.Service{
		{Name: "ec2", Protocol: api.EC2, Version: "2016-11-15", XMLNS: "http://ec2.amazonaws.com/doc/2016-11-15/", Actions: map[string]api.Action{
			"CreateVolume": api.Do(create), "DescribeVolumes": api.Do(describe)}},
		{Name: "iam", Protocol: api.Query, Version: "2010-05-08", XMLNS: "https://iam.amazonaws.com/doc/2010-05-08/", Actions: map[string]api.Action{
			"ListRoles": api.Do(roles)}},
		{Name: "sts", Protocol: api.Query, Version: "2011-06-15", XMLNS: "https://sts.amazonaws.com/doc/2011-06-15/", Actions: map[string]api.Action{
			"GetCallerIdentity": api.Do(whoami)}},
		{Name: "ecs", Protocol: api.JSON, Target: "AmazonEC2ContainerServiceV20141113", Actions: map[string]api.Action{
			"ListClusters": api.Do(clusters), "StopTask": api.Do(missing)}},
		{Name: "monitoring", Protocol: api.Query, Version: "2010-08-01", Target: "GraniteServiceVersion20100801", Actions: map[string]api.Action{
			"DescribeAlarms": api.Do(alarms)}},
	}
}

type issued map[string]api.Caller

func (k issued) Caller(key string) (api.Caller, bool) { c, ok := k[key]; return c, ok }

// serve starts a sandbox of the shop's services.
func serve(t *testing.T) (*shop, *api.Server, aws.Config) {
	t.Helper()
	s := new(shop)
	server := api.NewServer(&api.World{Account: "111122223333", Now: time.Now}, s.services()...)
	h := httptest.NewServer(server)
	t.Cleanup(h.Close)
	h.Config.ErrorLog = nil
	return s, server, aws.Config{
		Region: "eu-west-1", BaseEndpoint: aws.String(h.URL),
		Credentials: credentials.NewStaticCredentialsProvider("any", "any", ""),
		Retryer:     func() aws.Retryer { return aws.NopRetryer{} },
	}
}

// code is the error code that AWS answered, with its HTTP status.
func code(err error) string {
	var e smithy.APIError
	if errors.As(err, &e) {
		return e.ErrorCode()
	}
	if err != nil {
		return "no answer"
	}
	return ""
}

func TestTheSDKSpeaksEveryProtocol(t *testing.T) {
	s, _, cfg := serve(t)
	ctx := t.Context()
	v, err := ec2.NewFromConfig(cfg).CreateVolume(ctx, &ec2.CreateVolumeInput{AvailabilityZone: aws.String("eu-west-1a"), Size: aws.Int32(8),
		TagSpecifications: []ec2types.TagSpecification{{ResourceType: "volume", Tags: []ec2types.Tag{{Key: aws.String("k"), Value: aws.String("ä&<")}}}}})
	if err != nil {
		t.Fatal(err)
	}
	if *v.VolumeId != "vol-0a" || *v.Size != 8 || *v.Tags[0].Value != "ä&<" || !v.CreateTime.Equal(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)) {
		t.Errorf("volume: %+v", v)
	}
	want := api.Call{Service: "ec2", Action: "CreateVolume", Region: "eu-west-1", Account: "111122223333", AccessKey: "any", SourceIP: "127.0.0.1", Caller: "arn:aws:iam::111122223333:user/sandbox"}
	s.caller.RequestID, s.caller.UserID = "", ""
	if diff := cmp.Diff(want, s.caller, cmp.FilterPath(func(p cmp.Path) bool {
		return strings.HasPrefix(p.Last().String(), ".p") || p.Last().String() == ".contentType"
	}, cmp.Ignore())); diff != "" {
		t.Error(diff)
	}
	roles, err := iam.NewFromConfig(cfg).ListRoles(ctx, nil)
	if err != nil || *roles.Roles[0].RoleName != "a<b" {
		t.Errorf("roles: %+v, %v", roles, err)
	}
	clusters, err := ecs.NewFromConfig(cfg).ListClusters(ctx, nil)
	if err != nil || clusters.ClusterArns == nil {
		t.Errorf("clusters: %+v, %v: an empty list is not null", clusters, err)
	}
	alarms, err := cloudwatch.NewFromConfig(cfg).DescribeAlarms(ctx, &cloudwatch.DescribeAlarmsInput{AlarmNames: []string{"high"}})
	if err != nil {
		t.Fatal(err)
	}
	if a := alarms.MetricAlarms[0]; *a.AlarmName != "high" || *a.Threshold != 1.5 || a.StateUpdatedTimestamp.Unix() != 1700000000 {
		t.Errorf("alarm: %+v", a)
	}
}

func TestErrorsAreThoseOfTheProtocol(t *testing.T) {
	_, _, cfg := serve(t)
	ctx := t.Context()
	e := ec2.NewFromConfig(cfg)
	for _, c := range []struct {
		name string
		call func() error
		want string
	}{
		{"not found", func() error {
			_, err := e.DescribeVolumes(ctx, &ec2.DescribeVolumesInput{VolumeIds: []string{"vol-1"}})
			return err
		}, "InvalidVolume.NotFound"},
		{"an unknown parameter", func() error {
			_, err := e.DescribeVolumes(ctx, &ec2.DescribeVolumesInput{NextToken: aws.String("x")})
			return err
		}, "UnknownParameter"},
		{"an unknown action", func() error { _, err := e.DescribeHosts(ctx, nil); return err }, "InvalidAction"},
		{"a dry run", func() error {
			_, err := e.CreateVolume(ctx, &ec2.CreateVolumeInput{AvailabilityZone: aws.String("a"), DryRun: aws.Bool(true)})
			return err
		}, "DryRunOperation"},
		{"JSON", func() error {
			_, err := ecs.NewFromConfig(cfg).StopTask(ctx, &ecs.StopTaskInput{Task: aws.String("t")})
			return err
		}, "ClusterNotFoundException"},
		{"an unknown JSON action", func() error {
			_, err := ecs.NewFromConfig(cfg).ListAccountSettings(ctx, nil)
			return err
		}, "UnknownOperationException"},
		{"an unknown query action", func() error { _, err := iam.NewFromConfig(cfg).ListUsers(ctx, nil); return err }, "InvalidAction"},
		{"an unknown CBOR action", func() error {
			_, err := cloudwatch.NewFromConfig(cfg).ListMetrics(ctx, nil)
			return err
		}, "UnknownOperationException"},
	} {
		if got := code(c.call()); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

func TestKeysThatTheSandboxGaveOutAreVerified(t *testing.T) {
	_, server, cfg := serve(t)
	server.Keys = issued{
		"AKIAUSER":            {Account: "111122223333", ARN: "arn:aws:iam::111122223333:user/ann", Secret: "right"},
		"ASIASESSION00000000": {Account: "444455556666", ARN: "arn:aws:sts::444455556666:assumed-role/r/s", Secret: "right", Token: "token", Expires: time.Now().Add(time.Hour)},
		"AKIAOFF":             {Account: "111122223333", Secret: "right", Off: true},
		"ASIAOLD000000000000": {Account: "444455556666", Secret: "right", Token: "token", Expires: time.Now().Add(-time.Second)},
	}
	as := func(key, secret, token string) aws.Config {
		c := cfg.Copy()
		c.Credentials = credentials.NewStaticCredentialsProvider(key, secret, token)
		return c
	}
	for _, c := range []struct {
		name                 string
		key, secret, token   string
		queryCode, ec2, json string
		account              string
	}{
		{"a user", "AKIAUSER", "right", "", "", "", "", "111122223333"},
		{"a session", "ASIASESSION00000000", "right", "token", "", "", "", "444455556666"},
		{"any key", "whatever", "x", "", "", "", "", "111122223333"},
		{"an account as key", "999900001111", "x", "", "", "", "", "999900001111"},
		{"an inactive key", "AKIAOFF", "right", "", "InvalidClientTokenId", "AuthFailure", "UnrecognizedClientException", ""},
		{"a wrong secret", "AKIAUSER", "wrong", "", "SignatureDoesNotMatch", "AuthFailure", "InvalidSignatureException", ""},
		{"a wrong token", "ASIASESSION00000000", "right", "other", "InvalidClientTokenId", "AuthFailure", "UnrecognizedClientException", ""},
		{"a session that never was", "ASIANEVER0000000000", "right", "token", "InvalidClientTokenId", "AuthFailure", "UnrecognizedClientException", ""},
		{"an expired session", "ASIAOLD000000000000", "right", "token", "ExpiredToken", "RequestExpired", "ExpiredTokenException", ""},
	} {
		cfg := as(c.key, c.secret, c.token)
		out, err := sts.NewFromConfig(cfg).GetCallerIdentity(t.Context(), nil)
		if got := code(err); got != c.queryCode {
			t.Errorf("%s: query: %q, want %q", c.name, got, c.queryCode)
		}
		if err == nil && *out.Account != c.account {
			t.Errorf("%s: account %s, want %s", c.name, *out.Account, c.account)
		}
		_, err = ec2.NewFromConfig(cfg).DescribeVolumes(t.Context(), nil)
		if got := code(err); got != c.ec2 {
			t.Errorf("%s: ec2: %q, want %q", c.name, got, c.ec2)
		}
		_, err = ecs.NewFromConfig(cfg).ListClusters(t.Context(), nil)
		if got := code(err); got != c.json {
			t.Errorf("%s: json: %q, want %q", c.name, got, c.json)
		}
	}
}

func TestARequestWithAWrongClockIsRefused(t *testing.T) {
	_, _, cfg := serve(t)
	for _, c := range []struct {
		ago  time.Duration
		want int
	}{{0, 200}, {4 * time.Minute, 200}, {6 * time.Minute, 403}, {-6 * time.Minute, 403}} {
		body := "Action=GetCallerIdentity&Version=2011-06-15"
		r, _ := http.NewRequestWithContext(t.Context(), "POST", *cfg.BaseEndpoint+"/", strings.NewReader(body))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		err := v4.NewSigner().SignHTTP(t.Context(), aws.Credentials{AccessKeyID: "k", SecretAccessKey: "s"}, r, "x", "sts", "eu-west-1", time.Now().Add(-c.ago))
		if err != nil {
			t.Fatal(err)
		}
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		answer, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if res.StatusCode != c.want {
			t.Errorf("%s ago: %d %s", c.ago, res.StatusCode, answer)
		}
	}
}

func TestAPresignedURLIsVerified(t *testing.T) {
	_, server, cfg := serve(t)
	server.Keys = issued{"AKIAUSER": {Account: "111122223333", ARN: "arn:aws:iam::111122223333:user/ann", Secret: "right"}}
	for secret, want := range map[string]int{"right": 200, "wrong": 403} {
		c := cfg.Copy()
		c.Credentials = credentials.NewStaticCredentialsProvider("AKIAUSER", secret, "")
		p, err := sts.NewPresignClient(sts.NewFromConfig(c)).PresignGetCallerIdentity(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := http.Get(p.URL)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if res.StatusCode != want {
			t.Errorf("%s: %d %s", secret, res.StatusCode, body)
		}
	}
}

func TestFaultsHitTheCallsTheyName(t *testing.T) {
	s, server, cfg := serve(t)
	e, c := ec2.NewFromConfig(cfg), ecs.NewFromConfig(cfg)
	create := func() string {
		_, err := e.CreateVolume(t.Context(), &ec2.CreateVolumeInput{AvailabilityZone: aws.String("a")})
		return code(err)
	}
	list := func() string { _, err := c.ListClusters(t.Context(), nil); return code(err) }
	for _, f := range []struct {
		fault api.Fault
		call  func() string
		want  []string
		made  int
	}{
		{api.Fault{Kind: api.FaultError, Action: "CreateVolume", Code: "VolumeLimitExceeded", After: 1}, create, []string{"", "VolumeLimitExceeded", ""}, 2},
		{api.Fault{Kind: api.FaultThrottle, Service: "ec2", Times: 2}, create, []string{"RequestLimitExceeded", "RequestLimitExceeded", ""}, 1},
		{api.Fault{Kind: api.FaultThrottle, Service: "ecs", Times: -1}, list, []string{"ThrottlingException", "ThrottlingException"}, 0},
		{api.Fault{Kind: api.FaultLost, Action: "CreateVolume"}, create, []string{"no answer", ""}, 2},
		{api.Fault{Kind: api.FaultDrop, Action: "CreateVolume"}, create, []string{"no answer", ""}, 1},
		{api.Fault{Kind: api.FaultError, Service: "iam"}, create, []string{""}, 1},
		{api.Fault{Kind: api.FaultError, Region: "us-east-1"}, create, []string{""}, 1},
	} {
		server.Faults.Clear()
		s.volumes = nil
		if err := server.Faults.Add(f.fault); err != nil {
			t.Fatal(err)
		}
		for i, want := range f.want {
			if got := f.call(); got != want {
				t.Errorf("%+v, call %d: %q, want %q", f.fault, i+1, got, want)
			}
		}
		if len(s.volumes) != f.made {
			t.Errorf("%+v: %d volumes, want %d", f.fault, len(s.volumes), f.made)
		}
	}
}

func TestHiddenResourcesAppearAfterSoManyReads(t *testing.T) {
	s, server, cfg := serve(t)
	s.volumes = []volume{{ID: "vol-old"}}
	if err := server.Faults.Add(api.Fault{Kind: api.FaultHidden, Times: 2}); err != nil {
		t.Fatal(err)
	}
	e := ec2.NewFromConfig(cfg)
	if _, err := e.CreateVolume(t.Context(), &ec2.CreateVolumeInput{AvailabilityZone: aws.String("a")}); err != nil {
		t.Fatal(err)
	}
	for i, want := range []int{1, 1, 2, 2} {
		out, err := e.DescribeVolumes(t.Context(), nil)
		if err != nil || len(out.Volumes) != want {
			t.Errorf("read %d: %d volumes, want %d (%v)", i+1, len(out.Volumes), want, err)
		}
	}
}

func TestAHookSeesTheNthCallBeforeAndAfterItIsDone(t *testing.T) {
	s, server, cfg := serve(t)
	var seen []int
	var made atomic.Int32
	server.Faults.OnCall(func(c *api.Call, n int, done bool) {
		if c.Action == "CreateVolume" {
			seen = append(seen, n)
			made.Store(int32(len(s.volumes)))
			if done && made.Load() != int32(n) {
				t.Errorf("call %d is done, but %d volumes are there", n, made.Load())
			}
		}
	})
	for range 2 {
		if _, err := ec2.NewFromConfig(cfg).CreateVolume(t.Context(), &ec2.CreateVolumeInput{AvailabilityZone: aws.String("a")}); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff([]int{1, 1, 2, 2}, seen); diff != "" {
		t.Error(diff)
	}
}

func TestTheSandboxIsControlledOverHTTP(t *testing.T) {
	_, _, cfg := serve(t)
	do := func(method, path, body string) (int, string) {
		t.Helper()
		r, _ := http.NewRequestWithContext(t.Context(), method, *cfg.BaseEndpoint+"/_sandbox/"+path, strings.NewReader(body))
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		data, _ := io.ReadAll(res.Body)
		return res.StatusCode, string(data)
	}
	if status, text := do("POST", "faults", `{"kind": "slow", "action": "ListRoles", "delay": "30ms"}`); status != 200 {
		t.Fatal(status, text)
	}
	for _, bad := range []string{`{"kind": "slow"}`, `{"kind": "odd"}`, `{"knid": "error"}`, `[`} {
		if status, text := do("POST", "faults", bad); status != 400 {
			t.Errorf("%s: %d %s", bad, status, text)
		}
	}
	began := time.Now()
	if _, err := iam.NewFromConfig(cfg).ListRoles(t.Context(), nil); err != nil || time.Since(began) < 30*time.Millisecond {
		t.Errorf("%v after %s", err, time.Since(began))
	}
	_, text := do("GET", "calls", "")
	var calls struct {
		Counts map[string]int
		Calls  []api.Entry
	}
	if err := json.Unmarshal([]byte(text), &calls); err != nil {
		t.Fatal(err)
	}
	if calls.Counts["iam:ListRoles"] != 1 || calls.Calls[0].Fault != api.FaultSlow {
		t.Errorf("calls: %s", text)
	}
	do("DELETE", "faults", "")
	if _, text := do("GET", "faults", ""); strings.TrimSpace(text) != "[]" {
		t.Errorf("after DELETE: %s", text)
	}
}

func TestEmptyListsAreEmptyElements(t *testing.T) {
	_, _, cfg := serve(t)
	r, _ := http.NewRequestWithContext(t.Context(), "POST", *cfg.BaseEndpoint+"/", bytes.NewBufferString("Action=DescribeVolumes&Version=2016-11-15"))
	r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=k/20260101/eu-west-1/ec2/aws4_request, SignedHeaders=host, Signature=00")
	r.Header.Set("X-Amz-Date", time.Now().UTC().Format("20060102T150405Z"))
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	data, _ := io.ReadAll(res.Body)
	if !strings.Contains(string(data), "<volumeSet></volumeSet>") {
		t.Errorf("%s", data)
	}
}
