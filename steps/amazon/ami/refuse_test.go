package ami_test

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"bake/builder"
	"bake/builder/buildertest"
	"bake/internal/sandbox/api"
	"bake/steps/amazon"
	"bake/steps/amazon/ami"
	"bake/steps/amazon/launch"
	"bake/templates"
)

// pin is what `bake plan` does.
func (w *world) pin(text string) error {
	w.t.Helper()
	return w.engine(new(buildertest.Memory)).Pin(w.t.Context(), "r1", w.compile(text))
}

func TestATemplateThatCannotWorkIsRefusedBeforeAnythingIsMade(t *testing.T) {
	source := func(more string) string {
		return "name: web\nsource:\n  ami: {ssm: /aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64}\n" + more + "\nsteps: [{script: 'true'}]\noutputs: [{ami: web-1}]\n"
	}
	for _, c := range []struct{ name, template, want string }{
		{"a volume smaller than the image's", source("  machine: {volumes: [{device: root, size: 1}]}"), "less than the 8 GiB"},
		{"a subnet that is not there", source("  machine: {subnet: subnet-0123456789abcdef0}"), "no subnet subnet-0123456789abcdef0 in us-east-1"},
		{"a subnet that no tag finds", source("  machine: {subnet: {tags: {tier: build}}}"), "no subnet"},
		{"a VPC that is not there", source("  machine: {vpc: {name: nope}}"), "no VPC"},
		{"a group that is not there", source("  machine: {security_groups: {name: nope}}"), "no security group"},
		{"a zone without subnets", source("  machine: {zone: us-east-1z}"), "us-east-1z"},
		{"a type that does not exist", source("  machine: {type: t3.gigantic}"), "no instance type t3.gigantic"},
		{"a type of another architecture", source("  machine: {type: t4g.small}"), "the image is for x86_64"},
		{"a profile that is not there", source("  machine: {profile: nope}"), "nope"},
		{"a key pair that is not there", source("  machine: {key_pair: nope}\n  ssh: {agent: true}"), "nope"},
		{"an image that is not there", strings.Replace(source(""), "{ssm: /aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64}", "ami-0123456789abcdef0", 1), "there is none in us-east-1"},
		{"a parameter that is not there", strings.Replace(source(""), "kernel-default", "nope", 1), "no such parameter"},
		{"a name that nothing has", strings.Replace(source(""), "{ssm: /aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64}", "{owner: amazon, name: nope-*}", 1), "there is none"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			err := w.pin(c.template)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
			w.wantOnly("after the refusal")
		})
	}
}

func TestATakenNameIsRefusedBeforeAnythingIsMade(t *testing.T) {
	w := newWorld(t)
	if _, err := w.bake(tiny); err != nil {
		t.Fatal(err)
	}
	began := w.count("RunInstances")
	err := w.pin(strings.Replace(tiny, "echo one", "echo other", 1))
	if err == nil || !strings.Contains(err.Error(), "web-1") {
		t.Errorf("error %v, want one about the name", err)
	}
	if w.count("CreateImage") != 1 || w.count("RunInstances") > began+1 {
		t.Error("something was made")
	}
	w.wantOnly("after the refusal", "image web-1 available ready", "snapshot")
}

func TestAMissingPermissionIsToldBeforeAnythingIsMade(t *testing.T) {
	w := newWorld(t)
	if err := w.sandbox.Faults.Add(api.Fault{Action: "RunInstances", Kind: api.FaultError, Code: "UnauthorizedOperation", Status: 403, Times: -1}); err != nil {
		t.Fatal(err)
	}
	if err := w.pin(tiny); !amazon.IsCode(err, "UnauthorizedOperation") {
		t.Errorf("error %v", err)
	}
	w.wantOnly("after the refusal")
}

func TestATypeWithoutCapacityFallsToTheNext(t *testing.T) {
	w := newWorld(t)
	p := w.compile(strings.Replace(tiny, `x86_64"}}`, `x86_64"}, machine: {type: [t3.small, t3a.small]}}`, 1))
	e := w.engine(w.journal)
	if err := e.Pin(t.Context(), "r1", p); err != nil {
		t.Fatal(err)
	}
	// AWS says it with a server error, which the SDK would repeat for minutes.
	if err := w.sandbox.Faults.Add(api.Fault{Action: "RunInstances", Kind: api.FaultError, Code: "InsufficientInstanceCapacity", Status: 500, Times: 2}); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	h, err := e.Run(t.Context(), "r1", p)
	if err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("it took %s", took)
	}
	if !w.told("no room for t3.small in us-east-1") {
		t.Error("the try without room was not told")
	}
	if h.Done["web/accept"].Artifact.AMI == nil {
		t.Error("no image")
	}
	w.wantOnly("after the run", "image web-1 available ready", "snapshot")
}

func TestNoCapacityAnywhereTellsEachTry(t *testing.T) {
	w := newWorld(t)
	p := w.compile(strings.Replace(tiny, `x86_64"}}`, `x86_64"}, machine: {type: [t3.small, t3a.small], spot: true}}`, 1))
	e := w.engine(w.journal)
	if err := e.Pin(t.Context(), "r1", p); err != nil {
		t.Fatal(err)
	}
	if err := w.sandbox.Faults.Add(api.Fault{Action: "RunInstances", Kind: api.FaultError, Code: "InsufficientInstanceCapacity", Status: 500, Times: -1}); err != nil {
		t.Fatal(err)
	}
	_, err := e.Run(t.Context(), "r1", p)
	var full *launch.CapacityError
	if !errors.As(err, &full) || full.Hint() == "" {
		t.Fatalf("error %v", err)
	}
	for _, want := range []string{"t3.small in us-east-1", "t3a.small in us-east-1", "spot", "on demand", "InsufficientInstanceCapacity"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in %v", want, err)
		}
	}
	w.sandbox.Faults.Clear()
	w.wantOnly("after the run")
}

func TestNoDefaultVPCIsTold(t *testing.T) {
	w := newWorld(t)
	subnets, err := w.client().DescribeSubnets(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range subnets.Subnets {
		if _, err := w.client().DeleteSubnet(t.Context(), &ec2.DeleteSubnetInput{SubnetId: s.SubnetId}); err != nil {
			t.Fatal(err)
		}
	}
	err = w.pin(tiny)
	var none *launch.NotFoundError
	if !errors.As(err, &none) || none.Kind != "default VPC" || !strings.Contains(none.Hint(), "subnet") {
		t.Errorf("error %v", err)
	}
}

func TestTheBuildMachineIsAsSafeAsItCanBe(t *testing.T) {
	w := newWorld(t)
	var instance types.Instance
	var groups *ec2.DescribeSecurityGroupsOutput
	w.sandbox.Faults.OnCall(func(c *api.Call, _ int, done bool) {
		if c.Action != "StopInstances" || done {
			return
		}
		out, err := w.client().DescribeInstances(t.Context(), &ec2.DescribeInstancesInput{Filters: []types.Filter{amazon.Filter("instance-state-name", "running")}})
		if err == nil && len(out.Reservations) == 1 {
			instance = out.Reservations[0].Instances[0]
		}
		groups, _ = w.client().DescribeSecurityGroups(t.Context(), &ec2.DescribeSecurityGroupsInput{Filters: []types.Filter{amazon.Filter("tag-key", amazon.TagRun)}})
	})
	if _, err := w.bake(tiny); err != nil {
		t.Fatal(err)
	}
	if instance.InstanceId == nil || groups == nil || len(groups.SecurityGroups) != 1 {
		t.Fatalf("instance %v, groups %v", instance.InstanceId, groups)
	}
	if instance.MetadataOptions.HttpTokens != types.HttpTokensStateRequired {
		t.Error("the metadata service does not ask for tokens")
	}
	rules := groups.SecurityGroups[0].IpPermissions
	if len(rules) != 1 || aws.ToInt32(rules[0].FromPort) != 22 || len(rules[0].IpRanges) != 1 || aws.ToString(rules[0].IpRanges[0].CidrIp) != "127.0.0.1/32" {
		t.Errorf("the group lets in %+v, want this machine alone", rules)
	}
	for _, key := range []string{amazon.TagRun, amazon.TagTemplate, amazon.TagBuild, amazon.TagToken, amazon.TagExpires} {
		if tag(instance.Tags, key) == "" {
			t.Errorf("the instance has no tag %s", key)
		}
	}
	files, err := filepath.Glob(filepath.Join(w.work, "*", "*"))
	if err != nil || len(files) < 3 {
		t.Fatalf("%q, %v", files, err)
	}
	entries, err := w.journal.Entries(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		info, err := os.Stat(f)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v, %v", f, info.Mode(), err)
		}
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(data, []byte("PRIVATE KEY")) && slices.ContainsFunc(entries, func(e builder.Entry) bool {
			return e.State != nil && e.State.Machine != nil && strings.Contains(strings.Join(values(e.State.Machine.Detail), " "), "PRIVATE")
		}) {
			t.Error("a private key stands in the journal")
		}
	}
}

func values(m map[string]string) []string {
	var all []string
	for _, v := range m {
		all = append(all, v)
	}
	return all
}

func TestTheImageHoldsNoKeysAndNoTraces(t *testing.T) {
	w := newWorld(t)
	text := strings.Replace(tiny, "echo one >>/log",
		"'touch /root/.bash_history; cat /root/.ssh/authorized_keys /home/*/.ssh/authorized_keys 2>/dev/null | grep -o \"AAAA[^ ]*\" | sort -u >/keys; [ -s /keys ]; cat /etc/ssh/ssh_host_ed25519_key.pub >/host'", 1) + `tests:
  - script: '[ ! -e /root/.bash_history ]'
  - script: for f in /root/.ssh/authorized_keys /home/*/.ssh/authorized_keys; do if grep -qFf /keys "$f" 2>/dev/null; then echo "$f has the builder key"; exit 1; fi; done
  - script: if cmp -s /host /etc/ssh/ssh_host_ed25519_key.pub; then echo "it has the host key of the build machine"; exit 1; fi
`
	if _, err := w.bake(text); err != nil {
		t.Fatal(err)
	}
}

func TestLeftoversAreFoundByTheirTagsInEveryRegion(t *testing.T) {
	w := newWorld(t)
	p := w.compile(strings.Replace(strings.Replace(tiny, "{owner: amazon", "{region: eu-west-1, owner: amazon", 1), "echo one", "false", 1))
	e := w.engine(w.journal)
	e.OnFailure = func(context.Context, error) builder.Decision { return builder.Keep }
	if err := e.Pin(t.Context(), "r1", p); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Run(t.Context(), "r1", p); err == nil {
		t.Fatal("the build did not fail")
	}
	cloud := amazon.New(amazon.Options{Endpoint: w.sandbox.URL})
	nobody := func(builder.RunID) bool { return false }
	find := func(alive func(builder.RunID) bool, all bool) []string {
		found, unseen, err := ami.Leftovers(t.Context(), cloud, amazon.Access{Region: region}, alive, all)
		if err != nil || len(unseen) > 0 {
			t.Fatal(err, unseen)
		}
		var kinds []string
		for _, l := range found {
			if l.Run != "r1" || l.Template != "web" || l.Where != "eu-west-1" || l.Expires.Before(time.Now()) {
				t.Errorf("found %+v", l)
			}
			kinds = append(kinds, l.Kind)
		}
		return kinds
	}
	if got := find(nobody, false); len(got) != 0 {
		t.Errorf("found %q, which may belong to a run elsewhere", got)
	}
	if got := find(func(id builder.RunID) bool { return id == "r1" }, true); len(got) != 0 {
		t.Errorf("found %q of a run that is going on", got)
	}
	if got := find(nobody, true); !slices.Equal(slices.Compact(got), []string{"ec2-instance", "ec2-volume", "ec2-security-group", "ec2-key-pair"}) {
		t.Errorf("found %q", got)
	}
	w.fault(denied("DescribeTags", "eu-central-1"))
	w.fault(denied("ListRoles", ""))
	found, unseen, err := ami.Leftovers(t.Context(), cloud, amazon.Access{Region: region}, nobody, true)
	if err != nil || len(unseen) != 2 {
		t.Fatalf("not looked at: %v; %v", unseen, err)
	}
	w.fault(denied("DescribeTags", ""))
	if found, unseen, err := ami.Leftovers(t.Context(), cloud, amazon.Access{Region: region}, nobody, true); err == nil {
		t.Errorf("found %v without looking anywhere: %v", found, unseen)
	}
	w.sandbox.Faults.Clear()
	for _, l := range found {
		if err := ami.Cleaners(cloud)[l.Kind].Delete(t.Context(), l.Resource); err != nil {
			t.Errorf("%s %s: %v", l.Kind, l.ID, err)
		}
	}
	if got := find(nobody, true); len(got) != 0 {
		t.Errorf("after cleaning there is %q", got)
	}
}

// TestUserDataThatCannotBeSentIsRefusedWithItsPlace: before anything is called.
func TestUserDataThatCannotBeSentIsRefusedWithItsPlace(t *testing.T) {
	t.Parallel()
	noise := make([]byte, 40<<10)
	for i := range noise {
		noise[i] = 'a' + byte(rand.Uint32()%26)
	}
	file := filepath.Join(t.TempDir(), "large")
	if err := os.WriteFile(file, append([]byte("#!/bin/sh\n# "), noise...), 0o600); err != nil {
		t.Fatal(err)
	}
	catalog := builder.Catalog{Sources: map[string]func() builder.Source{"ami": ami.New(nil)}}
	for data, want := range map[string]string{
		"{file: " + file + "}":     "AWS takes 16384",
		"{file: nowhere}":          "nowhere",
		"hello":                    "nothing that cloud-init knows",
		"{text: '#!', file: more}": "want one of text, file and template",
	} {
		text := "name: web\nsource:\n  ami: ami-0123456789abcdef0\n  machine:\n    user_data: " + data + "\n"
		name := filepath.Join(t.TempDir(), "bake.yaml")
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		tmpl, diags := templates.Parse(name, catalog.Language(), templates.Options{RunID: "r1", Now: time.Now()})
		if len(diags) == 0 {
			_, diags = builder.Compile(tmpl, catalog)
		}
		if err := diags.Err(); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "bake.yaml:5:") {
			t.Errorf("%s: %v, want %q in line 5", data, err, want)
		}
	}
}

// TestADenialIsNotTakenForAbsence: what may not be looked up may be there.
func TestADenialIsNotTakenForAbsence(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if _, err := w.bake(tiny); err != nil {
		t.Fatal(err)
	}
	made, p, e := w.count("CreateImage"), w.compile(tiny), w.engine(w.journal)
	if err := e.Pin(t.Context(), "r2", p); err != nil {
		t.Fatal(err)
	}
	started := w.succeeded("RunInstances")
	w.fault(api.Fault{Action: "DescribeImages", Kind: api.FaultError, Code: "UnauthorizedOperation", Status: 403, Times: -1})
	if _, err := e.Run(t.Context(), "r2", p); !amazon.IsCode(err, "UnauthorizedOperation") {
		t.Errorf("error %v", err)
	}
	if w.count("CreateImage") != made || w.succeeded("RunInstances") != started {
		t.Error("something was made")
	}
}

// denied forbids an action for good, in a region or in all.
func denied(action, region string) api.Fault {
	return api.Fault{Action: action, Region: region, Times: -1, Kind: api.FaultError, Code: "AccessDenied", Status: 403}
}
