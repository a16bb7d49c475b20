package elb_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	sdk "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"

	"bake/internal/sandbox/api"
	"bake/internal/sandbox/elb"
)

type world struct {
	t   *testing.T
	elb *elb.T
	*sdk.Client
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &api.World{Dir: t.TempDir(), Account: "123456789012", Now: time.Now}
	e := elb.New(w, nil)
	server := httptest.NewServer(api.NewServer(w, e.Service()))
	t.Cleanup(func() {
		server.Close()
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return &world{t, e, sdk.NewFromConfig(aws.Config{Region: "eu-west-1", BaseEndpoint: &server.URL, Credentials: credentials.NewStaticCredentialsProvider("AKIA", "secret", "")})}
}

func (w *world) check(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// balancer makes a load balancer with a listener on a free port, which forwards to groups.
func (w *world) balancer(weights map[string]int32) (url, listener string) {
	w.t.Helper()
	b, err := w.CreateLoadBalancer(w.t.Context(), &sdk.CreateLoadBalancerInput{Name: aws.String("web"), Subnets: []string{"subnet-1", "subnet-2"}})
	w.check(err)
	var f types.ForwardActionConfig
	for arn, n := range weights {
		f.TargetGroups = append(f.TargetGroups, types.TargetGroupTuple{TargetGroupArn: &arn, Weight: &n})
	}
	l, err := w.CreateListener(w.t.Context(), &sdk.CreateListenerInput{LoadBalancerArn: b.LoadBalancers[0].LoadBalancerArn, Port: aws.Int32(8080), Protocol: types.ProtocolEnumHttp,
		DefaultActions: []types.Action{{Type: types.ActionTypeEnumForward, ForwardConfig: &f}}})
	w.check(err)
	return "http://" + *b.LoadBalancers[0].DNSName + ":8080", *l.Listeners[0].ListenerArn
}

func (w *world) group(name string) string {
	w.t.Helper()
	g, err := w.CreateTargetGroup(w.t.Context(), &sdk.CreateTargetGroupInput{Name: &name, Protocol: types.ProtocolEnumHttp, Port: aws.Int32(80), VpcId: aws.String("vpc-1"), TargetType: types.TargetTypeEnumIp,
		HealthCheckPath: aws.String("/health")})
	w.check(err)
	return *g.TargetGroups[0].TargetGroupArn
}

// target starts a server that says its name, registers it, and returns what makes it ill.
func (w *world) target(group, name string) (*atomic.Int32, *types.TargetDescription) {
	w.t.Helper()
	status := new(atomic.Int32)
	status.Store(http.StatusOK)
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/health" {
			rw.WriteHeader(int(status.Load()))
			return
		}
		fmt.Fprintf(rw, "%s %s %s", name, r.URL.Path, r.Header.Get("X-Forwarded-For"))
	}))
	w.t.Cleanup(server.Close)
	host, port, err := net.SplitHostPort(strings.TrimPrefix(server.URL, "http://"))
	w.check(err)
	n, err := strconv.Atoi(port)
	w.check(err)
	d := &types.TargetDescription{Id: &host, Port: aws.Int32(int32(n))}
	_, err = w.RegisterTargets(w.t.Context(), &sdk.RegisterTargetsInput{TargetGroupArn: &group, Targets: []types.TargetDescription{*d}})
	w.check(err)
	return status, d
}

// awaitHealth waits until a target's state and reason are as wanted.
func (w *world) awaitHealth(group string, d *types.TargetDescription, want string) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 20*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		out, err := w.DescribeTargetHealth(ctx, &sdk.DescribeTargetHealthInput{TargetGroupArn: &group, Targets: []types.TargetDescription{*d}})
		w.check(err)
		h := out.TargetHealthDescriptions[0].TargetHealth
		got := strings.TrimSpace(string(h.State) + " " + string(h.Reason))
		if got == want {
			return
		}
		select {
		case <-ctx.Done():
			w.t.Fatalf("waiting for %q: it is %q", want, got)
		case <-tick.C:
		}
	}
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func TestAListenerPassesRequestsToHealthyTargets(t *testing.T) {
	w := newWorld(t)
	group := w.group("web")
	ill, one := w.target(group, "one")
	w.awaitHealth(group, one, "unused Target.NotInUse")
	url, _ := w.balancer(map[string]int32{group: 1})
	_, two := w.target(group, "two")
	w.awaitHealth(group, one, "healthy")
	w.awaitHealth(group, two, "healthy")
	seen := map[string]bool{}
	for range 4 {
		_, body := get(t, url+"/x")
		name, rest, _ := strings.Cut(body, " ")
		seen[name] = true
		if rest != "/x 127.0.0.1" {
			t.Errorf("the target saw %q", rest)
		}
	}
	if !seen["one"] || !seen["two"] {
		t.Errorf("requests went to %v only", seen)
	}
	ill.Store(http.StatusServiceUnavailable)
	w.awaitHealth(group, one, "unhealthy Target.ResponseCodeMismatch")
	for range 3 {
		if _, body := get(t, url); !strings.HasPrefix(body, "two") {
			t.Errorf("a request went to %q", body)
		}
	}
	_, err := w.DeregisterTargets(t.Context(), &sdk.DeregisterTargetsInput{TargetGroupArn: &group, Targets: []types.TargetDescription{*one, *two}})
	w.check(err)
	w.awaitHealth(group, one, "unused Target.NotRegistered")
	if status, _ := get(t, url); status != http.StatusServiceUnavailable {
		t.Errorf("without targets the status is %d", status)
	}
}

func TestATargetThatDoesNotListenFailsItsChecks(t *testing.T) {
	w := newWorld(t)
	group := w.group("web")
	w.balancer(map[string]int32{group: 1})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	w.check(err)
	port := l.Addr().(*net.TCPAddr).Port
	w.check(l.Close())
	d := types.TargetDescription{Id: aws.String("127.0.0.1"), Port: aws.Int32(int32(port))}
	_, err = w.RegisterTargets(t.Context(), &sdk.RegisterTargetsInput{TargetGroupArn: &group, Targets: []types.TargetDescription{d}})
	w.check(err)
	w.awaitHealth(group, &d, "unhealthy Target.FailedHealthChecks")
}

func TestRulesAndWeightsDecideWhereRequestsGo(t *testing.T) {
	w := newWorld(t)
	blue, green := w.group("blue"), w.group("green")
	url, listener := w.balancer(map[string]int32{blue: 100, green: 0})
	_, b := w.target(blue, "blue")
	_, g := w.target(green, "green")
	w.awaitHealth(blue, b, "healthy")
	w.awaitHealth(green, g, "healthy")
	_, err := w.CreateRule(t.Context(), &sdk.CreateRuleInput{ListenerArn: &listener, Priority: aws.Int32(10), Conditions: []types.RuleCondition{{Field: aws.String("path-pattern"), Values: []string{"/green/*"}}},
		Actions: []types.Action{{Type: types.ActionTypeEnumForward, TargetGroupArn: &green}}})
	w.check(err)
	rules, err := w.DescribeRules(t.Context(), &sdk.DescribeRulesInput{ListenerArn: &listener})
	w.check(err)
	if len(rules.Rules) != 2 || *rules.Rules[1].Priority != "default" || !*rules.Rules[1].IsDefault {
		t.Fatalf("rules: %+v", rules.Rules)
	}
	for path, want := range map[string]string{"/": "blue", "/green/a/b": "green"} {
		if _, body := get(t, url+path); !strings.HasPrefix(body, want) {
			t.Errorf("%s went to %q", path, body)
		}
	}
	w.check(w.elb.Shift(*rules.Rules[1].RuleArn, green, blue, 100))
	if _, body := get(t, url); !strings.HasPrefix(body, "green") {
		t.Errorf("after the shift it went to %q", body)
	}
	if _, err := w.DeleteTargetGroup(t.Context(), &sdk.DeleteTargetGroupInput{TargetGroupArn: &blue}); err == nil || !strings.Contains(err.Error(), "ResourceInUse") {
		t.Errorf("deleting a group in use: %v", err)
	}
}
