package ami_test

import (
	"fmt"
	"strings"
	"testing"

	"bake/builder/buildertest"
)

// paced is how long states take: a machine boots in 0.4 s, a snapshot takes 1.3 s.
const paced = 0.02

// TestARunAsksForNothingTwice counts every call of a run, and all of them.
func TestARunAsksForNothingTwice(t *testing.T) {
	w := newWorld(t)
	w.sandbox.World.Pace = paced
	if _, err := w.bake(tiny); err != nil {
		t.Fatal(err)
	}
	once := []string{"DescribeSubnets", "ImportKeyPair", "CreateSecurityGroup", "AuthorizeSecurityGroupIngress", "StopInstances", "CreateImage",
		"CreateTags", "TerminateInstances", "DeleteKeyPair", "DeleteSecurityGroup"}
	for _, action := range once {
		if n := w.count(action); n != 1 {
			t.Errorf("%s was called %d times", action, n)
		}
	}
	for _, action := range []string{"GetCallerIdentity", "DescribeInstanceTypes", "DescribeInstanceTypeOfferings", "DescribeImageAttribute", "DescribeSnapshotAttribute"} {
		if n := w.count(action); n != 0 {
			t.Errorf("%s was called %d times: there is nothing to learn by it", action, n)
		}
	}
	// The waits take looks, and a busy machine takes longer.
	if n := len(w.calls); n > 36 {
		t.Errorf("%d calls: %v", n, w.calls)
	}
}

// TestDescribeCallsOfARunGrowWithTimeAndNotWithItsBuilds bakes several images in
// one process.
func TestDescribeCallsOfARunGrowWithTimeAndNotWithItsBuilds(t *testing.T) {
	looks := func(builds int) (n int) {
		w := newWorld(t)
		w.sandbox.World.Pace = paced
		text := "name: web\nbuilds:\n"
		for i := range builds {
			text += fmt.Sprintf("  b%d: {source: {ami: {owner: amazon, name: \"al2023-ami-2023.*-x86_64\"}}, steps: [{script: echo %d}], outputs: [{ami: web-%d}]}\n", i, i, i)
		}
		e := w.engine(new(buildertest.Memory))
		e.Parallel = 4 * builds
		h, err := w.run(e, w.compile(text))
		if err != nil {
			t.Fatal(err)
		}
		if len(h.Failed) > 0 {
			t.Fatal(h.Failed)
		}
		for _, wait := range []string{"DescribeInstances", "DescribeSnapshots"} {
			n += w.count(wait)
		}
		var images []string
		for _, thing := range w.things() {
			if strings.HasPrefix(thing, "image web-") {
				images = append(images, thing)
			}
		}
		if len(images) != builds {
			t.Errorf("%d builds left %q", builds, images)
		}
		return n
	}
	one, many := looks(1), looks(12)
	t.Logf("looks of 1 build: %d, of 12: %d", one, many)
	// They do not begin at the very same time, and a dozen of machines make this
	// one slow. Were the looks not shared, there would be twelve times as many.
	if many > 5*one {
		t.Errorf("1 build took %d looks, 12 took %d", one, many)
	}
}
