package report

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"strings"
	"testing"
	"time"

	"bake/builder"
	"bake/builder/buildertest"
	"bake/internal/redact"
	"bake/templates"
)

// A paper machine: nothing runs, but the engine drives it like any other.
type paper struct{}

func (paper) Pin(context.Context, builder.PinEnv) (builder.Pin, error) {
	return builder.Pin{Digest: digest3, Summary: "paper@" + digest3}, nil
}

func (paper) Open(ctx context.Context, sc *builder.Scope, from builder.Opening) (builder.Machine, error) {
	sc.Progress(builder.Progress{ID: "layer " + digest3, Verb: "pulling", Done: 3 << 20, Total: 3 << 20, Unit: "B", Ended: true})
	r, err := sc.Create(ctx, builder.Resource{Kind: "sheet", Name: "sheet"}, func(_ context.Context, r builder.Resource) (string, error) { return "sheet-1", nil })
	return builder.Machine{ID: r.ID, Platform: from.Platform}, err
}

func (paper) Dial(context.Context, *builder.Scope, builder.Machine) (builder.Communicator, error) {
	return paperComm{}, nil
}

func (paper) Freeze(_ context.Context, _ *builder.Scope, m builder.Machine, f builder.Freezing) (builder.Artifact, error) {
	return *imageArtifact(digest1, 12<<20), nil
}

// Cleaner: nothing is left of paper.
func (paper) Find(context.Context, builder.Resource) (string, error) { return "sheet-1", nil }
func (paper) Delete(context.Context, builder.Resource) error         { return nil }

type paperComm struct{}

func (paperComm) Run(_ context.Context, c builder.Command) error {
	fmt.Fprintf(c.Stdout, "ran %s with hunter22\n", c.Script)
	if strings.HasPrefix(c.Script, "fail") {
		return &builder.ExitError{Code: 3}
	}
	return nil
}
func (paperComm) Put(context.Context, string, iter.Seq2[builder.File, error]) error { return nil }
func (paperComm) Get(context.Context, string) iter.Seq2[builder.File, error]        { return nil }
func (paperComm) Close() error                                                      { return nil }

type paperStep struct {
	Text string `yaml:"text" bake:"main"`
	mend *bool
}

func (s *paperStep) Provision(ctx context.Context, sc *builder.Scope, comm builder.Communicator) (builder.Outcome, error) {
	out := sc.Stdout()
	defer out.Close()
	text := s.Text
	if *s.mend {
		text = strings.TrimPrefix(text, "fail ")
	}
	sc.Log("running %s", text)
	return builder.Outcome{}, comm.Run(ctx, builder.Command{Script: text, Stdout: out})
}

type paperOutput struct {
	Name string `yaml:"name" bake:"main"`
}

func (o *paperOutput) Accepts(builder.ArtifactKind) bool { return true }

func (o *paperOutput) Publish(context.Context, *builder.Scope, builder.Artifact) (builder.Published, error) {
	return builder.Published{Values: map[string]string{"ref": o.Name, "digest": digest2}, Summary: "published " + o.Name}, nil
}

// The engine's own events make sense to every sink: a run that fails, and is
// resumed when the reason is gone.
func TestTheEnginesEventsTellTheStory(t *testing.T) {
	mend := false
	plan := &builder.Plan{Template: "paper.yaml", Name: "paper", Created: time.Unix(1700000000, 0).UTC()}
	quoted := func(s string) templates.JSON { b, _ := json.Marshal(s); return b } // a string is always valid
	plan.Builds = append(plan.Builds, builder.Build{Name: "web", Platform: amd64, Steps: []builder.Step{
		{ID: "web/open", Phase: builder.Open, Kind: "paper", Config: templates.JSON(`{}`)},
		{ID: "web/provision/1", Phase: builder.Provision, Kind: "script", Name: "one", Config: quoted("one"), Pos: templates.Pos{File: "paper.yaml", Line: 4, Col: 5}},
		{ID: "web/provision/2", Phase: builder.Provision, Kind: "script", Name: "two", Config: quoted("fail two"), Retries: 1, Pos: templates.Pos{File: "paper.yaml", Line: 5, Col: 5}},
		{ID: "web/freeze", Phase: builder.Freeze},
		{ID: "web/accept", Phase: builder.Accept},
		{ID: "web/publish/1", Phase: builder.Publish, Kind: "shelf", Name: "shelf", Config: quoted("shelf/web:1")},
	}})
	catalog := builder.Catalog{
		Sources:      map[string]func() builder.Source{"paper": func() builder.Source { return new(paper) }},
		Provisioners: map[string]func() builder.Provisioner{"script": func() builder.Provisioner { return &paperStep{mend: &mend} }},
		Outputs:      map[string]func() builder.Output{"shelf": func() builder.Output { return new(paperOutput) }},
		Cleaners:     map[string]builder.Cleaner{"sheet": paper{}},
	}
	dir, journal := t.TempDir(), new(buildertest.Memory)
	process := func() (text string, failed error) {
		var b strings.Builder
		files, err := NewFiles(dir)
		if err != nil {
			t.Fatal(err)
		}
		shown, err := New(Options{Mode: Plain, Err: &b})
		if err != nil {
			t.Fatal(err)
		}
		sink := Redact(Tee(files, shown), redact.New([]string{"hunter22"}))
		e := &builder.Engine{Catalog: catalog, Journal: journal, Sink: sink, Env: new(templates.Env), WorkDir: t.TempDir(),
			OnFailure: func(context.Context, error) builder.Decision { return builder.Keep }}
		began := time.Now()
		if err := e.Pin(t.Context(), "r1", plan); err != nil {
			t.Fatal(err)
		}
		sink.Emit(builder.Event{Time: began, Run: "r1", Type: builder.RunStarted, Text: "paper.yaml", Plan: plan})
		_, failed = e.Run(t.Context(), "r1", plan)
		done := builder.Event{Time: time.Now(), Run: "r1", Type: builder.RunDone, Elapsed: time.Since(began)}
		if failed != nil {
			done.Err = failed.Error()
		}
		sink.Emit(done)
		if err := sink.Close(); err != nil {
			t.Fatal(err)
		}
		return b.String(), failed
	}

	text, err := process()
	if _, ok := errors.AsType[*builder.ExitError](err); !ok {
		t.Fatalf("the first run: %v\n%s", err, text)
	}
	for _, want := range []string{"web   | ran one with ***", "web   # running one", "1/3 one: done in", "again: ", "2/3 two: failed after", "exit status 3 (paper.yaml:5:5)", "bake resume r1"} {
		if !strings.Contains(text, want) {
			t.Errorf("the first run lacks %q:\n%s", want, text)
		}
	}
	r, err := ReadRun(dir)
	if err != nil || r.Status != Failed || len(r.Failures()) != 1 || r.Builds[0].Status != Failed {
		t.Errorf("the record of the first run: %+v, %v", r, err)
	}

	mend = true
	if text, err = process(); err != nil {
		t.Fatalf("the second run: %v\n%s", err, text)
	}
	for _, want := range []string{"1/3 one: cached", "2/3 two: done in", "published shelf/web:1", "done in"} {
		if !strings.Contains(text, want) {
			t.Errorf("the second run lacks %q:\n%s", want, text)
		}
	}
	r, err = ReadRun(dir)
	if err != nil || r.Status != Done || r.Resumed != 1 || len(r.Failures()) != 0 || r.Builds[0].Status != Done || len(r.Results()) != 1 {
		t.Errorf("the record of the second run: %+v, %v", r, err)
	}
	t.Logf("the second run:\n%s", text)
}
