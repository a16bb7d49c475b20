package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"bake/builder"
	"bake/builder/journal"
	"bake/templates"
)

func (a *app) cleanCommand() *cobra.Command {
	var cache, all, old bool
	var left leftovers
	var size sizeFlag
	cmd := &cobra.Command{
		Use:        "clean [RUN...]",
		SuggestFor: []string{"prune", "gc", "cleanup"},
		Short:      "Remove what runs left behind, and the cache",
		Long: "Remove containers, working folders and everything else that runs left behind: of the runs named,\n" +
			"or of all runs that are over, and also what no journal knows of. Images that were built stay.",
		Example: `  bake clean                      what killed runs left behind
  bake clean last                 what the last run left behind
  bake clean --cache              also the whole build cache
  bake clean --cache --size 5GiB  the build cache down to 5 GiB, least recently used first
  bake clean --runs               also the journals and logs of runs that are over
  bake clean --aws                what runs of any machine left in AWS, in all regions: shows it
  bake clean --aws --yes          and removes it`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if left.aws {
				return a.cleanAWS(cmd.Context(), args, left)
			}
			return a.clean(cmd.Context(), args, cleaning{cache: cache || size > 0, size: int64(size), runs: old, all: all})
		},
	}
	f := cmd.Flags()
	a.engineFlags(cmd)
	f.BoolVar(&cache, "cache", false, "also remove the build cache")
	f.Var(&size, "size", "with --cache: keep up to this `SIZE` of it, like 5GiB")
	f.BoolVar(&left.aws, "aws", false, "find what runs of any machine left in AWS, by its tags, in all regions; only shown without --yes")
	f.BoolVar(&left.all, "all", false, "with --aws: also what has not expired yet, and may belong to a run on another machine")
	f.BoolVarP(&a.flags.yes, "yes", "y", false, "with --aws: remove what was found")
	a.awsFlags(cmd)
	f.BoolVar(&old, "runs", false, "also remove the journals and logs of runs that are over")
	return cmd
}

// sizeFlag is a flag that takes a size as templates write it.
type sizeFlag int64

func (s *sizeFlag) String() string {
	if *s == 0 {
		return "" // as usage texts want it: no default to show
	}
	return sizeWord(int64(*s))
}
func (s *sizeFlag) Type() string { return "size" }
func (s *sizeFlag) Set(text string) error {
	n, err := templates.ParseSize(text)
	if err != nil {
		return errors.New("write a size like 5GiB")
	}
	*s = sizeFlag(n)
	return nil
}

// cleaning says what to clean besides what runs left behind.
type cleaning struct {
	cache, runs, all bool
	size             int64 // bytes of cache to keep
}

func (a *app) clean(parent context.Context, names []string, what cleaning) error {
	ctx, stop := interruptible(parent, func() { os.Exit(exitInterrupted) })
	defer stop()
	runs, err := a.runsToClean(names)
	if err != nil {
		return err
	}
	w, err := a.wire()
	if err != nil {
		return err
	}
	defer w.close()
	var errs []error
	for _, dir := range runs {
		errs = append(errs, a.cleanWhere(dir, w, func(w *wiring) error { return a.cleanRun(ctx, w, dir, what.runs) }))
	}
	if len(names) == 0 {
		errs = append(errs, a.sweep(ctx, w))
	}
	if what.cache {
		freed, err := w.prune(ctx, what.size)
		fmt.Fprintf(a.stdout, "freed %s of cache\n", sizeWord(freed))
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// cleanWhere cleans a run where it was: what it made in a sandbox is not in
// AWS, nor the other way round.
func (a *app) cleanWhere(dir runDir, w *wiring, clean func(*wiring) error) error {
	req, err := dir.request()
	if err != nil || req.Sandbox == "" || a.flags.sandbox != "" {
		return clean(w) // the journal says what there is to clean
	}
	if over, err := dir.over(); over || err != nil {
		return clean(w)
	}
	in, err := a.wireIn(req.Sandbox)
	if err != nil {
		return fmt.Errorf("run %s: %w", dir.id(), err)
	}
	defer in.close()
	return clean(in)
}

func (a *app) runsToClean(names []string) ([]runDir, error) {
	if len(names) == 0 {
		return allRuns()
	}
	var runs []runDir
	for _, name := range names {
		dir, err := findRun(name)
		if err != nil {
			return nil, err
		}
		runs = append(runs, dir)
	}
	return runs, nil
}

// cleanRun releases what one run left behind. A run that is going on is left alone.
func (a *app) cleanRun(ctx context.Context, w *wiring, dir runDir, remove bool) error {
	over, err := dir.over()
	if err != nil {
		return err
	}
	if !over {
		if err := a.releaseRun(ctx, w, dir); err != nil {
			return fmt.Errorf("cleaning run %s: %w", dir.id(), err)
		}
	}
	if err := os.RemoveAll(dir.work()); err != nil {
		return err
	}
	if remove && !journal.Locked(dir.journal()) {
		return os.RemoveAll(string(dir))
	}
	return nil
}

func (a *app) releaseRun(ctx context.Context, w *wiring, dir runDir) error {
	j, err := journal.Open(dir.journal())
	if errors.Is(err, journal.ErrLocked) {
		fmt.Fprintf(a.stderr, "run %s is going on: left alone\n", dir.id())
		return nil
	}
	if err != nil {
		return err
	}
	defer j.Close()
	removed := 0
	engine := &builder.Engine{Catalog: w.catalog, Journal: j, Sink: sinkFunc(func(e builder.Event) {
		if e.Type == builder.ResourceDeleted {
			removed++
			fmt.Fprintf(a.stdout, "removed %s %s\n", e.Resource.Kind, e.Resource.ID)
		}
	})}
	return engine.Release(ctx)
}

// sweep removes what no journal here knows of: of runs started in other
// folders that are over, or whose journal was deleted.
func (a *app) sweep(ctx context.Context, w *wiring) error {
	var errs []error
	for kind, cleaner := range w.catalog.Cleaners {
		s, ok := cleaner.(builder.Sweeper)
		if !ok || kind == "container" && !w.hasDocker(ctx) {
			continue
		}
		found, err := s.Sweep(ctx, alive)
		errs = append(errs, err)
		for _, r := range found {
			if err := cleaner.Delete(ctx, r); err != nil {
				errs = append(errs, fmt.Errorf("removing %s %s: %w", kind, r.ID, err))
				continue
			}
			fmt.Fprintf(a.stdout, "removed %s %s\n", kind, r.ID)
		}
	}
	return errors.Join(errs...)
}

type sinkFunc func(builder.Event)

func (f sinkFunc) Emit(e builder.Event) { f(e) }

// sizeWord writes bytes for people.
func sizeWord(n int64) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	v, i := float64(n)/unit, 0
	for v >= unit && i < 4 {
		v, i = v/unit, i+1
	}
	return fmt.Sprintf("%.1f %ciB", v, "KMGTP"[i])
}
