package ami_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	ssmtypes "github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"bake/internal/sandbox/sandboxtest"
	"bake/steps/amazon/launch"
)

// TestAMachineThatDoesNotAnswerShowsItsConsole: its security group lets nobody
// in, and what it has written is all that tells whether it has booted.
func TestAMachineThatDoesNotAnswerShowsItsConsole(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	group, err := w.client().CreateSecurityGroup(t.Context(), &ec2.CreateSecurityGroupInput{GroupName: aws.String("nobody"), Description: aws.String("lets nobody in")})
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.bake(with("machine: {security_groups: " + *group.GroupId + "}, ssh: {timeout: 5s}"))
	if err == nil || !strings.Contains(err.Error(), "gave up after") || !strings.Contains(err.Error(), "the end of its console output:\n") || !strings.Contains(hintOf(err), "security group") {
		t.Errorf("error %v, hint %q", err, hintOf(err))
	}
}

// TestAMachineThatEndsUnderAStepTellsWhy: a lost connection alone would not.
func TestAMachineThatEndsUnderAStepTellsWhy(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, ssh, script string }{
		{"over the network", "cloud_init: wait", "shutdown -P now; sleep 60"},
		{"through Session Manager", "via: session-manager", "shutdown -P now; sleep 60"},
		{"with the status of what a machine ends that goes down", "cloud_init: wait", "shutdown -P now >/dev/null 2>&1; exit 143"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			_, err := w.bake(strings.Replace(with("ssh: {"+c.ssh+"}"), "echo one >>/log", "'"+c.script+"'", 1))
			var died *launch.Died
			if !errors.As(err, &died) || !strings.Contains(hintOf(err), "dead-man timer") {
				t.Errorf("error %v, hint %q", err, hintOf(err))
			}
			w.wantOnly("after the failure")
			left, err := ssm.NewFromConfig(sandboxtest.Config(w.sandbox, region)).DescribeSessions(t.Context(), &ssm.DescribeSessionsInput{State: ssmtypes.SessionStateActive})
			if err != nil || len(left.Sessions) != 0 {
				t.Errorf("sessions are left: %v %+v", err, left)
			}
			if started, ended := w.succeeded("StartSession"), w.succeeded("TerminateSession"); ended < started {
				t.Errorf("%d sessions were started and %d ended", started, ended)
			}
		})
	}
}

// TestTheDeadManTimerIsSetAgainAfterAReboot: timers do not survive one.
func TestTheDeadManTimerIsSetAgainAfterAReboot(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	text := strings.Replace(with("lifetime: 47m"), "steps: [{script: echo one >>/log}]", `steps:
  - script: 's=$(command -v shutdown); rm "$s"; printf "#!/bin/sh\necho \$* >>/timer\n" >"$s"; chmod +x "$s"'
  - script: reboot reboot
  - script: cat /timer; grep -q "P +47" /timer
`, 1)
	if _, err := w.bake(text); err != nil {
		t.Error(err)
	}
}

// TestThePlanNamesTheImageThatWasFound: its id, its name and its date.
func TestThePlanNamesTheImageThatWasFound(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.compile(tiny)
	if err := w.engine(w.journal).Pin(t.Context(), "r1", p); err != nil {
		t.Fatal(err)
	}
	pin := p.Builds[0].Pin
	out, err := w.client().DescribeImages(t.Context(), &ec2.DescribeImagesInput{ImageIds: []string{pin.Values["id"]}})
	if err != nil || len(out.Images) != 1 {
		t.Fatal(out, err)
	}
	i := out.Images[0]
	for _, want := range []string{*i.ImageId, *i.Name, (*i.CreationDate)[:10], region} {
		if !strings.Contains(pin.Summary, want) {
			t.Errorf("%q is not in %q", want, pin.Summary)
		}
	}
	if pin.Values["name"] != *i.Name || pin.Values["date"] != *i.CreationDate || !json.Valid(pin.Config) {
		t.Errorf("values %v", pin.Values)
	}
}

// TestKeysForStepsAreForwarded: that they are is seen by one that is not there.
func TestKeysForStepsAreForwarded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if _, err := w.bake(with("ssh: {forward_keys: /no/such/key}")); err == nil || !strings.Contains(err.Error(), "forwarding a key: reading SSH key: open /no/such/key") {
		t.Errorf("error %v", err)
	}
}
