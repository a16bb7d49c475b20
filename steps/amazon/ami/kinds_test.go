package ami_test

import (
	"context"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"bake/builder"
	"bake/steps"
	"bake/steps/amazon"
)

func TestAnAMIIsBuiltOnAnotherOfTheTemplate(t *testing.T) {
	w := newWorld(t)
	cloud := amazon.New(amazon.Options{Endpoint: w.sandbox.URL})
	w.sources = steps.Sources(steps.Deps{Amazon: cloud})
	template := `
builds:
  base:
    source: {ami: {owner: amazon, name: "al2023-ami-2023.*-x86_64"}}
    steps: [{script: echo one >>/log}]
    outputs: [{ami: base-1}]
  web:
    source: {build: base, machine: {tags: {team: web}}}
    steps: [{script: echo two >>/log}]
    tests: [{script: '[ "$(cat /log)" = "$(printf "one\ntwo")" ]'}]
    outputs: [{ami: web-1}]
`
	if _, err := w.bake(template); err != nil {
		t.Fatal(err)
	}
	w.wantOnly("after the build", "image base-1 available ready", "image web-1 available ready", "snapshot", "snapshot")
	made := w.count("CreateImage")
	if _, err := w.bake(template); err != nil {
		t.Fatal(err)
	}
	if w.count("CreateImage") != made {
		t.Error("the second run made an image")
	}
}

func TestWhatTheTemplateAsksOfTheMachineIsThere(t *testing.T) {
	machine := func(text string) string {
		return strings.Replace(tiny, `x86_64"}}`, `x86_64"}, `+text+`}`, 1)
	}
	for _, c := range []struct {
		name, template string
		more           []string // beside the image and its snapshot
	}{
		{"a temporary instance profile", machine(`machine: {profile: {policy: {Version: "2012-10-17", Statement: [{Effect: Allow, Action: "s3:GetObject", Resource: "*"}]}}}`), nil},
		{"a spot instance", machine(`machine: {spot: true}`), nil},
		{"user data beside bake's own", strings.Replace(machine("machine: {user_data: \"#!/bin/sh\\necho data >/data\\n\"}"), "echo one >>/log", "cat /data", 1), nil},
		{"user data alone, the host key from the console", machine(`machine: {user_data: {text: "#!/bin/sh\necho x\n", merge: false}}`), nil},
		{"a live capture", machine(`capture: {live: true}`), nil},
		{"nothing cleaned", machine(`capture: {clean: false}`), nil},
		{"an extra volume, deleted", machine(`extra_volumes: [{device: /dev/sdf, size: 1}]`), nil},
		{"an extra volume's snapshot", machine(`extra_volumes: [{device: /dev/sdf, size: 1, after: snapshot}]`), []string{"snapshot"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			if _, err := w.bake(c.template); err != nil {
				t.Fatal(err)
			}
			w.wantOnly("after the build", append(c.more, "image web-1 available ready", "snapshot")...)
		})
	}
}

func TestAnExtraVolumeIsKept(t *testing.T) {
	w := newWorld(t)
	if _, err := w.bake(strings.Replace(tiny, `x86_64"}}`, `x86_64"}, extra_volumes: [{device: /dev/sdf, size: 1, after: keep, name: data}]}`, 1)); err != nil {
		t.Fatal(err)
	}
	out, err := w.client().DescribeVolumes(t.Context(), &ec2.DescribeVolumesInput{Filters: []types.Filter{amazon.Filter("tag:Name", "data")}})
	if err != nil || len(out.Volumes) != 1 || out.Volumes[0].State != types.VolumeStateAvailable {
		t.Errorf("volumes %+v, %v", out, err)
	}
}

func TestARunWhoseMachineEndedMeanwhileStartsOver(t *testing.T) {
	w := newWorld(t)
	p := w.compile(strings.Replace(tiny, "echo one >>/log", "'false'", 1))
	e := w.engine(w.journal)
	e.OnFailure = func(context.Context, error) builder.Decision { return builder.Keep }
	if err := e.Pin(t.Context(), "r1", p); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Run(t.Context(), "r1", p); err == nil {
		t.Fatal("the step did not fail")
	}
	entries, err := w.journal.Entries(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	m := builder.Machines(entries)["web"]
	if _, err := w.client().TerminateInstances(t.Context(), &ec2.TerminateInstancesInput{InstanceIds: []string{m.ID}}); err != nil {
		t.Fatal(err)
	}
	p.Builds[0].Steps[1].Config = []byte(`"true"`)
	if _, err := w.engine(w.journal).Run(t.Context(), "r1", p); err != nil {
		t.Fatal(err)
	}
	w.wantOnly("after the resume", "image web-1 available ready", "snapshot")
}
