package report

import (
	"bytes"
	"crypto/sha256"
	_ "embed" // the page's template, style and script
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"bake/builder"
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
	p := &page{Run: r, Name: r.Name, Word: statusWord(r), Script: template.JS(pageJS), Style: template.CSS(pageCSS)}
	if p.Name == "" {
		p.Name = r.Template
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

func newBuildPart(r *Run, b *Build, i int, span span, logs *logBudget) (*buildPart, error) {
	p := &buildPart{ID: fmt.Sprintf("b%d", i), Name: clean(b.Name), Status: b.Status, Took: buildTime(b), Count: stepsOf(b),
		Open: len(r.Builds) <= 3 || b.Status == Failed, Cached: span.cached(b)}
	for _, f := range []fact{{"platform", platformName(b.Platform)}, {"from", clean(b.Base)}, {"needs", clean(strings.Join(b.Needs, ", "))}} {
		if f.Value != "" {
			p.Facts = append(p.Facts, f)
		}
	}
	if b.Status == Waiting {
		p.Note = "This build was not started."
	}
	for j, s := range b.Steps {
		part, err := newStepPart(r, s, fmt.Sprintf("s%d-%d", i, j), span, logs)
		if err != nil {
			return nil, err
		}
		p.Steps = append(p.Steps, part)
	}
	for _, res := range r.Results() {
		if res.Build == b.Name {
			p.Results = append(p.Results, newResultPart(res))
		}
	}
	if a := b.Artifact; a != nil && a.Image != nil {
		images := a.Image.Manifests
		if len(images) == 0 {
			images = []builder.Image{*a.Image}
		}
		for _, img := range images {
			p.Images = append(p.Images, newImagePart(img))
		}
	}
	return p, nil
}

func platformName(p builder.Platform) string {
	if p.OS == "" {
		return ""
	}
	return p.String()
}

func stepsOf(b *Build) string {
	s := count(b.count(""), "step")
	if n := b.count(Cached); n > 0 {
		s += fmt.Sprintf(", %d cached", n)
	}
	return s
}

func newResultPart(res builder.Result) resultPart {
	ref, digest := refOf(res)
	p := resultPart{Kind: res.Output, Ref: clean(ref), Digest: clean(digest), Run: clean(runHint(res))}
	if res.Published != nil {
		p.Summary, p.Unchanged = clean(res.Summary), res.Unchanged
		for _, k := range slices.Sorted(maps.Keys(res.Values)) {
			if v := res.Values[k]; v != ref && v != digest {
				p.Values = append(p.Values, fact{clean(k), clean(v)})
			}
		}
	}
	return p
}

func newImagePart(img builder.Image) imagePart {
	p := imagePart{Platform: platformName(img.Platform), ID: clean(img.ID), Size: size(img.Size)}
	var total int64
	for _, l := range img.Layers {
		total += l.Size
	}
	for i, l := range img.Layers {
		part := layerPart{Number: i + 1, Step: clean(firstLine(l.Step)), DiffID: clean(string(l.DiffID)), Size: size(l.Size), Base: l.Step == ""}
		if part.Base {
			part.Step = "base image"
		}
		if total > 0 {
			part.Share = 100 * float64(l.Size) / float64(total)
		}
		p.Layers = append(p.Layers, part)
	}
	return p
}

func newStepPart(r *Run, s *Step, id string, span span, logs *logBudget) (*stepPart, error) {
	p := &stepPart{ID: id, Step: string(s.ID), Build: clean(s.build.Name), Title: s.title(), Kind: clean(s.Kind), Phase: string(s.Phase), Status: s.Status,
		Err: strings.Join(cleanLines(s.Err), "\n"), Hint: clean(s.Hint), Resume: "bake resume " + string(r.ID), Logs: "bake logs " + string(r.ID) + " " + string(s.ID)}
	if !s.Pos.IsZero() {
		p.Pos = clean(s.Pos.String())
	}
	if s.Status == Done || s.Status == Failed || s.Status == Interrupted {
		p.Took = duration(s.Elapsed)
	}
	p.Why = clean(firstLine(s.Skipped))
	if s.Outcome != nil && s.Outcome.Note != "" {
		p.Why = clean(s.Outcome.Note)
	}
	if s.Outcome != nil && s.Outcome.Unchanged {
		p.Why = "unchanged"
	}
	for _, n := range s.Retries {
		p.Notes = append(p.Notes, "tried again: "+clean(firstLine(n)))
	}
	if s.Status == Interrupted {
		p.Err, p.Why = "", "stopped"
	}
	p.Config = pretty(s.config)
	p.OnTimeline, p.At, p.Width = span.place(s)
	var err error
	p.Log, err = logs.read(s)
	return p, err
}

// pretty returns a step's configuration as the report shows it; "" for none.
func pretty(config []byte) string {
	var b bytes.Buffer
	if len(config) == 0 || string(config) == "{}" || string(config) == "null" || json.Indent(&b, config, "", "  ") != nil {
		return ""
	}
	return strings.Join(cleanLines(b.String()), "\n")
}

// A logBudget reads logs until the page has enough of them.
type logBudget struct {
	run  *Run
	left int
}

// read returns the beginning and the end of a step's log, nil if it has none.
func (l *logBudget) read(s *Step) (*logPart, error) {
	if l.run.Dir == "" {
		return nil, nil
	}
	name := LogFile(s.ID)
	f, err := os.Open(filepath.Join(l.run.Dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the log of %s: %w", s.ID, err)
	}
	defer f.Close()
	head, tail := stepHead, stepTail
	if s.Status != Failed { // what failed is always shown as far as one step can be
		head, tail = min(head, l.left/4), min(tail, l.left*3/4)
	}
	x := newExcerpt(head, tail)
	err = eachLine(f, func(line string) error {
		x.add(clean(line))
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading the log of %s: %w", s.ID, err)
	}
	first, skipped, last := x.parts()
	p := &logPart{Head: strings.Join(first, "\n"), Skipped: skipped, Tail: strings.Join(last, "\n"), File: name}
	l.left = max(0, l.left-len(p.Head)-len(p.Tail))
	if skipped == 0 && p.Tail != "" { // one text
		p.Head, p.Tail = strings.TrimPrefix(p.Head+"\n"+p.Tail, "\n"), ""
	}
	return p, nil
}
