package report

import (
	"bytes"
	gocmp "cmp"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"bake/builder"
	"bake/internal/redact"
)

func keep(t *testing.T, dir string, s *story) {
	t.Helper()
	sink, err := NewFiles(dir)
	if err != nil {
		t.Fatal(err)
	}
	s.feed(sink)
	if err := sink.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestARunReadBackIsTheRunThatWasSeen(t *testing.T) {
	for name, s := range stories() {
		dir := filepath.Join(t.TempDir(), "run")
		keep(t, dir, s)
		got, err := ReadRun(dir)
		if err != nil {
			t.Fatal(err)
		}
		var seen Run
		for _, e := range s.events {
			seen.Apply(e)
		}
		seen.Dir = dir
		ignore := cmp.Options{cmpopts.IgnoreUnexported(Run{}, Build{}, Step{}), cmpopts.IgnoreFields(Step{}, "Tail", "Lines")}
		if diff := cmp.Diff(&seen, got, ignore); diff != "" {
			t.Errorf("%s (-seen +read):\n%s", name, diff)
		}
	}
}

func TestTheLogOfAStepHoldsItsLinesAsTheyWere(t *testing.T) {
	dir := t.TempDir()
	keep(t, dir, successStory())
	got, err := os.ReadFile(filepath.Join(dir, LogFile("base/provision/2")))
	if err != nil {
		t.Fatal(err)
	}
	want := "first \x1b[31mred\x1b[0m line\n10%\r50%\r100%\n# the service is not enabled\n# again: exit status 1; attempt 2 of 3 in 1s\n::error::not a command ##[error]nor this\n"
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Error(diff)
	}
	if info, err := os.Stat(filepath.Join(dir, eventsFile)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the event log: %v, %v; want it for its owner only", info.Mode(), err)
	}
}

func TestLogsShowAStepABuildOrAll(t *testing.T) {
	dir := t.TempDir()
	keep(t, dir, failureStory())
	r, err := ReadRun(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"", "web", "api/provision/0", "api/1", "compile"} {
		var b bytes.Buffer
		if err := Logs(&b, r, name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
		golden(t, "logs-"+gocmp.Or(strings.ReplaceAll(name, "/", "-"), "all")+".txt", b.String())
	}
	err = Logs(&bytes.Buffer{}, r, "nope")
	var hint interface{ Hint() string }
	if !errors.Is(err, builder.ErrNotFound) || !errors.As(err, &hint) {
		t.Errorf("a step that does not exist: %v; want ErrNotFound and a hint", err)
	}
}

func TestAKilledRunCanBeReadAndGoneOnWith(t *testing.T) {
	dir := t.TempDir()
	s := failureStory()
	whole := s.events
	s.events = whole[:20]
	keep(t, dir, s)
	torn, err := os.OpenFile(filepath.Join(dir, eventsFile), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(torn, `{"type":"step.do`)
	torn.Close()
	r, err := ReadRun(dir)
	if err != nil {
		t.Fatal(err)
	}
	if r.Status != Interrupted {
		t.Errorf("a killed run is %s", r.Status)
	}
	s.events = whole
	keep(t, dir, s)
	if r, err = ReadRun(dir); err != nil {
		t.Fatal(err)
	}
	if r.Status != Failed || r.Resumed != 1 || len(r.Failures()) != 1 {
		t.Errorf("status %s, resumed %d times, %d failures", r.Status, r.Resumed, len(r.Failures()))
	}
}

func TestRunsAreListedNewestFirst(t *testing.T) {
	dir := t.TempDir()
	first, second := successStory(), failureStory()
	keep(t, filepath.Join(dir, "20261121-100000-aaaa"), first)
	for i := range second.events {
		second.events[i].Run = "20261121-223200-bbbb"
	}
	keep(t, filepath.Join(dir, "20261121-223200-bbbb"), second)
	if err := os.Mkdir(filepath.Join(dir, "no-run"), 0o700); err != nil {
		t.Fatal(err)
	}
	runs, err := ReadRuns(dir)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := List(&b, runs, time.UTC); err != nil {
		t.Fatal(err)
	}
	golden(t, "list.txt", b.String())
	if runs, err := ReadRuns(filepath.Join(dir, "none")); len(runs) != 0 || err != nil {
		t.Errorf("no directory: %v, %v", runs, err)
	}
}

func TestLogFilesStayInTheirDirectoryAndApart(t *testing.T) {
	seen := map[string]builder.StepID{}
	for _, id := range []builder.StepID{"web/provision/2", "../../etc/passwd", "..", "/", "", "a/b", "a b/c", "a_b/c", "ä/c", "ö/c", builder.StepID(strings.Repeat("x", 300) + "/y")} {
		name := LogFile(id)
		if !filepath.IsLocal(name) || !strings.HasPrefix(name, logsDir+"/") || len(filepath.Base(filepath.Dir(name))) > 120 {
			t.Errorf("%q has its log in %q", id, name)
		}
		if other, ok := seen[name]; ok {
			t.Errorf("%q and %q share %q", id, other, name)
		}
		seen[name] = id
	}
}

// No line is lost in files, whatever else is slow.
func TestFilesKeepEveryLineOfManyBuilds(t *testing.T) {
	dir := t.TempDir()
	files, err := NewFiles(dir)
	if err != nil {
		t.Fatal(err)
	}
	const lines = 20_000
	var wg sync.WaitGroup
	for b := range 4 {
		wg.Go(func() {
			for i := range lines {
				files.Emit(builder.Event{Type: builder.StepLog, Step: builder.StepID(fmt.Sprintf("b%d/provision/0", b)), Stream: "stdout", Text: fmt.Sprint(i)})
			}
		})
	}
	wg.Wait()
	if err := files.Close(); err != nil {
		t.Fatal(err)
	}
	var want strings.Builder
	for i := range lines {
		fmt.Fprintln(&want, i)
	}
	for b := range 4 {
		got, err := os.ReadFile(filepath.Join(dir, LogFile(builder.StepID(fmt.Sprintf("b%d/provision/0", b)))))
		if err != nil || string(got) != want.String() {
			t.Errorf("build %d: %d bytes, want %d: %v", b, len(got), want.Len(), err)
		}
	}
}

// stuck is a reader that reads nothing until it is let go.
type stuck struct {
	let chan struct{}
	got bytes.Buffer
}

func (w *stuck) Write(p []byte) (int, error) { <-w.let; return w.got.Write(p) }

func TestAReaderThatDoesNotReadHoldsUpTheBuildOnlyForAWhile(t *testing.T) {
	for _, terminal := range []*Terminal{nil, {Size: func() (int, int) { return 80, 24 }}} {
		w := &stuck{let: make(chan struct{})}
		sink, err := New(Options{Mode: Text, Err: w, Terminal: terminal})
		if err != nil {
			t.Fatal(err)
		}
		s := newStory()
		s.add(builder.Event{Type: builder.RunStarted, Text: "x"})
		s.start("web/provision/0")
		s.feed(sink)
		begin := time.Now()
		for range 5 * queueLimit {
			sink.Emit(builder.Event{Type: builder.StepLog, Step: "web/provision/0", Stream: "stdout", Text: "line"})
		}
		if took := time.Since(begin); took > 5*queueGrace {
			t.Errorf("the build waited %s", took)
		}
		close(w.let)
		if err := sink.Close(); err != nil {
			t.Error(err)
		}
		if terminal == nil && !strings.Contains(w.got.String(), "lines not shown") {
			t.Error("lines were dropped and nobody was told")
		}
	}
}

func TestNoSecretPassesRedact(t *testing.T) {
	const secret = `s3cr3t"/pass`
	enc := base64.StdEncoding.EncodeToString([]byte(secret))
	plan := &builder.Plan{Builds: []builder.Build{{Name: "web", Pin: builder.Pin{Values: map[string]string{"auth": secret}},
		Steps: []builder.Step{{ID: "web/provision/0", Name: "use " + secret, Config: json.RawMessage(`{"run":["echo s3cr3t\"/pass"],"n":12345}`), Env: map[string]string{"T": secret}}}}}}
	events := []builder.Event{
		{Type: builder.RunStarted, Text: "x", Plan: plan},
		{Type: builder.StepLog, Step: "web/provision/0", Text: "token " + enc},
		{Type: builder.StepFailed, Step: "web/provision/0", Err: secret, Hint: secret},
		{Type: builder.StepDone, Step: "web/publish/0", Published: &builder.Published{Values: map[string]string{"ref": secret}, Summary: secret}},
		{Type: builder.StepDone, Step: "web/provision/0", Outcome: &builder.Outcome{Note: secret}},
		{Type: builder.StepProgress, Step: "web/provision/0", Progress: &builder.Progress{ID: secret}},
		{Type: builder.ResourceCreated, Resource: &builder.Resource{ID: secret}},
		{Type: builder.BuildDone, Build: "web", Artifact: &builder.Artifact{Image: &builder.Image{Annotations: map[string]string{"a": secret}, Layers: []builder.Layer{{Step: secret}}}}},
		{Type: builder.RunDone, Err: secret, Left: []builder.Resource{{ID: secret}}},
	}
	var out bytes.Buffer
	sink, err := New(Options{Mode: JSON, Out: &out})
	if err != nil {
		t.Fatal(err)
	}
	r := redact.New([]string{secret, "12345"})
	safe := Redact(sink, r)
	for _, e := range events {
		safe.Emit(e)
	}
	if err := safe.Close(); err != nil {
		t.Fatal(err)
	}
	if text := out.String(); strings.Contains(text, "s3cr3t") || strings.Contains(text, "12345") || strings.Contains(text, enc[:10]) {
		t.Errorf("a secret is left in:\n%s", text)
	}
	if n := strings.Count(out.String(), redact.Mask); n < 14 {
		t.Errorf("%d masks in:\n%s", n, out.String())
	}
	if plan.Builds[0].Steps[0].Env["T"] != secret || plan.Builds[0].Pin.Values["auth"] != secret {
		t.Error("the engine's own plan was changed")
	}
}

func TestASecretAcrossThePiecesOfALongLineIsRedacted(t *testing.T) {
	const secret = "correct-horse-battery"
	for _, cut := range []int{1, 7, len(secret) - 1} {
		var out bytes.Buffer
		sink, err := New(Options{Mode: JSON, Out: &out})
		if err != nil {
			t.Fatal(err)
		}
		safe := Redact(sink, redact.New([]string{secret}))
		s := newStory()
		s.log("web/provision/0", "stdout", strings.Repeat("x", longLine)+secret[:cut])
		s.log("web/provision/0", "stderr", "other stream")
		s.log("web/provision/0", "stdout", secret[cut:]+" end")
		s.log("web/provision/0", "stdout", strings.Repeat("y", longLine)+secret[:cut])
		s.done("web/provision/0", time.Second)
		s.feed(safe)
		if err := safe.Close(); err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{`"text":"*** end"`, `"text":"other stream"`, `"text":"` + secret[:cut] + `"`} {
			if !strings.Contains(out.String(), want) {
				t.Errorf("cut at %d: %s is missing", cut, want)
			}
		}
		if strings.Contains(out.String(), secret[cut:]+" end") {
			t.Errorf("cut at %d: the secret's end is shown", cut)
		}
	}
}

func TestARunThatIsTakenUpEndsDone(t *testing.T) {
	s := newStory()
	b := planned("web", 4, "one", "two")
	s.add(builder.Event{Type: builder.RunStarted, Text: "web.yaml", Plan: &builder.Plan{Builds: []builder.Build{b}}})
	for _, step := range b.Steps[:4] {
		s.add(builder.Event{Type: builder.StepCached, Step: step.ID, Phase: step.Phase})
	}
	var r Run
	for _, e := range s.events {
		r.Apply(e)
	}
	if got := r.Builds[0].Status; got != Running {
		t.Errorf("with two steps to go the build is %s", got)
	}
	for _, step := range b.Steps[4:] {
		r.Apply(builder.Event{Time: s.now, Type: builder.StepCached, Step: step.ID, Phase: step.Phase, Published: &builder.Published{Summary: "pushed"}})
	}
	if got := r.Builds[0].Status; got != Done || len(r.Results()) == 0 {
		t.Errorf("the build is %s with %d results", got, len(r.Results()))
	}
}

func TestABuildThatIsTriedAgainRuns(t *testing.T) {
	s := failureStory()
	s.events = s.events[:len(s.events)-1]
	s.start("web/provision/0")
	var r Run
	for _, e := range s.events {
		r.Apply(e)
	}
	if got := r.builds["web"].Status; got != Running || len(r.Failures()) != 0 {
		t.Errorf("the build is %s with %d failures", got, len(r.Failures()))
	}
}
