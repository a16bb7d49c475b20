package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"text/tabwriter"

	"bake/builder"
	"bake/builder/journal"
	"bake/steps/amazon/ami"
)

// leftovers is what `clean --aws` is asked for.
type leftovers struct {
	aws bool
	all bool // also what has not expired yet
}

// cleanAWS shows what runs left in AWS, whichever machine they were started on,
// and removes it if the user says so. It needs no journal: resources say
// themselves whose they are.
func (a *app) cleanAWS(parent context.Context, args []string, o leftovers) error {
	if len(args) > 0 {
		return usagef("leave the run out, or --aws", "--aws is about runs that no journal here knows of: it takes no RUN")
	}
	ctx, stop := interruptible(parent, func() { os.Exit(exitInterrupted) })
	defer stop()
	w, err := a.wire()
	if err != nil {
		return err
	}
	defer w.close()
	found, unseen, err := ami.Leftovers(ctx, w.cloud, a.flags.aws, goingOn, o.all)
	if err != nil {
		return err
	}
	for _, where := range unseen {
		fmt.Fprintf(a.stderr, "warning: not looked at: %v\n", where)
	}
	if len(found) == 0 {
		fmt.Fprintln(a.stderr, "no run has left anything in AWS")
		return nil
	}
	if err := printLeftovers(a.stdout, found); err != nil {
		return err
	}
	if !a.flags.yes {
		fmt.Fprintln(a.stderr, "nothing was removed: --yes removes it")
		return nil
	}
	var errs []error
	for _, l := range found {
		cleaner := w.catalog.Cleaners[l.Kind]
		if cleaner == nil {
			errs = append(errs, fmt.Errorf("removing %s %s: nothing knows how", l.Kind, l.ID))
			continue
		}
		if err := cleaner.Delete(ctx, l.Resource); err != nil {
			errs = append(errs, fmt.Errorf("removing %s %s: %w", l.Kind, l.ID, err))
			continue
		}
		fmt.Fprintf(a.stderr, "removed %s %s\n", l.Kind, l.ID)
	}
	return errors.Join(errs...)
}

// goingOn reports whether a run is going on in this folder.
func goingOn(run builder.RunID) bool {
	dir, err := findRun(string(run))
	return err == nil && dir.id() == run && journal.Locked(dir.journal())
}

func printLeftovers(out io.Writer, found []ami.Leftover) error {
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "KIND\tID\tWHERE\tRUN\tTEMPLATE\tEXPIRES")
	for _, l := range found {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", l.Kind, l.ID, l.Where, l.Run, l.Template, when(l.Expires))
	}
	return w.Flush()
}
