package report

import (
	"crypto/sha256"
	_ "embed" // the page's template, style and script
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"slices"
	"strings"
	"time"
)

//go:embed page/page.html
var pageHTML string // never written

//go:embed page/style.css
var pageCSS string // never written

//go:embed page/script.js
var pageJS string // never written

// How much of the logs a page holds. The log files have all of it.
const (
	pageLogs = 8 << 20   // bytes, of all steps together
	stepHead = 64 << 10  // bytes of the beginning of one log
	stepTail = 192 << 10 // and of its end
)

// HTML writes a page about the run to w: what was made, when, and what was
// printed. It is one file that needs nothing else. Nothing in it runs but its own
// script: logs are text, and the page's policy lets no other script in.
func HTML(w io.Writer, r *Run) error {
	t, err := template.New("page").Parse(pageHTML)
	if err != nil {
		return fmt.Errorf("reading the page's template: %w", err)
	}
	p, err := newPage(r)
	if err != nil {
		return err
	}
	if err := t.Execute(w, p); err != nil {
		return fmt.Errorf("writing the report of run %s: %w", r.ID, err)
	}
	return nil
}

// A page is what the template of the report shows: text and numbers only.
type page struct {
	Run      *Run
	Name     string
	Template string
	Err      string
	Word     string // how it went, in a word or two
	Started  string
	Took     string
	Facts    []fact
	Failures []*stepPart
	Builds   []*buildPart
	Ticks    []tick
	Notices  []Notice
	Left     []string
	Script   template.JS
	Style    template.CSS
	Policy   string
}

type fact struct{ Name, Value string }

type tick struct {
	At   float64 // percent of the width
	Text string
}

type buildPart struct {
	ID      string
	Name    string
	Status  Status
	Facts   []fact
	Took    string
	Count   string // of the steps
	Open    bool   // show the steps at once
	Steps   []*stepPart
	Cached  []tick // where steps that were cached stand on the timeline
	Results []resultPart
	Images  []imagePart
	Note    string // why there is nothing to see
}

type resultPart struct {
	Kind, Ref, Summary, Digest, Run string
	Unchanged                       bool
	Values                          []fact
}

type imagePart struct {
	Platform, ID, Size string
	Layers             []layerPart
}

type layerPart struct {
	Number       int
	Step, DiffID string
	Size         string
	Share        float64 // percent of the image
	Base         bool
}

type stepPart struct {
	ID, Step, Build, Title, Kind, Phase, Pos, Took, Why string
	Status                                              Status
	OnTimeline                                          bool
	At, Width                                           float64 // percent
	Err, Hint                                           string
	Notes                                               []string
	Config                                              string
	Log                                                 *logPart
	Resume, Logs                                        string // commands
}

type logPart struct {
	Head, Tail string
	Skipped    int // lines between them
	File       string
}

func newPage(r *Run) (*page, error) {
	p := &page{Run: r, Name: clean(r.Name), Template: clean(r.Template), Err: strings.Join(cleanLines(r.Err), "\n"), Word: statusWord(r), Script: template.JS(pageJS), Style: template.CSS(pageCSS)}
	if p.Name == "" {
		p.Name = p.Template
	}
	sum := sha256.Sum256([]byte(pageJS))
	p.Policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; script-src 'sha256-" +
		base64.StdEncoding.EncodeToString(sum[:]) + "'"
	if !r.Started.IsZero() {
		p.Started = r.Started.UTC().Format("2 January 2006, 15:04:05 UTC")
	}
	span := newSpan(r)
	p.Ticks = span.ticks()
	logs := logBudget{run: r, left: pageLogs}
	for i, b := range r.Builds {
		part, err := newBuildPart(r, b, i, span, &logs)
		if err != nil {
			return nil, err
		}
		p.Builds = append(p.Builds, part)
		for _, s := range part.Steps {
			if s.Status == Failed && slices.ContainsFunc(r.Failures(), func(f *Step) bool { return string(f.ID) == s.Step }) {
				p.Failures = append(p.Failures, s)
			}
		}
	}
	p.Took = duration(cmpDuration(r.Elapsed, span.end.Sub(span.start)))
	p.Facts = pageFacts(r)
	for _, n := range r.Notices {
		p.Notices = append(p.Notices, Notice{clean(n.Text), clean(n.Hint)})
	}
	for _, l := range r.Left {
		p.Left = append(p.Left, clean(strings.TrimSpace(l.Kind+" "+l.ID+" "+l.Where)))
	}
	return p, nil
}

// cmpDuration returns d, or other if d is not known.
func cmpDuration(d, other time.Duration) time.Duration {
	if d > 0 {
		return d
	}
	return other
}

func statusWord(r *Run) string {
	switch {
	case r.Status == Done && r.countSteps("") > 0 && r.countSteps(Cached) == r.countSteps(""):
		return "nothing to do"
	case r.Status == Interrupted && !r.Ended.IsZero():
		return "stopped"
	case r.Status == Interrupted:
		return "not finished"
	}
	return string(r.Status)
}

func pageFacts(r *Run) []fact {
	facts := []fact{
		{"builds", fmt.Sprintf("%d of %d", r.countBuilds(Done), len(r.Builds))},
		{"steps", fmt.Sprint(r.countSteps(""))},
		{"cached", fmt.Sprint(r.countSteps(Cached))},
	}
	var bytes int64
	for _, b := range r.Builds {
		if b.Artifact != nil && b.Artifact.Image != nil {
			bytes += b.Artifact.Image.Size
		}
	}
	if bytes > 0 {
		facts = append(facts, fact{"image size", size(bytes)})
	}
	if r.Resumed > 0 {
		facts = append(facts, fact{"resumed", count(r.Resumed, "time")})
	}
	return facts
}
