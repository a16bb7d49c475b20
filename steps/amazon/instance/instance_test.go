package instance_test

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"bake/builder"
	"bake/builder/buildertest"
	"bake/internal/sandbox"
	"bake/internal/sandbox/api"
	"bake/internal/sandbox/machinetest"
	"bake/internal/sandbox/sandboxtest"
	"bake/steps/amazon"
	"bake/steps/amazon/ami"
	"bake/steps/amazon/instance"
	"bake/templates"
)

const region = "eu-west-1"

// A lab is a sandbox and what publishes instances in it.
type lab struct {
	*sandbox.Sandbox
	t      *testing.T
	cloud  *amazon.Cloud
	client *ec2.Client
	images []string // of this architecture
}

func newLab(t *testing.T) *lab {
	t.Helper()
	machinetest.Program(t)
	s := sandboxtest.Start(t)
	l := &lab{Sandbox: s, t: t, cloud: amazon.New(amazon.Options{Endpoint: s.URL}), client: ec2.NewFromConfig(sandboxtest.Config(s, region))}
	out, err := l.client.DescribeImages(t.Context(), &ec2.DescribeImagesInput{Owners: []string{"amazon"}, Filters: []types.Filter{amazon.Filter("architecture", "x86_64")}})
	if err != nil || len(out.Images) < 2 {
		t.Fatalf("%d images, %v", len(out.Images), err)
	}
	for _, i := range out.Images {
		l.images = append(l.images, aws.ToString(i.ImageId))
	}
	return l
}

// publish hands an image to the output, as a run of its own.
func (l *lab) publish(run, image, text string) (builder.Published, error) {
	l.t.Helper()
	out := instance.New(l.cloud)()
	b, err := templates.FromJSON(templates.JSON(text), templates.Pos{}, nil)
	if err != nil {
		l.t.Fatal(err)
	}
	if diags := templates.Decode(b, out); len(diags) > 0 {
		l.t.Fatal(diags.Err())
	}
	engine := &builder.Engine{Catalog: builder.Catalog{Cleaners: ami.Cleaners(l.cloud)}, Journal: new(buildertest.Memory), Sink: buildertest.Log(l.t), WorkDir: l.t.TempDir()}
	sc := engine.Scope(builder.RunID(run), &builder.Plan{Name: "web", Dir: l.t.TempDir()}, "web/publish/1")
	p, err := out.Publish(l.t.Context(), sc, builder.Artifact{AMI: &builder.AMI{Region: region, ID: image}})
	if err != nil { // as a run that failed ends
		if rerr := engine.Release(l.t.Context()); rerr != nil {
			l.t.Error(rerr)
		}
	}
	return p, err
}

// running are the instances of the name that are not ended, by image.
func (l *lab) running() map[string]string {
	l.t.Helper()
	out, err := l.client.DescribeInstances(l.t.Context(), &ec2.DescribeInstancesInput{Filters: []types.Filter{
		amazon.Filter("tag:Name", "web"), amazon.Filter("instance-state-name", "pending", "running", "stopped")}})
	if err != nil {
		l.t.Fatal(err)
	}
	found := map[string]string{}
	for _, r := range out.Reservations {
		for _, i := range r.Instances {
			found[aws.ToString(i.InstanceId)] = aws.ToString(i.ImageId)
		}
	}
	return found
}

const web = `{"name": "web", "region": "eu-west-1", "machine": {"type": "t3.micro", "tags": {"team": "web"}}}`

func TestAnInstanceIsStartedOnceAndReplacedWhenTheImageIsAnother(t *testing.T) {
	l := newLab(t)
	first, err := l.publish("run-1", l.images[0], web)
	if err != nil || first.Unchanged || first.Values["address"] == "" {
		t.Fatalf("%+v, %v", first, err)
	}
	again, err := l.publish("run-2", l.images[0], web)
	if err != nil || !again.Unchanged || again.Values["id"] != first.Values["id"] {
		t.Errorf("%+v, %v", again, err)
	}
	second, err := l.publish("run-3", l.images[1], web)
	if err != nil || !strings.Contains(second.Summary, "in place of "+first.Values["id"]) {
		t.Errorf("%+v, %v", second, err)
	}
	if got := l.running(); len(got) != 1 || got[second.Values["id"]] != l.images[1] {
		t.Errorf("running: %v", got)
	}
	third, err := l.publish("run-4", l.images[1], strings.Replace(web, "t3.micro", "t3.small", 1))
	if err != nil || third.Values["type"] != "t3.small" || len(l.running()) != 1 {
		t.Errorf("with another type: %+v, %v, %v", third, err, l.running())
	}
}

func TestPortsAreOpenedAndClosedAlsoOnAnInstanceThatRuns(t *testing.T) {
	l := newLab(t)
	rules := func() string {
		t.Helper()
		out, err := l.client.DescribeSecurityGroups(t.Context(), &ec2.DescribeSecurityGroupsInput{Filters: []types.Filter{amazon.Filter("group-name", "bake-web")}})
		if err != nil || len(out.SecurityGroups) != 1 {
			t.Fatalf("%d groups, %v", len(out.SecurityGroups), err)
		}
		var all []string
		for _, p := range out.SecurityGroups[0].IpPermissions {
			for _, r := range p.IpRanges {
				all = append(all, fmt.Sprint(aws.ToInt32(p.FromPort), " ", aws.ToString(r.CidrIp)))
			}
		}
		slices.Sort(all)
		return strings.Join(all, ", ")
	}
	open := func(what string) string { return strings.Replace(web, `"machine"`, `"open": `+what+`, "machine"`, 1) }
	first, err := l.publish("run-1", l.images[0], open(`"80"`))
	if err != nil || rules() != "80 0.0.0.0/0" {
		t.Fatalf("%v, %s", err, rules())
	}
	again, err := l.publish("run-2", l.images[0], open(`{"ports": ["443"], "from": ["10.0.0.0/8", "192.168.0.0/16"]}`))
	if err != nil || rules() != "443 10.0.0.0/8, 443 192.168.0.0/16" || again.Values["id"] != first.Values["id"] {
		t.Errorf("%v, %s, %v", err, rules(), again)
	}
}

func TestAnInstanceThatWasStoppedIsStartedAgain(t *testing.T) {
	l := newLab(t)
	first, err := l.publish("run-1", l.images[0], web)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.client.StopInstances(t.Context(), &ec2.StopInstancesInput{InstanceIds: []string{first.Values["id"]}}); err != nil {
		t.Fatal(err)
	}
	again, err := l.publish("run-2", l.images[0], web)
	if err != nil || again.Unchanged || !strings.Contains(again.Summary, "started again") || again.Values["id"] != first.Values["id"] {
		t.Errorf("%+v, %v", again, err)
	}
}

func TestAnotherTemplatesInstanceOfTheNameIsLeftAlone(t *testing.T) {
	l := newLab(t)
	_, err := l.client.RunInstances(t.Context(), &ec2.RunInstancesInput{ImageId: &l.images[0], InstanceType: "t3.micro", MinCount: aws.Int32(1), MaxCount: aws.Int32(1),
		TagSpecifications: []types.TagSpecification{{ResourceType: types.ResourceTypeInstance, Tags: []types.Tag{{Key: aws.String("Name"), Value: aws.String("web")}}}}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.publish("run-1", l.images[1], web); err != nil {
		t.Fatal(err)
	}
	if got := l.running(); len(got) != 2 {
		t.Errorf("running: %v", got)
	}
}

func TestTheOldInstanceStaysWhenTheNewOneDoesNotAnswer(t *testing.T) {
	l := newLab(t)
	first, err := l.publish("run-1", l.images[0], web)
	if err != nil {
		t.Fatal(err)
	}
	// A port where nothing listens on any address of this machine.
	closed, err := net.Listen("tcp", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(closed.Addr().String())
	closed.Close()
	_, err = l.publish("run-2", l.images[1], strings.Replace(web, `"machine"`, `"wait": {"port": "`+port+`", "timeout": "2s"}, "machine"`, 1))
	var late *instance.NotReadyError
	if !errors.As(err, &late) || !strings.Contains(late.Hint(), port) {
		t.Errorf("%v", err)
	}
	if got := l.running(); len(got) != 1 || got[first.Values["id"]] != l.images[0] {
		t.Errorf("running: %v", got)
	}
}

func TestALostAnswerStartsNoSecondInstance(t *testing.T) {
	for _, action := range []string{"RunInstances", "DescribeInstances", "TerminateInstances", "DescribeImages"} {
		for _, kind := range []api.Kind{api.FaultLost, api.FaultDrop, api.FaultThrottle} {
			l := newLab(t)
			for run, image := range l.images[:2] {
				if err := l.Faults.Add(api.Fault{Action: action, Kind: kind}); err != nil {
					t.Fatal(err)
				}
				if _, err := l.publish([]string{"run-1", "run-2"}[run], image, web); err != nil {
					t.Errorf("%s %s: %v", kind, action, err)
				}
			}
			if got := l.running(); len(got) != 1 {
				t.Errorf("%s %s: running: %v", kind, action, got)
			}
		}
	}
}

func TestAnImageOfAnotherRegionSaysToCopyIt(t *testing.T) {
	l := newLab(t)
	_, err := l.publish("run-1", l.images[0], strings.Replace(web, "eu-west-1", "us-east-1", 1))
	var elsewhere *instance.RegionError
	if !errors.As(err, &elsewhere) || !strings.Contains(elsewhere.Hint(), "us-east-1") {
		t.Errorf("%v", err)
	}
}

func TestATypeWithoutRoomFallsToTheNext(t *testing.T) {
	l := newLab(t)
	if err := l.Faults.Add(api.Fault{Action: "RunInstances", Kind: api.FaultError, Code: "InsufficientInstanceCapacity"}); err != nil {
		t.Fatal(err)
	}
	p, err := l.publish("run-1", l.images[0], strings.Replace(web, `"t3.micro"`, `["t3.micro", "t3a.micro"], "zone": "eu-west-1a"`, 1))
	if err != nil || p.Values["type"] != "t3a.micro" {
		t.Errorf("%+v, %v", p, err)
	}
}

// TestAnInstanceThatIsEndingIsNone: what is shutting down or terminated is there
// to be described for an hour.
func TestAnInstanceThatIsEndingIsNone(t *testing.T) {
	l := newLab(t)
	first, err := l.publish("run-1", l.images[0], web)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.client.TerminateInstances(t.Context(), &ec2.TerminateInstancesInput{InstanceIds: []string{first.Values["id"]}}); err != nil {
		t.Fatal(err)
	}
	again, err := l.publish("run-2", l.images[0], web)
	if err != nil || again.Unchanged || again.Values["id"] == first.Values["id"] {
		t.Errorf("%+v, %v", again, err)
	}
}
