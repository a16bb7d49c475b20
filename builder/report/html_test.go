package report

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bake/builder"
	"bake/internal/need"
)

func writePage(t *testing.T, s *story) string {
	t.Helper()
	dir := t.TempDir()
	keep(t, dir, s)
	r, err := ReadRun(dir)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := HTML(&b, r); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestTheReportIsOnePage(t *testing.T) {
	for name, s := range stories() {
		got := writePage(t, s)
		sum := sha256.Sum256([]byte(pageJS))
		golden(t, name+".html", strings.NewReplacer(pageCSS, "STYLE", pageJS, "SCRIPT",
			strings.ReplaceAll(base64.StdEncoding.EncodeToString(sum[:]), "+", "&#43;"), "DIGEST").Replace(got))
		for _, bad := range []string{"http-equiv=\"refresh", "<link rel=\"stylesheet", "src=\"http", "ZgotmplZ", "@import", "url("} {
			if strings.Contains(got, bad) {
				t.Errorf("%s: the page has %q", name, bad)
			}
		}
	}
}

func TestHostileLogsAreTextInTheReport(t *testing.T) {
	got := writePage(t, failureStory())
	if strings.Contains(got, "<script>alert") || !strings.Contains(got, "&lt;script&gt;alert(1)&lt;/script&gt;") {
		t.Error("a script in a log is not escaped")
	}
	if strings.ContainsAny(got, "\x1b\a\u202e") {
		t.Error("a control character is in the page")
	}
	if n := strings.Count(got, "<script>"); n != 1 {
		t.Errorf("%d scripts, want 1", n)
	}
	_, rest, _ := strings.Cut(got, "<script>")
	script, _, _ := strings.Cut(rest, "</script>")
	sum := sha256.Sum256([]byte(script))
	if !strings.Contains(strings.ReplaceAll(got, "&#43;", "+"), base64.StdEncoding.EncodeToString(sum[:])) {
		t.Error("the page's policy does not let its own script run")
	}
}

func TestBigLogsAreCutInTheReport(t *testing.T) {
	s := newStory()
	s.add(builder.Event{Type: builder.RunStarted, Text: "web.yaml"})
	for step := range 40 {
		id := builder.StepID(fmt.Sprintf("web/provision/%d", step))
		s.start(id)
		for i := range 6000 {
			s.log(id, "stdout", fmt.Sprintf("line %d of step %d %s", i, step, strings.Repeat("x", 100)))
		}
		s.done(id, time.Second)
	}
	s.add(builder.Event{Type: builder.RunDone})
	got := writePage(t, s)
	if len(got) > pageLogs+1<<20 {
		t.Errorf("the page has %d bytes", len(got))
	}
	for _, want := range []string{"line 0 of step 0 ", "line 5999 of step 0 ", "lines left out: see logs/web/provision-0.log"} {
		if !strings.Contains(got, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
}

// Chromium draws the page and runs its script: a search for a word in a log
// leaves the steps that have it.
func TestTheReportSearchesInABrowser(t *testing.T) {
	chromium := need.Tool(t, "chromium")
	page := writePage(t, failureStory())
	// The page itself takes no foreign script; the test's own stands in its place.
	probe := `<script>const q=document.getElementById("q");q.value="unable to locate";q.dispatchEvent(new Event("input"));setTimeout(()=>{document.title="shown "+document.querySelectorAll(".step:not([hidden])").length+" open "+document.querySelectorAll(".step details[open]").length},400)</script></body>`
	page = strings.Replace(strings.Replace(page, "Content-Security-Policy", "X-None", 1), "</body>", probe, 1)
	file := filepath.Join(t.TempDir(), "report.html")
	if err := os.WriteFile(file, []byte(page), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(chromium, "--headless", "--no-sandbox", "--disable-gpu", "--user-data-dir="+t.TempDir(), "--virtual-time-budget=3000", "--dump-dom", "file://"+file).Output()
	if err != nil {
		t.Fatalf("chromium: %v", err)
	}
	if !strings.Contains(string(out), "<title>shown 1 open 1</title>") {
		_, title, _ := strings.Cut(string(out), "<title>")
		t.Errorf("the title after the search: %.60s", title)
	}
}
