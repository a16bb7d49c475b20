package report

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"bake/builder"
	"bake/templates"
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

func TestEachOutputSaysWhereItIsAndHowToRunIt(t *testing.T) {
	image := &builder.Artifact{Image: &builder.Image{ID: digest3}}
	for _, c := range []struct {
		output           string
		artifact         *builder.Artifact
		values           map[string]string
		ref, digest, run string
	}{
		{"registry", image, map[string]string{"name": "r.example/api:1", "ref": "r.example/api@" + digest1, "digest": digest1}, "r.example/api:1", digest1, "docker run --rm -it r.example/api:1"},
		{"image", image, map[string]string{"name": "api:1", "ref": "api:1", "id": digest3, "digest": digest3}, "api:1", digest3, "docker run --rm -it api:1"},
		{"archive", image, map[string]string{"path": "/tmp/my api.tar", "digest": digest2, "format": "docker"}, "/tmp/my api.tar", digest2, "docker load -i '/tmp/my api.tar'"},
		{"archive", image, map[string]string{"path": "/tmp/api.tar", "digest": digest2, "format": "oci"}, "/tmp/api.tar", digest2, "podman run --rm -it oci-archive:/tmp/api.tar"},
		{"archive", image, map[string]string{"path": "/tmp/api", "digest": digest2, "format": "oci-dir"}, "/tmp/api", digest2, "podman run --rm -it oci:/tmp/api"},
		{"archive", image, map[string]string{"path": "/tmp/root.tar", "format": "rootfs"}, "/tmp/root.tar", "", "docker import /tmp/root.tar"},
		{"manifest", image, map[string]string{"path": "/tmp/made.json"}, "/tmp/made.json", "", ""},
		{"anything", image, map[string]string{"ref": "x", "run": "do this"}, "x", "", "do this"},
		{"", image, nil, "web", digest3, ""},
		{"", &builder.Artifact{AMI: &builder.AMI{ID: "ami-1"}}, nil, "ami-1", "", ""},
	} {
		res := builder.Result{Build: "web", Artifact: c.artifact, Output: c.output}
		if c.values != nil {
			res.Published = &builder.Published{Values: c.values}
		}
		ref, digest := refOf(res)
		if ref != c.ref || digest != c.digest || runHint(res) != c.run {
			t.Errorf("%s %v: %q %q, run %q; want %q %q, %q", c.output, c.values, ref, digest, runHint(res), c.ref, c.digest, c.run)
		}
	}
}

func TestSilentStepsAreToldOfNowAndThen(t *testing.T) {
	for mode, want := range map[Mode]string{
		Plain:  "web   1/1 compile: still running, 1m00s, pulling 1.0 KiB of 4.0 KiB\n",
		GitHub: "still running: web: 1/1 compile (1m00s)\n",
	} {
		synctest.Test(t, func(t *testing.T) {
			var out bytes.Buffer
			sink, err := New(Options{Mode: mode, Err: &out})
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range []builder.Event{
				{Type: builder.RunStarted, Text: "web.yaml"},
				{Type: builder.BuildStarted, Build: "web"},
				{Type: builder.StepStarted, Step: "web/provision/1", Text: "compile", Phase: builder.Provision},
				{Type: builder.StepProgress, Step: "web/provision/1", Progress: &builder.Progress{ID: "x", Verb: "pulling", Done: 1 << 10, Total: 4 << 10, Unit: "B"}},
			} {
				e.Time = time.Now()
				sink.Emit(e)
			}
			time.Sleep(61 * time.Second)
			if err := sink.Close(); err != nil {
				t.Fatal(err)
			}
			if n := strings.Count(out.String(), "still running"); n != 2 || !strings.Contains(out.String(), want) {
				t.Errorf("%s: told %d times, want twice and %q:\n%s", mode, n, want, out.String())
			}
		})
	}
}

func TestAnnotationsNameFilesAsTheRepositoryDoes(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "images"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Chdir(filepath.Join(dir, "images"))
	h := newGitHub(Options{Environ: []string{"GITHUB_WORKSPACE=" + dir}})
	for file, want := range map[string]string{
		"web.yaml":               "file=images/web.yaml,line=3,col=7,",
		"../odd,na:me%.yaml":     "file=odd%2Cna%3Ame%25.yaml,line=3,col=7,",
		"../../outside/web.yaml": "file=../../outside/web.yaml,line=3,col=7,",
	} {
		if got := h.place(&Step{Pos: templates.Pos{File: file, Line: 3, Col: 7}}); got != want {
			t.Errorf("%s: %q, want %q", file, got, want)
		}
	}
	if got := h.place(&Step{}); got != "" {
		t.Errorf("no place: %q", got)
	}
}
