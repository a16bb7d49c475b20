package report

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// layout returns the lines of the live view: the state of the whole run as a
// rule between what is over and what goes on, a line for each build, and the last
// of the output where there is room. No line is
// wider than width-1 cells and there are at most height-1.
func layout(r *Run, st style, width, height int, now time.Time) []string {
	v := view{r: r, st: st, width: max(width-1, 1), now: now}
	v.names = nameWidth(r, width)
	room := max(height-1, 1)
	shown, hidden := choose(r.Builds, room-1)
	spare := room - 1 - len(shown)
	if len(hidden) > 0 {
		spare--
	}
	tails := tailRoom(shown, spare)
	out := []string{v.header()}
	for _, b := range shown {
		out = append(out, v.build(b, tails[b] > 0))
		out = append(out, v.tail(b, tails[b])...)
	}
	if len(hidden) > 0 {
		out = append(out, v.cut(st.dim("  "+st.sym.ellipsis+" "+hiddenBuilds(hidden))))
	}
	return out[max(0, len(out)-room):]
}

// A view lays out one frame.
type view struct {
	r     *Run
	st    style
	width int // cells that may be used
	names int // width of the column of build names
	now   time.Time
}

func nameWidth(r *Run, width int) int {
	n := 0
	for _, b := range r.Builds {
		n = max(n, cells(clean(b.Name)))
	}
	return min(n, 24, max(width/4, 4))
}

// choose returns the builds that fit on n lines, in their order; those that
// matter most stay: failed, running, waiting, done. If any is left out, a line
// is kept free to say so.
func choose(builds []*Build, n int) (shown, hidden []*Build) {
	if len(builds) <= n {
		return builds, nil
	}
	keep := map[*Build]bool{}
	for _, of := range []Status{Failed, Running, Interrupted, Waiting, Done} {
		for _, b := range builds {
			if b.Status == of && len(keep) < n-1 {
				keep[b] = true
			}
		}
	}
	for _, b := range builds {
		if keep[b] {
			shown = append(shown, b)
		} else {
			hidden = append(hidden, b)
		}
	}
	return shown, hidden
}

func hiddenBuilds(builds []*Build) string {
	r := Run{Builds: builds}
	var parts []string
	for _, of := range []Status{Failed, Running, Interrupted, Waiting, Done} {
		if n := r.countBuilds(of); n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, of))
		}
	}
	return count(len(builds), "more build") + ": " + strings.Join(parts, ", ")
}

// tailRoom shares out the spare lines: failed builds show up to 20 lines of
// their log, running ones some if they are few.
func tailRoom(builds []*Build, spare int) map[*Build]int {
	room := map[*Build]int{}
	var failed, running []*Build
	for _, b := range builds {
		switch b.Status {
		case Failed:
			failed = append(failed, b)
		case Running:
			running = append(running, b)
		}
	}
	give := func(to []*Build, most int) {
		for i, b := range to {
			n := min(most, max(spare, 0)/(len(to)-i))
			room[b] = n
			spare -= n
		}
	}
	give(failed, tailLines)
	switch n := len(running); {
	case n == 1:
		give(running, 8)
	case n == 2:
		give(running, 4)
	case n <= 4:
		give(running, 2)
	}
	return room
}

// build is the line of one build. tail tells that its last output stands below.
func (v view) build(b *Build, tail bool) string {
	mark := v.st.mark(b.Status)
	name := fit(clean(b.Name), v.names)
	clock := ""
	switch b.Status {
	case Running:
		name = v.st.bold(name)
		clock = seconds(sinceStart(b.Started, v.now))
	case Done, Failed, Interrupted:
		clock = buildTime(b)
	case Waiting:
		name = v.st.dim(name)
	}
	left := mark + " " + name + "  "
	room := v.width - cells(left) - 8 // two spaces and "59m59s"
	if room < 10 {
		return v.cut(left + v.what(b, max(v.width-cells(left), 1), tail))
	}
	return v.cut(left + fit(v.what(b, room, tail), room) + "  " + v.st.dim(fmt.Sprintf("%6s", clock)))
}

// what tells what a build does, or did, in at most room cells.
func (v view) what(b *Build, room int, tail bool) string {
	switch b.Status {
	case Waiting:
		if len(b.Needs) > 0 {
			return v.st.dim("waits for " + clean(strings.Join(b.Needs, ", ")))
		}
		return v.st.dim("waits")
	case Done:
		return v.st.dim(doneFacts(b))
	case Interrupted:
		return v.st.dim("stopped")
	case Failed:
		for _, s := range b.Steps {
			if s.Status == Failed && !s.goesOn {
				return s.title() + ": " + v.st.red(clean(firstLine(s.Err)))
			}
		}
		return v.st.red("failed")
	}
	s, more := current(b)
	if s == nil {
		if s = latest(b); s == nil {
			return v.st.dim("starting")
		}
		return v.st.dim(s.title())
	}
	title := s.title()
	if more > 0 {
		title += fmt.Sprintf(" (and %d more)", more)
	}
	return v.beside(title, s, room, tail)
}

// beside puts next to a step's title how far it is, or the last it said.
func (v view) beside(title string, s *Step, room int, tail bool) string {
	if p := totalAt(s.Transfers, v.now); p.text != "" {
		detail := v.st.dim(p.text)
		if p.ratio >= 0 {
			detail = v.st.progressBar(p.ratio, min(20, max(room/5, 4))) + " " + detail
		}
		return fitTitle(title, room, cells(detail)) + "  " + detail
	}
	last := s.LastLines(1)
	if tail || len(last) == 0 {
		return title
	}
	line := strings.TrimSpace(clean(last[0]))
	return fitTitle(title, room, cells(line)) + "  " + v.st.dim(line)
}

// fitTitle cuts a title so that at least a part of what stands beside it shows.
func fitTitle(title string, room, beside int) string {
	return truncate(title, max(room-2-beside, room/2), "…")
}

func doneFacts(b *Build) string {
	facts := []string{"done"}
	if b.Artifact != nil && b.Artifact.Image != nil {
		facts = append(facts, short(b.Artifact.Image.ID))
		if n := b.Artifact.Image.Size; n > 0 {
			facts = append(facts, size(n))
		}
	}
	if b.Artifact != nil && b.Artifact.AMI != nil {
		facts = append(facts, b.Artifact.AMI.ID)
	}
	if b.Artifact != nil && b.Artifact.Host != nil {
		facts = append(facts, b.Artifact.Host.Address)
	}
	return join(append(facts, cachedOf(b)), "  ")
}

// current is the step a build is at, and how many more run beside it.
func current(b *Build) (s *Step, more int) {
	for _, c := range b.Steps {
		if c.Status != Running {
			continue
		}
		if s == nil {
			s = c
		} else {
			more++
		}
	}
	return s, more
}

// latest is the step a build that is between two steps has finished last.
func latest(b *Build) *Step {
	for _, s := range slices.Backward(b.Steps) {
		if s.Status != Waiting {
			return s
		}
	}
	return nil
}

// tail is up to n of the last lines of what a build's step said, or its
// transfers, one a line.
func (v view) tail(b *Build, n int) []string {
	s, _ := current(b)
	if b.Status == Failed {
		s = nil
		for _, c := range b.Steps {
			if c.Status == Failed {
				s = c
			}
		}
	}
	if s == nil || n <= 0 {
		return nil
	}
	var out []string
	for _, t := range s.Transfers {
		if !t.Ended && t.Total > 0 && len(s.Transfers) > 1 {
			out = append(out, v.transfer(t))
		}
	}
	if len(out) == 0 {
		for _, l := range s.LastLines(n) {
			out = append(out, v.cut("  "+v.st.dim(v.st.sym.bar)+" "+v.st.dim(clean(l))))
		}
	}
	return out[max(0, len(out)-n):]
}

func (v view) transfer(t *Transfer) string {
	bar := v.st.progressBar(min(1, float64(t.Done)/float64(t.Total)), min(24, max(v.width/4, 4)))
	text := fmt.Sprintf("%s of %s", amount(t.Done, t.Unit), amount(t.Total, t.Unit))
	return v.cut("  " + v.st.dim(v.st.sym.bar) + " " + fit(shortID(t.ID), min(32, v.width/3)) + "  " + bar + "  " + v.st.dim(text))
}

// header tells of the whole run.
func (v view) header() string {
	r := v.r
	done := r.countBuilds(Done)
	cached, steps := r.countSteps(Cached), r.countSteps("")
	over := r.countSteps(Done) + cached + r.countSteps(Skipped) + r.countSteps(Failed)
	parts := []string{
		fmt.Sprintf("%d of %s done", done, count(len(r.Builds), "build")),
		fmt.Sprintf("%d of %s", over, count(steps, "step")),
	}
	if cached > 0 {
		parts = append(parts, fmt.Sprintf("%d cached", cached))
	}
	if n := r.countBuilds(Failed); n > 0 {
		parts = append(parts, fmt.Sprintf("%d failed", n))
	}
	parts = append(parts, seconds(sinceStart(r.Started, v.now)))
	text := strings.Repeat(v.st.sym.empty, 2) + " " + strings.Join(parts, ", ") + " "
	return v.cut(v.st.dim(text + strings.Repeat(v.st.sym.empty, max(0, v.width-cells(text)))))
}

// cut makes the line no wider than the view.
func (v view) cut(s string) string { return truncate(s, v.width, v.st.sym.ellipsis) }

// fit makes s exactly n cells wide.
func fit(s string, n int) string {
	s = truncate(s, n, "…")
	return s + strings.Repeat(" ", max(0, n-cells(s)))
}

// rows is how many rows of a terminal of the width the last frame takes now:
// more than it has lines, if the terminal has become narrower since and wraps
// them.
func (s *screen) rows(width int) int {
	if width >= s.width || width <= 0 {
		return len(s.lines)
	}
	n := 0
	for _, l := range s.lines {
		n += max(1, (cells(l)+width-1)/width)
	}
	return n
}
