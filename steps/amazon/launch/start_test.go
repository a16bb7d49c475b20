package launch

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"bake/internal/sandbox"
	"bake/internal/sandbox/api"
	"bake/internal/sandbox/ec2"
	"bake/internal/sandbox/machinetest"
	"bake/internal/sandbox/sandboxtest"
)

// starter is what starts a machine of a block in a sandbox.
func starter(t *testing.T, s *sandbox.Sandbox, machine string) Starter {
	t.Helper()
	m, err := decode(t, machine)
	if err != nil {
		t.Fatal(err)
	}
	r, err := resolve(t, s, machine)
	if err != nil {
		t.Fatal(err)
	}
	c := awsec2.NewFromConfig(sandboxtest.Config(s, region))
	out, err := c.DescribeImages(t.Context(), &awsec2.DescribeImagesInput{Owners: []string{"amazon"}, Filters: []types.Filter{{Name: aws.String("architecture"), Values: []string{"x86_64"}}}})
	if err != nil || len(out.Images) == 0 {
		t.Fatal(out, err)
	}
	devices, err := Devices(out.Images[0], m.Volumes, Encryption{})
	if err != nil {
		t.Fatal(err)
	}
	return Starter{Client: c, Spec: Spec{Machine: m, Image: *out.Images[0].ImageId, Devices: devices, Tags: map[string]string{"bake:run": "r1"}, Ends: true}, Tries: r.Tries, Log: t.Logf}
}

func newSandbox(t *testing.T) *sandbox.Sandbox {
	machinetest.Program(t)
	return sandboxtest.Start(t)
}

func TestSpotWithoutRoomFallsToOnDemandUnlessToldNotTo(t *testing.T) {
	s := newSandbox(t)
	s.Services.EC2.Tune(func(k *ec2.Knobs) { k.NoCapacity = []ec2.Pool{{Spot: true}, {Type: "t3.small", Zone: region + "a"}} })
	// A pool without room is passed over: what the others answered is no error.
	i, err := starter(t, s, "{spot: true, zone: [eu-west-1a, eu-west-1b]}").Start(t.Context(), "token-1")
	if err != nil || i.InstanceLifecycle != "" || *i.Placement.AvailabilityZone != region+"b" {
		t.Errorf("%+v, %v", i.Placement, err)
	}
	_, err = starter(t, s, "{spot: {fallback: false}, zone: [eu-west-1a, eu-west-1b]}").Start(t.Context(), "token-2")
	var full *CapacityError
	if !errors.As(err, &full) || len(full.Errs) != 2 || strings.Contains(err.Error(), "on demand") {
		t.Errorf("without fallback: %v", err)
	}
}

func TestASpotInstanceIsTaggedWithItsRequestAndMayLeaveDevicesOut(t *testing.T) {
	s := newSandbox(t)
	st := starter(t, s, "{spot: true, tags: {team: data}, volumes: [{device: /dev/sdf, no_device: true}, {device: /dev/sdg, virtual_name: ephemeral0}, {device: /dev/sdh, size: 1}]}")
	i, err := st.Start(t.Context(), "token")
	if err != nil || i.InstanceLifecycle != types.InstanceLifecycleTypeSpot {
		t.Fatalf("%q, %v", i.InstanceLifecycle, err)
	}
	out, err := st.Client.DescribeTags(t.Context(), &awsec2.DescribeTagsInput{Filters: []types.Filter{{Name: aws.String("key"), Values: []string{"team"}}}})
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[types.ResourceType]int{}
	for _, tag := range out.Tags {
		kinds[tag.ResourceType]++
	}
	for kind, n := range map[types.ResourceType]int{"instance": 1, "volume": 2, "network-interface": 1} {
		if kinds[kind] != n {
			t.Errorf("%d of kind %s have the tag: %v", kinds[kind], kind, kinds)
		}
	}
}

func TestAnErrorThatIsNotOfCapacityIsNotTriedElsewhere(t *testing.T) {
	s := newSandbox(t)
	st := starter(t, s, "type: [t3.small, t3a.small]")
	fault(t, s, api.Fault{Action: "RunInstances", Code: "InvalidParameterCombination", Message: "no", Times: -1})
	if _, err := st.Start(t.Context(), "token"); err == nil || s.Faults.Counts()["ec2:RunInstances"] != 1 {
		t.Errorf("%v after %d calls", err, s.Faults.Counts()["ec2:RunInstances"])
	}
}

func TestEveryCodeOfNoRoomFallsToTheNextTry(t *testing.T) {
	s := newSandbox(t)
	for _, code := range []string{"InsufficientInstanceCapacity", "InsufficientHostCapacity", "InsufficientFreeAddressesInSubnet", "Unsupported", "SpotMaxPriceTooLow",
		"MaxSpotInstanceCountExceeded", "VcpuLimitExceeded", "InstanceLimitExceeded", "ReservationCapacityExceeded"} {
		s.Faults.Clear()
		fault(t, s, api.Fault{Action: "RunInstances", Code: code, Status: 500})
		i, err := starter(t, s, "{type: [t3.small, t3a.small], zone: eu-west-1a}").Start(t.Context(), "token-"+code)
		if err != nil || i.InstanceType != "t3a.small" {
			t.Errorf("%s: %s, %v", code, i.InstanceType, err)
		}
	}
}

// TestWhatIsNotThereIsWaitedForOnlyIfItWasJustMade: a name that the template
// has wrong is told at once.
func TestWhatIsNotThereIsWaitedForOnlyIfItWasJustMade(t *testing.T) {
	s := newSandbox(t)
	for _, f := range []api.Fault{{Code: "InvalidKeyPair.NotFound"}, {Code: "InvalidGroup.NotFound"}, {Code: "InvalidAMIID.NotFound"},
		{Code: "InvalidParameterValue", Message: "Value (p) for parameter iamInstanceProfile.name is invalid. Invalid IAM Instance Profile name"}} {
		f.Action, f.Times = "RunInstances", 2
		for _, settle := range []time.Duration{0, time.Minute} {
			s.Faults.Clear()
			fault(t, s, f)
			st := starter(t, s, "zone: eu-west-1a")
			st.Settle = settle
			if _, err := st.Start(t.Context(), f.Code+settle.String()); (err == nil) != (settle > 0) {
				t.Errorf("%s, with %v to settle: %v", f.Code, settle, err)
			}
		}
	}
}
