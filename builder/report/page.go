package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"bake/builder"
)

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
			if v := res.Values[k]; v != "" && v != ref && v != digest && !saidAlready(k) {
				p.Values = append(p.Values, fact{clean(k), clean(v)})
			}
		}
	}
	return p
}

// saidAlready tells the values of an output that only repeat its reference.
func saidAlready(key string) bool {
	switch key {
	case "repository", "tag", "names", "run":
		return true
	}
	return false
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
