package ami_test

import (
	"testing"
)

// small is a template of one build.
const small = `
name: web
source: {ami: {owner: amazon, name: "al2023-ami-2023.*-x86_64"}}
steps:
  - script: echo one >>/log
  - script: echo two >>/log
tests:
  - script: '[ "$(cat /log)" = "$(printf "one\ntwo")" ]'
outputs:
  - ami: web-1
`

func TestABuildLeavesItsImageAndASecondOneMakesNothing(t *testing.T) {
	w := newWorld(t)
	h, err := w.bake(small)
	if err != nil {
		t.Fatal(err)
	}
	w.wantOnly("after the build", "image web-1 available ready", "snapshot")
	first := h.Done["web/accept"].Artifact.AMI
	calls := len(w.calls)
	t.Logf("%d calls: %q", calls, w.calls)
	h, err = w.bake(small)
	if err != nil {
		t.Fatal(err)
	}
	if got := h.Done["web/open"].Artifact; got == nil || got.AMI.ID != first.ID {
		t.Errorf("the second run has %+v, want %s", got, first.ID)
	}
	w.wantOnly("after the second build", "image web-1 available ready", "snapshot")
	t.Logf("%d more calls: %q", len(w.calls)-calls, w.calls[calls:])
}
