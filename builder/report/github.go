package report

import (
	"bufio"
	"cmp"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"bake/builder"
)

// gitHub writes for the log of GitHub Actions. Groups there can neither nest
// nor interleave, so the log of a step is kept until the step is over, within
// bounds. What builds print stands between stop-commands, so that it cannot
// give the runner commands.
type gitHub struct {
	o     Options
	w     *bufio.Writer
	run   Run
	logs  map[builder.StepID]*excerpt
	token string    // nobody can guess it
	spoke time.Time // when the last line was written
	last  time.Time // the time of the event at hand
	err   error
}

func newGitHub(o Options) *gitHub {
	return &gitHub{o: o, w: bufio.NewWriter(o.Err), logs: map[builder.StepID]*excerpt{}, token: "bake-" + rand.Text()}
}

func (h *gitHub) event(e builder.Event) {
	h.run.Apply(e)
	h.last = e.Time
	if e.Type == builder.RunStarted {
		h.spoke = e.Time
		h.say(fmt.Sprintf("run %s of %s: %s, %s", e.Run, e.Text, count(len(h.run.Builds), "build"), count(h.run.countSteps(""), "step")))
		return
	}
	if e.Type == builder.Notice {
		text := e.Text
		if e.Hint != "" {
			text += "\nhint: " + e.Hint
		}
		h.command("notice", "", text)
		return
	}
	if s := h.run.steps[e.Step]; s != nil {
		h.step(s, e)
	}
}

func (h *gitHub) step(s *Step, e builder.Event) {
	name := s.build.Name + ": " + s.title()
	switch e.Type {
	case builder.StepLog:
		x := h.logs[s.ID]
		if x == nil {
			x = newExcerpt(256<<10, 256<<10)
			h.logs[s.ID] = x
		}
		if e.Stream == "" {
			e.Text = "# " + e.Text
		}
		x.add(e.Text)
	case builder.StepCached:
		h.say(name + ": cached")
	case builder.StepSkipped:
		h.say(name + ": skipped" + because(s.Skipped))
	case builder.StepRetry:
		h.command("warning", h.place(s)+"title="+property(name), "again: "+retry(e))
	case builder.StepDone:
		h.group(s, name+": "+outcome(s)+" in "+duration(s.Elapsed))
		if s.Published != nil && s.Published.Summary != "" {
			h.say(s.build.Name + ": " + s.Published.Summary)
		}
	case builder.StepFailed:
		if s.Status == Interrupted {
			h.group(s, name+": stopped after "+duration(s.Elapsed))
			return
		}
		h.say(name + ": failed after " + duration(s.Elapsed))
		h.log(s)
		text := s.Err
		if s.Hint != "" {
			text += "\nhint: " + s.Hint
		}
		kind := "error"
		if s.goesOn {
			kind = "warning"
		}
		h.command(kind, h.place(s)+"title="+property(name), text)
	}
}

// place is where the step stands in the repository, as properties of a command,
// with a comma after them.
func (h *gitHub) place(s *Step) string {
	if s.Pos.IsZero() {
		return ""
	}
	file := s.Pos.File
	if root := h.o.getenv("GITHUB_WORKSPACE"); root != "" && file != "" {
		if abs, err := filepath.Abs(file); err == nil {
			if rel, err := filepath.Rel(root, abs); err == nil && filepath.IsLocal(rel) {
				file = filepath.ToSlash(rel)
			}
		}
	}
	return fmt.Sprintf("file=%s,line=%d,col=%d,", property(file), s.Pos.Line, s.Pos.Col)
}

// group writes a folded group with the step's log, or a line if it has none.
func (h *gitHub) group(s *Step, title string) {
	if h.logs[s.ID] == nil {
		if s.worthTelling() {
			h.say(title)
		}
		return
	}
	h.write("::group::" + message(harmless(title)))
	h.log(s)
	h.write("::endgroup::")
}

// log writes what the step printed, with the runner not listening.
func (h *gitHub) log(s *Step) {
	x := h.logs[s.ID]
	if x == nil {
		return
	}
	delete(h.logs, s.ID)
	h.write("::stop-commands::" + h.token)
	head, skipped, tail := x.parts()
	for _, l := range head {
		h.write(harmless(l))
	}
	if skipped > 0 {
		h.write(fmt.Sprintf("(%s left out: the whole log is in %s)", count(skipped, "line"), cmp.Or(h.o.logPath(s.ID), LogFile(s.ID))))
	}
	for _, l := range tail {
		h.write(harmless(l))
	}
	h.write("::" + h.token + "::")
}

// command writes a workflow command that makes an annotation.
func (h *gitHub) command(name, properties, text string) {
	if properties != "" {
		name += " " + properties
	}
	h.write("::" + name + "::" + message(strings.Join(cleanLines(text), "\n")))
}

// message escapes the data of a workflow command, property that of its
// properties, as the runner unescapes them (actions/toolkit, command.ts).
func message(s string) string {
	return strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A").Replace(s)
}

func property(s string) string {
	return strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C").Replace(s)
}

// harmless returns a line that the runner and the log page take for text only:
// the runner takes "::" at the beginning, and "##[" anywhere, for commands.
func harmless(s string) string {
	s = strings.ReplaceAll(clean(s), "##[", "# #[")
	if strings.HasPrefix(strings.TrimSpace(s), "::") {
		s = "| " + s
	}
	return s
}

func (h *gitHub) say(text string) { h.write(harmless(text)) }

func (h *gitHub) write(line string) {
	h.w.WriteString(line + "\n") // bufio keeps the error for Flush
	h.spoke = h.last
}

func (h *gitHub) lost(lines int) {
	h.say(fmt.Sprintf("%s not shown: they came faster than they were read; the run's log files have them all", count(lines, "line")))
}

// tick tells what runs after a time of silence.
func (h *gitHub) tick(now time.Time) {
	if h.run.Status != Running || now.Sub(h.spoke) < quietFor {
		return
	}
	var doing []string
	for _, b := range h.run.Builds {
		for _, s := range b.Steps {
			if s.Status == Running {
				doing = append(doing, b.Name+": "+s.title()+" ("+seconds(sinceStart(s.Started, now))+")")
			}
		}
	}
	h.last = now
	h.say("still running: " + strings.Join(doing, "; "))
}

func (h *gitHub) flush() error {
	h.note(h.w.Flush())
	return h.err
}

func (h *gitHub) note(err error) {
	if h.err == nil {
		h.err = err
	}
}

func (h *gitHub) end() error {
	if h.run.Started.IsZero() {
		return h.flush()
	}
	for _, b := range h.run.Builds { // what an interrupted run leaves
		for _, s := range b.Steps {
			if h.logs[s.ID] != nil {
				h.group(s, b.Name+": "+s.title()+": not finished")
			}
		}
	}
	h.write("::stop-commands::" + h.token)
	for _, l := range summary(&h.run, h.o, newStyle(false, false)) {
		h.write(harmless(l))
	}
	h.write("::" + h.token + "::")
	for _, l := range h.run.Left {
		what := "could not be removed"
		if h.run.Kept {
			what = "was kept"
		}
		h.command("warning", "title=left behind", l.Kind+" "+cmp.Or(l.ID, l.Name)+" "+what+"; bake clean "+string(h.run.ID)+" removes it")
	}
	h.note(appendFile(h.o.getenv("GITHUB_STEP_SUMMARY"), stepSummary(&h.run)))
	h.note(appendFile(h.o.getenv("GITHUB_OUTPUT"), h.outputs()))
	return h.flush()
}

// outputs are values for later steps of the workflow: "results" as JSON, and
// for each build NAME-ref and NAME-digest; also plain "ref" and "digest" if
// there is one build only.
func (h *gitHub) outputs() string {
	type result struct {
		Build  string `json:"build"`
		Output string `json:"output,omitempty"`
		Ref    string `json:"ref"`
		Digest string `json:"digest,omitempty"`
	}
	all := []result{}
	var b strings.Builder
	set := func(name, value string) {
		fmt.Fprintf(&b, "%s<<%s\n%s\n%s\n", name, h.token, value, h.token)
	}
	seen := map[string]bool{}
	for _, res := range h.run.Results() {
		ref, digest := refOf(res)
		all = append(all, result{res.Build, res.Output, ref, digest})
		if seen[res.Build] {
			continue
		}
		seen[res.Build] = true
		name := strings.Map(outputRune, res.Build)
		set(name+"-ref", ref)
		set(name+"-digest", digest)
		if len(h.run.Builds) == 1 {
			set("ref", ref)
			set("digest", digest)
		}
	}
	data, err := json.Marshal(all)
	h.note(err)
	set("results", string(data))
	return b.String()
}

func outputRune(r rune) rune {
	if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_' {
		return r
	}
	return '-'
}

func appendFile(name, text string) error {
	if name == "" {
		return nil
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("writing for GitHub: %w", err)
	}
	if _, err = f.WriteString(text); err != nil {
		f.Close()
		return fmt.Errorf("writing for GitHub: %w", err)
	}
	return f.Close()
}
