package report

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bake/builder"
)

func TestFollowShowsWhatIsAddedUntilTheRunEnds(t *testing.T) {
	dir := t.TempDir()
	sink, err := NewFiles(dir)
	if err != nil {
		t.Fatal(err)
	}
	say := func(step builder.StepID, text string) {
		sink.Emit(builder.Event{Type: builder.StepLog, Build: "web", Step: step, Stream: "stdout", Text: text})
	}
	plan := &builder.Plan{Builds: []builder.Build{{Name: "web", Steps: []builder.Step{
		{ID: "web/provision/1", Phase: builder.Provision, Kind: "run", Name: "run one"},
		{ID: "web/provision/2", Phase: builder.Provision, Kind: "run", Name: "run two"},
	}}}}
	sink.Emit(builder.Event{Type: builder.RunStarted, Run: "r", Plan: plan, Time: time.Now()})
	say("web/provision/1", "first")

	looks := 0
	alive := func() bool { // called before each look
		switch looks++; looks {
		case 2:
			say("web/provision/2", "second")
		case 3:
			say("web/provision/1", "third\x1b[31m")
			sink.Emit(builder.Event{Type: builder.RunDone, Run: "r", Time: time.Now()})
			if err := sink.Close(); err != nil {
				t.Error(err)
			}
			return false
		}
		return true
	}
	var out bytes.Buffer
	r, err := Follow(t.Context(), &out, dir, "", alive)
	if err != nil || r.Status != Done {
		t.Fatalf("%v, %+v", err, r)
	}
	for _, want := range []string{"(web/provision/1)\nfirst\n", "(web/provision/2)\nsecond\n", "third"} {
		if strings.Count(out.String(), want) != 1 {
			t.Errorf("%q is not there once:\n%s", want, out.String())
		}
	}
	if strings.Contains(out.String(), "\x1b") {
		t.Errorf("a control character is shown: %q", out.String())
	}
}

func TestFollowOfAStepThatIsNotThereSaysSoAtTheEnd(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, eventsFile), []byte("{}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if _, err := Follow(t.Context(), &out, dir, "nosuch", func() bool { return false }); err == nil || !strings.Contains(err.Error(), `no step or build "nosuch"`) {
		t.Errorf("%v", err)
	}
}
