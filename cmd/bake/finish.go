package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"bake/builder"
	"bake/builder/report"
)

// finish tells how the run ended and closes the display. The run's own files
// go when nothing needs them any more; its journal and logs stay.
func (r *run) finish(sink report.Sink, j builder.Journal, err error, elapsed time.Duration) {
	done := builder.Event{Time: r.now(), Run: r.id, Type: builder.RunDone, Elapsed: elapsed, Left: left(j), Kept: r.kept.Load() || errors.Is(err, builder.ErrUnfinished)}
	if err != nil {
		done.Err, done.Hint = err.Error(), r.whatNext(err, done.Left)
	}
	sink.Emit(done)
	if cerr := sink.Close(); cerr != nil {
		fmt.Fprintf(r.stderr, "bake: writing the run's logs: %v\n", cerr)
	}
	if len(done.Left) == 0 {
		_ = os.RemoveAll(r.dir.work()) // a leftover here is harmless: `bake clean` takes it
	}
}

func (r *run) whatNext(err error, left []builder.Resource) string {
	switch {
	case len(left) > 0:
		return fmt.Sprintf("`bake resume %s` goes on, `bake clean %s` removes what is left", r.id, r.id)
	case errors.Is(err, errInterrupted):
		return fmt.Sprintf("`bake resume %s` goes on", r.id)
	}
	return ""
}

// left lists what the journal says is still there.
func left(j builder.Journal) []builder.Resource {
	entries, err := j.Entries(context.Background())
	if err != nil {
		return nil
	}
	var all []builder.Resource
	for _, e := range builder.OpenResources(entries) {
		all = append(all, *e.Resource)
	}
	return all
}

// stopNow ends the program at the second signal: nothing is removed, and what
// is left is named together with the command that removes it.
func (r *run) stopNow(sink report.Sink, j builder.Journal) {
	_ = sink.Close()
	fmt.Fprintln(r.stderr, "bake: stopped at once")
	for _, res := range left(j) {
		fmt.Fprintf(r.stderr, "left: %s %s %s\n", res.Kind, res.Name, res.ID)
	}
	fmt.Fprintf(r.stderr, "hint: `bake clean %s` removes it, `bake resume %s` goes on\n", r.id, r.id)
	os.Exit(exitInterrupted)
}

// onFailure is what --on-error says.
func (r *run) onFailure() func(context.Context, error) builder.Decision {
	switch r.flags.onError {
	case "keep":
		return func(context.Context, error) builder.Decision {
			r.kept.Store(true)
			return builder.Keep
		}
	case "ask":
		return r.ask
	}
	return nil
}

// ask asks the user. Without a terminal to ask on, it cleans.
func (r *run) ask(ctx context.Context, err error) builder.Decision {
	if r.asker == nil {
		return builder.Clean
	}
	answer, _ := r.asker.line(ctx, fmt.Sprintf("\n%v\n[c]lean up, [k]eep the machine, or [r]etry the failed step? ", err))
	switch answer = strings.ToLower(answer); {
	case strings.HasPrefix(answer, "k"):
		r.kept.Store(true)
		return builder.Keep
	case strings.HasPrefix(answer, "r"):
		return builder.Retry
	}
	return builder.Clean
}
