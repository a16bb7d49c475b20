package report

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
)

// List writes a table of runs, as `bake runs` shows it; times are in loc.
func List(w io.Writer, runs []*Run, loc *time.Location) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "RUN\tTEMPLATE\tSTATUS\tBUILDS\tSTEPS\tSTARTED\tTOOK") // tabwriter keeps the error for Flush
	for _, r := range runs {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", r.ID, clean(r.Template), r.Status,
			fmt.Sprintf("%d/%d", r.countBuilds(Done), len(r.Builds)), stepsColumn(r),
			r.Started.In(loc).Format("2006-01-02 15:04:05"), tookColumn(r))
	}
	return t.Flush()
}

func stepsColumn(r *Run) string {
	s := fmt.Sprint(r.countSteps(""))
	if n := r.countSteps(Cached); n > 0 {
		s += fmt.Sprintf(" (%d cached)", n)
	}
	return s
}

func tookColumn(r *Run) string {
	parts := []string{"-"}
	if r.Elapsed > 0 {
		parts[0] = duration(r.Elapsed)
	}
	if r.Resumed > 0 {
		parts = append(parts, fmt.Sprintf("resumed %s", count(r.Resumed, "time")))
	}
	if n := len(r.Left); n > 0 {
		parts = append(parts, fmt.Sprintf("%d left behind", n))
	}
	return strings.Join(parts, ", ")
}
