package report

import (
	"bufio"
	"fmt"
	"strings"
	"time"

	"bake/builder"
)

// quietFor is how long a build may say nothing before a line tells that it
// still runs: some CI systems end jobs that are silent.
const quietFor = 30 * time.Second

// plainLines writes one line per event, each with the name of its build before
// it, for logs and pipes.
type plainLines struct {
	o     Options
	w     *bufio.Writer
	st    style
	run   Run
	width int                  // of the longest build name
	said  map[string]time.Time // build -> when its last line was written
	last  time.Time            // the time of the event at hand
	err   error
}

func newPlain(o Options) *plainLines {
	return &plainLines{o: o, w: bufio.NewWriter(o.Err), st: newStyle(false, false), said: map[string]time.Time{}}
}

func (h *plainLines) event(e builder.Event) {
	h.run.Apply(e)
	h.last = e.Time
	switch e.Type {
	case builder.RunStarted:
		h.begin(e)
	case builder.BuildStarted:
		h.buildStarted(h.run.build(e.Build))
	case builder.BuildDone:
		h.buildDone(h.run.build(e.Build))
	case builder.Notice:
		for _, l := range notice(Notice{e.Text, e.Hint}, h.st) {
			h.say("", l)
		}
	case builder.ResourceCreated, builder.ResourceDeleted, builder.RunDone:
	default:
		if s := h.run.steps[e.Step]; s != nil {
			h.step(s, e)
		}
	}
}

func (h *plainLines) begin(e builder.Event) {
	for _, b := range h.run.Builds {
		h.width = max(h.width, min(cells(clean(b.Name)), 24))
	}
	h.say("", fmt.Sprintf("run %s of %s: %s, %s", e.Run, clean(e.Text), count(len(h.run.Builds), "build"), count(h.run.countSteps(""), "step")))
}

func (h *plainLines) buildStarted(b *Build) {
	line := "starting"
	if b.Base != "" {
		line += " from " + shortRef(clean(b.Base))
	}
	if b.Platform.OS != "" {
		line += " for " + b.Platform.String()
	}
	h.say(b.Name, line)
}

func (h *plainLines) buildDone(b *Build) {
	facts := []string{buildTime(b), cachedOf(b)}
	if b.Artifact != nil && b.Artifact.Image != nil {
		facts = append(facts, short(b.Artifact.Image.ID))
		if b.Artifact.Image.Size > 0 {
			facts = append(facts, size(b.Artifact.Image.Size))
		}
	}
	if b.Artifact != nil && b.Artifact.AMI != nil {
		facts = append(facts, b.Artifact.AMI.ID)
	}
	if b.Artifact != nil && b.Artifact.Host != nil {
		facts = append(facts, b.Artifact.Host.Address)
	}
	h.say(b.Name, "done: "+join(facts, ", "))
}

func (h *plainLines) step(s *Step, e builder.Event) {
	switch e.Type {
	case builder.StepStarted:
		if s.Number > 0 {
			h.say(s.build.Name, s.title()+where(s))
		}
	case builder.StepCached:
		h.say(s.build.Name, s.title()+": cached")
	case builder.StepSkipped:
		h.say(s.build.Name, s.title()+": skipped"+because(s.Skipped))
	case builder.StepLog:
		for _, l := range cleanLines(e.Text) {
			h.say(s.build.Name, logMark(e)+l)
		}
	case builder.StepProgress:
		if p := e.Progress; p != nil && p.Ended {
			h.say(s.build.Name, progressEnded(*p))
		}
	case builder.StepRetry:
		h.say(s.build.Name, s.title()+": again: "+clean(retry(e)))
	case builder.StepDone:
		if s.worthTelling() {
			h.say(s.build.Name, s.title()+": "+outcome(s)+" in "+duration(s.Elapsed))
		}
		if s.Published != nil && s.Published.Summary != "" {
			h.say(s.build.Name, clean(s.Published.Summary))
		}
	case builder.StepFailed:
		if s.Status == Interrupted {
			h.say(s.build.Name, s.title()+": stopped after "+duration(s.Elapsed))
			return
		}
		h.say(s.build.Name, s.title()+": failed after "+duration(s.Elapsed)+": "+clean(firstLine(s.Err))+where(s))
	}
}

// logMark tells bake's own words in a step's log from what the step printed.
func logMark(e builder.Event) string {
	if e.Stream == "" {
		return "# "
	}
	return "| "
}

// worthTelling leaves out what the engine does on its own unless it took a while.
func (s *Step) worthTelling() bool { return s.Number > 0 || s.Elapsed >= 100*time.Millisecond }

// outcome is one or a few words on how a step went well.
func outcome(s *Step) string {
	switch {
	case s.Outcome != nil && s.Outcome.Unchanged, s.Published != nil && s.Published.Unchanged:
		return "unchanged"
	case s.Outcome != nil && s.Outcome.Note != "":
		return clean(s.Outcome.Note)
	}
	return "done"
}

func because(reason string) string {
	if reason = clean(firstLine(reason)); reason == "" {
		return ""
	}
	return ": " + reason
}

func where(s *Step) string {
	if s.Pos.IsZero() {
		return ""
	}
	return " (" + clean(s.Pos.String()) + ")"
}

// progressEnded tells of a transfer that is over: "pulling layer sha256:0123: 27.1 MiB".
func progressEnded(p builder.Progress) string {
	line := strings.TrimSpace(clean(p.Verb) + " " + shortID(p.ID))
	if p.Done > 0 {
		line += ": " + amount(p.Done, p.Unit)
	}
	return line
}

// shortID shortens the digests in the id of a transfer.
func shortID(id string) string {
	words := strings.Fields(clean(id))
	for i, w := range words {
		if strings.HasPrefix(w, "sha256:") {
			words[i] = short(w)
		}
	}
	return strings.Join(words, " ")
}

// say writes one line of a build, or of the run if build is "".
func (h *plainLines) say(build, text string) {
	if h.o.Timestamps {
		h.w.WriteString(h.last.UTC().Format("15:04:05.000 ")) // bufio keeps the error for Flush
	}
	if h.width > 0 || build != "" {
		name := clean(build)
		if name == "" {
			name = "bake"
		}
		h.w.WriteString(name + strings.Repeat(" ", max(0, max(h.width, 4)-cells(name))) + "  ")
	}
	h.w.WriteString(strings.TrimRight(text, " ") + "\n")
	h.said[build] = h.last
}

func (h *plainLines) lost(lines int) {
	h.say("", fmt.Sprintf("%s not shown: they came faster than they were read; the run's log files have them all", count(lines, "line")))
}

// tick tells of builds that have been silent for a while what they do.
func (h *plainLines) tick(now time.Time) {
	for _, b := range h.run.Builds {
		if b.Status != Running || now.Sub(h.said[b.Name]) < quietFor {
			continue
		}
		h.last = now
		for _, s := range b.Steps {
			if s.Status != Running {
				continue
			}
			line := s.title() + ": still running, " + seconds(sinceStart(s.Started, now))
			if p := total(s.Transfers); p.text != "" {
				line += ", " + p.text
			}
			h.say(b.Name, line)
		}
	}
}

func (h *plainLines) flush() error {
	if err := h.w.Flush(); h.err == nil {
		h.err = err
	}
	return h.err
}

func (h *plainLines) end() error {
	if !h.run.Started.IsZero() {
		for _, l := range summary(&h.run, h.o, h.st) {
			h.w.WriteString(l + "\n")
		}
	}
	return h.flush()
}
