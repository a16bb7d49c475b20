package report

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"time"

	"bake/builder"
	"bake/internal/shell"
)

// Results writes what the run made to w, the standard output: one line for each
// thing, its reference (or path, or id) and its digest, with a tab between.
func Results(w io.Writer, r *Run) error {
	for _, res := range r.Results() {
		ref, digest := refOf(res)
		if _, err := fmt.Fprintf(w, "%s\t%s\n", clean(ref), clean(digest)); err != nil {
			return err
		}
	}
	return nil
}

// refOf returns how a result is called, and its digest or, where it has none,
// the id that AWS gave it.
func refOf(res builder.Result) (ref, digest string) {
	if a := res.Artifact; a != nil {
		switch {
		case a.AMI != nil:
			ref = a.AMI.ID
		case a.Host != nil:
			ref = a.Host.Address
		case a.Image != nil:
			ref, digest = res.Build, a.Image.ID
		}
	}
	if res.Published == nil {
		return cmp.Or(ref, res.Build), digest
	}
	v := res.Values
	ref = cmp.Or(v["name"], v["path"], v["ref"], v["id"], ref, res.Build)
	if digest = cmp.Or(v["digest"], v["id"]); digest == ref {
		digest = ""
	}
	return ref, digest
}

// runHint returns the command that runs a result, or "".
func runHint(res builder.Result) string {
	if res.Published == nil {
		return ""
	}
	if cmd := res.Values["run"]; cmd != "" {
		return cmd
	}
	v := res.Values
	name := cmp.Or(v["name"], v["ref"])
	switch {
	case name != "" && (res.Output == "image" || res.Output == "registry" || res.Output == "ecr"):
		return shell.Join("docker", "run", "--rm", "-it", name)
	case v["path"] == "" || res.Output != "archive":
		return ""
	case v["format"] == "docker":
		return shell.Join("docker", "load", "-i", v["path"])
	case v["format"] == "oci":
		return shell.Join("podman", "run", "--rm", "-it", "oci-archive:"+v["path"])
	case v["format"] == "oci-dir":
		return shell.Join("podman", "run", "--rm", "-it", "oci:"+v["path"])
	case v["format"] == "rootfs":
		return shell.Join("docker", "import", v["path"])
	}
	return ""
}

// summary is the end of the story: what was made and what it cost, or what
// failed, why, and what to do next.
func summary(r *Run, o Options, st style) []string {
	var out []string
	const few = 3 // builds that are told of in full
	full := len(r.Builds) <= few && len(r.Failures()) == 0
	for _, b := range r.Builds {
		if b.Status == Done {
			out = append(out, made(r, b, st)...)
			if full {
				out = append(out, details(r, b, st)...)
			}
		}
	}
	for _, s := range r.Failures() {
		out = append(out, "")
		out = append(out, failure(s, o, st)...)
	}
	return append(out, verdict(r, st)...)
}

// made tells what one build made and where it is.
func made(r *Run, b *Build, st style) []string {
	facts := []string{}
	if b.Platform.OS != "" {
		facts = append(facts, b.Platform.String())
	}
	if b.Artifact != nil && b.Artifact.Image != nil {
		if img := b.Artifact.Image; img.Size > 0 {
			facts = append(facts, size(img.Size))
		}
		facts = append(facts, short(b.Artifact.Image.ID))
	}
	if b.Artifact != nil && b.Artifact.AMI != nil {
		facts = append(facts, b.Artifact.AMI.ID+" in "+b.Artifact.AMI.Region)
	}
	if b.Artifact != nil && b.Artifact.Host != nil {
		facts = append(facts, b.Artifact.Host.User+" at "+b.Artifact.Host.Address)
	}
	facts = append(facts, buildTime(b), cachedOf(b))
	out := []string{st.mark(Done) + " " + st.bold(clean(b.Name)) + "  " + st.dim(join(facts, " · "))}
	for _, res := range r.Results() {
		if res.Build != b.Name || res.Published == nil {
			continue
		}
		line := res.Summary
		if line == "" {
			line, _ = refOf(res)
		}
		out = append(out, "    "+clean(line))
	}
	return out
}

// details tells the whole digests of what a build made, and how to run it.
func details(r *Run, b *Build, st style) []string {
	var out []string
	for _, res := range r.Results() {
		if res.Build != b.Name || res.Published == nil {
			continue
		}
		if d := res.Values["digest"]; d != "" && !strings.Contains(res.Summary, d) {
			out = append(out, "    "+st.dim("digest  ")+clean(d))
		}
		if cmd := runHint(res); cmd != "" {
			out = append(out, "    "+st.dim("run it  ")+clean(cmd))
		}
	}
	return out
}

func buildTime(b *Build) string {
	if b.Started.IsZero() || b.Ended.IsZero() {
		return ""
	}
	return duration(b.Ended.Sub(b.Started))
}

func cachedOf(b *Build) string {
	total, cached := b.count(""), b.count(Cached)
	switch {
	case total == 0 || cached == 0:
		return ""
	case cached == total:
		return "all " + count(total, "step") + " cached"
	}
	return fmt.Sprintf("%d of %s cached", cached, count(total, "step"))
}

// failure tells what failed where and why, with the last of its log.
func failure(s *Step, o Options, st style) []string {
	head := st.mark(Failed) + " " + st.bold(clean(s.build.Name)) + "  " + s.title() + st.red(" failed after "+duration(s.Elapsed))
	out := []string{head}
	if !s.Pos.IsZero() {
		out = append(out, "    "+st.cyan(clean(s.Pos.String())))
	}
	for i, l := range cleanLines(s.Err) {
		if i == 0 {
			out = append(out, "    "+st.red(l))
		} else {
			out = append(out, "    "+l)
		}
	}
	for _, l := range s.LastLines(tailLines) {
		out = append(out, "    "+st.dim(st.sym.bar)+" "+clean(l))
	}
	if s.Hint != "" {
		out = append(out, "    hint: "+clean(s.Hint))
	}
	if path := o.logPath(s.ID); path != "" && len(s.Tail) > 0 {
		out = append(out, "    log:  "+path)
	}
	return out
}

func notice(n Notice, st style) []string {
	var out []string
	for i, l := range cleanLines(n.Text) {
		if i == 0 {
			l = st.yellow("notice: ") + l
		}
		out = append(out, l)
	}
	if n.Hint != "" {
		out = append(out, "    hint: "+clean(n.Hint))
	}
	return out
}

// title is the step's number and label: "4/12 install nginx".
func (s *Step) title() string {
	if s.Number == 0 || s.build == nil {
		return s.Label()
	}
	return fmt.Sprintf("%d/%d %s", s.Number, s.build.Total, s.Label())
}

// verdict is the last words: how it went, and what can be done about it.
func verdict(r *Run, st style) []string {
	out := []string{""}
	steps, cached := r.countSteps(""), r.countSteps(Cached)
	switch {
	case r.Status == Done && steps > 0 && cached == steps:
		out = append(out, st.green("nothing to do")+": "+allCached(steps)+", "+duration(r.Elapsed))
	case r.Status == Done:
		line := st.green("done") + " in " + duration(r.Elapsed) + ": " + count(len(r.Builds), "build") + ", " + count(steps, "step")
		if cached > 0 {
			line += fmt.Sprintf(" (%d cached)", cached)
		}
		out = append(out, line)
	default:
		out = append(out, st.red(unfinished(r))+tally(r))
		if r.Err != "" && r.Status == Failed && len(r.Failures()) == 0 {
			for _, l := range cleanLines(r.Err) {
				out = append(out, "    "+l)
			}
		}
		if r.ID != "" {
			out = append(out, "    bake resume "+string(r.ID)+"   goes on from here", "    bake logs "+string(r.ID)+"     shows what was printed")
		}
	}
	return append(out, left(r, st)...)
}

func allCached(steps int) string {
	if steps == 1 {
		return "its 1 step is cached"
	}
	return fmt.Sprintf("all %d steps are cached", steps)
}

func unfinished(r *Run) string {
	switch {
	case r.Status == Failed:
		return "failed after " + duration(r.Elapsed)
	case !r.Ended.IsZero():
		return "stopped after " + duration(r.Elapsed)
	}
	return "stopped before the end"
}

// tally counts builds by how they ended: ": 8 builds done, 1 failed, 1 not started".
func tally(r *Run) string {
	var parts []string
	for _, c := range []struct {
		of   Status
		word string
	}{{Done, "done"}, {Failed, "failed"}, {Interrupted, "stopped"}, {Running, "stopped"}, {Waiting, "not started"}} {
		if n := r.countBuilds(c.of); n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, c.word))
		}
	}
	if len(parts) == 0 {
		return ""
	}
	return ": of " + count(len(r.Builds), "build") + " " + strings.Join(parts, ", ")
}

// left lists what was not removed, and the commands that look at it and remove it.
func left(r *Run, st style) []string {
	if len(r.Left) == 0 {
		return nil
	}
	out := []string{st.yellow("left behind") + ": " + count(len(r.Left), "thing") + " could not be removed"}
	if r.Kept {
		out = []string{"kept for a look inside:"}
	}
	for _, l := range r.Left {
		line := "    " + l.Kind + " " + l.ID
		if l.ID == "" {
			line = "    " + l.Kind + " " + l.Name
		}
		if l.Where != "" {
			line += " on " + l.Where
		}
		out = append(out, clean(line))
	}
	if r.Kept {
		out = append(out, "    bake ssh "+string(r.ID)+"     opens a shell on it")
	}
	return append(out, "    bake clean "+string(r.ID)+"   removes it")
}

func join(parts []string, sep string) string {
	var kept []string
	for _, p := range parts {
		if p != "" {
			kept = append(kept, p)
		}
	}
	return strings.Join(kept, sep)
}

// sinceStart is how long a thing runs that began at start.
func sinceStart(start, now time.Time) time.Duration {
	if start.IsZero() {
		return 0
	}
	return now.Sub(start)
}
