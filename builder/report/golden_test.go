package report

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"bake/builder"
)

var update = flag.Bool("update", false, "write the golden files")

// golden compares got with testdata/name.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

func stories() map[string]*story {
	return map[string]*story{"success": successStory(), "failure": failureStory(), "stopped": stoppedStory()}
}

// show feeds the story to a sink of the mode and returns what it wrote.
func show(t *testing.T, s *story, o Options) (out, err string) {
	t.Helper()
	var outBuf, errBuf bytes.Buffer
	o.Out, o.Err = &outBuf, &errBuf
	sink, e := New(o)
	if e != nil {
		t.Fatal(e)
	}
	s.feed(sink)
	if e := sink.Close(); e != nil {
		t.Fatal(e)
	}
	return outBuf.String(), errBuf.String()
}

func TestPlainLinesTellTheStory(t *testing.T) {
	for name, s := range stories() {
		out, err := show(t, s, Options{Mode: Text, Dir: ".bake/runs/20261121-223100-k3f9"})
		if out != "" {
			t.Errorf("%s: stdout got %q", name, out)
		}
		golden(t, name+".plain", err)
	}
}

func TestPlainLinesMayHaveTimes(t *testing.T) {
	_, err := show(t, successStory(), Options{Mode: Plain, Timestamps: true})
	if first, _, _ := strings.Cut(err, "\n"); first != "22:31:00.000 bake  run 20261121-223100-k3f9 of web.yaml: 2 builds, 6 steps" && !strings.HasPrefix(first, "22:31:00.000 bake  run") {
		t.Errorf("the first line is %q", first)
	}
}

func TestJSONLinesAreTheEvents(t *testing.T) {
	for name, s := range stories() {
		out, err := show(t, s, Options{Mode: JSON})
		if err != "" {
			t.Errorf("%s: stderr got %q", name, err)
		}
		for line := range strings.Lines(out) {
			var e builder.Event
			d := json.NewDecoder(strings.NewReader(line))
			d.DisallowUnknownFields()
			if err := d.Decode(&e); err != nil {
				t.Fatalf("%s: %v", line, err)
			}
		}
		golden(t, name+".jsonl", out)
	}
}

func TestGitHubGetsGroupsAnnotationsAndASummary(t *testing.T) {
	for name, s := range stories() {
		dir := t.TempDir()
		h := newGitHub(Options{Environ: []string{"GITHUB_STEP_SUMMARY=" + dir + "/summary", "GITHUB_OUTPUT=" + dir + "/output"}})
		var buf bytes.Buffer
		h.w.Reset(&buf)
		h.token = "TOKEN"
		q := newQueue(h, drops)
		s.feed(q)
		if err := q.Close(); err != nil {
			t.Fatal(err)
		}
		golden(t, name+".github", buf.String())
		for file, golden2 := range map[string]string{"summary": name + ".md", "output": name + ".outputs"} {
			data, err := os.ReadFile(filepath.Join(dir, file))
			if err != nil {
				t.Fatal(err)
			}
			golden(t, golden2, string(data))
		}
	}
}

func TestResultsAreReferencesAndDigests(t *testing.T) {
	var c Collector
	successStory().feed(&c)
	c.With(func(r *Run) {
		var b bytes.Buffer
		if err := Results(&b, r); err != nil {
			t.Fatal(err)
		}
		want := "127.0.0.1:5000/base:1.4.2\t" + digest1 + "\n127.0.0.1:5000/web:1.4.2\t" + digest2 + "\n"
		if b.String() != want {
			t.Errorf("got %q, want %q", b.String(), want)
		}
	})
}
