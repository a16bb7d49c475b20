package report

import (
	"fmt"
	"strings"
	"unicode"
)

// stepSummary is what GitHub shows of the run on the page of the workflow, in
// Markdown.
func stepSummary(r *Run) string {
	var b strings.Builder
	verdict, sign := "done in "+duration(r.Elapsed), "✅"
	if r.Status != Done {
		verdict, sign = unfinished(r), "❌"
	}
	fmt.Fprintf(&b, "## %s %s %s\n\n", sign, md(r.Template), verdict)
	b.WriteString("| Build | Result | Digest | Size | Steps | Time |\n|---|---|---|---|---|---|\n")
	for _, build := range r.Builds {
		b.WriteString(summaryRow(r, build))
	}
	for _, s := range r.Failures() {
		fmt.Fprintf(&b, "\n### ❌ %s: %s\n\n%s: %s\n", md(s.build.Name), md(s.title()), md(s.Pos.String()), md(firstLine(s.Err)))
		if s.Hint != "" {
			fmt.Fprintf(&b, "\nHint: %s\n", md(s.Hint))
		}
		if len(s.Tail) > 0 {
			b.WriteString("\n" + fenced(s.LastLines(tailLines)))
		}
	}
	for _, n := range r.Notices {
		fmt.Fprintf(&b, "\n> %s\n", md(n.Text))
	}
	for _, l := range r.Left {
		fmt.Fprintf(&b, "\n> Left behind: %s\n", md(l.Kind+" "+l.ID))
	}
	return b.String() + "\n"
}

func summaryRow(r *Run, b *Build) string {
	refs, digest, bytes := []string{}, "", ""
	for _, res := range r.Results() {
		if res.Build == b.Name {
			ref, d := refOf(res)
			refs = append(refs, md(ref))
			digest = d
		}
	}
	if b.Artifact != nil && b.Artifact.Image != nil && b.Artifact.Image.Size > 0 {
		bytes = size(b.Artifact.Image.Size)
	}
	result := strings.Join(refs, "<br>")
	if b.Status != Done {
		result = string(b.Status)
	}
	steps := fmt.Sprintf("%d", b.count(""))
	if n := b.count(Cached); n > 0 {
		steps += fmt.Sprintf(" (%d cached)", n)
	}
	return fmt.Sprintf("| %s | %s | %s | %s | %s | %s |\n", md(b.Name), result, md(short(digest)), bytes, steps, buildTime(b))
}

// md returns s as Markdown that shows just that: all punctuation that could
// mean something is written as entities.
func md(s string) string {
	var b strings.Builder
	for _, r := range clean(s) {
		if r < unicode.MaxASCII && unicode.In(r, unicode.Punct, unicode.Symbol) && !strings.ContainsRune("./-,", r) {
			fmt.Fprintf(&b, "&#%d;", r)
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}

// fenced returns lines as a block of code, whatever they hold.
func fenced(lines []string) string {
	fence, text := "```", ""
	for _, l := range lines {
		l = clean(l)
		if len(l) > 400 {
			l = strings.ToValidUTF8(l[:400], "") + "…"
		}
		text += l + "\n"
	}
	for strings.Contains(text, fence) {
		fence += "`"
	}
	return fence + "text\n" + text + fence + "\n"
}
