package builder

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// OpenResources returns what the journal says was made and is neither kept nor
// released, oldest first. A resource without an ID was intended, and may or may not exist.
func OpenResources(entries []Entry) []Entry {
	open := map[string]Entry{}
	var order []string
	pending := candidates(entries)
	for _, e := range entries {
		switch e.Kind {
		case Intended, Created:
			if _, ok := open[e.Resource.Token]; !ok {
				order = append(order, e.Resource.Token)
			}
			open[e.Resource.Token] = e
		case Released:
			delete(open, e.Resource.Token)
		case StepEnd:
			for _, t := range e.Keep {
				if _, waits := pending[t]; !waits {
					delete(open, t)
				}
			}
		}
	}
	var left []Entry
	for _, t := range order {
		if e, ok := open[t]; ok {
			left = append(left, e)
		}
	}
	return left
}

// candidates are the tokens of what a build's Freeze has kept while the build
// is not accepted yet, with the group that made them.
func candidates(entries []Entry) map[string]group {
	pending := map[string]group{}
	for _, e := range entries {
		switch {
		case e.Kind != StepEnd:
		case e.Step.Phase() == Freeze:
			for _, t := range e.Keep {
				pending[t] = e.Step.group()
			}
		case e.Step.Phase() == Accept:
			for t, g := range pending {
				if g.build == e.Step.Build() {
					delete(pending, t)
				}
			}
		}
	}
	return pending
}

// Release deletes, newest first, everything temporary that the journal knows
// of. It ends every run, and it is all that `bake clean` does for a run. What
// could not be deleted stays open in the journal and is part of the error.
//
// It may take away what a later resume would go on with, and be killed at it:
// so what is deleted counts as gone before it is.
func (e *Engine) Release(ctx context.Context) error {
	if err := e.giveUp(ctx); err != nil {
		return err
	}
	return e.release(ctx, func(Entry, bool) bool { return true })
}

// giveUp records of everything temporary that it is being removed. Where that
// cannot be recorded nothing is removed: `bake clean` does it later.
func (e *Engine) giveUp(ctx context.Context) error {
	entries, err := e.Journal.Entries(ctx)
	if err != nil {
		return err
	}
	given := lost(entries)
	for _, entry := range OpenResources(entries) {
		if given[entry.Resource.Token] {
			continue
		}
		entry.Time, entry.Kind = time.Now(), Releasing
		entry.State, entry.Keep = nil, nil
		if err := e.Journal.Append(ctx, entry); err != nil {
			return err
		}
	}
	return nil
}

// lost are the tokens of what is gone, or being removed.
func lost(entries []Entry) map[string]bool {
	all := map[string]bool{}
	for _, e := range entries {
		if e.loses() {
			all[e.Resource.Token] = true
		}
	}
	return all
}

// release deletes what want wants; candidate tells that the resource is what a
// build made and has not accepted yet.
func (e *Engine) release(ctx context.Context, want func(entry Entry, candidate bool) bool) error {
	entries, err := e.Journal.Entries(ctx)
	if err != nil {
		return err
	}
	var errs []error
	pending := candidates(entries)
	for _, entry := range slices.Backward(OpenResources(entries)) {
		if _, candidate := pending[entry.Resource.Token]; want(entry, candidate) {
			errs = append(errs, e.releaseOne(ctx, entry))
		}
	}
	return errors.Join(errs...)
}

func (e *Engine) releaseOne(ctx context.Context, entry Entry) error {
	r := *entry.Resource
	cleaner, ok := e.Catalog.Cleaners[r.Kind]
	if !ok {
		return fmt.Errorf("removing %s %s: nothing knows how to remove a %s", r.Kind, r.Name, r.Kind)
	}
	if r.ID == "" {
		id, err := e.find(ctx, cleaner, entry)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return fmt.Errorf("looking for %s %s: %w", r.Kind, r.Name, err)
		}
		r.ID = id
	}
	if r.ID != "" {
		if err := cleaner.Delete(ctx, r); err != nil {
			return fmt.Errorf("removing %s %s: %w", r.Kind, r.ID, err)
		}
	}
	gone := Entry{Time: time.Now(), Kind: Released, Run: entry.Run, Step: entry.Step, Resource: &r}
	if err := e.Journal.Append(ctx, gone); err != nil {
		return err
	}
	e.Sink.Emit(Event{Time: time.Now(), Run: entry.Run, Type: ResourceDeleted, Build: entry.Step.Build(), Step: entry.Step, Resource: &r})
	return nil
}

// find looks for what was intended, until it is old enough that it would have
// shown: the process that asked for it may have died before the answer came.
func (e *Engine) find(ctx context.Context, cleaner Cleaner, intent Entry) (id string, err error) {
	var lag time.Duration
	if l, ok := cleaner.(Lagging); ok && !e.answered(intent.Resource.Token) {
		lag = l.Lag()
	}
	for {
		id, err = cleaner.Find(ctx, *intent.Resource)
		if !errors.Is(err, ErrNotFound) || time.Since(intent.Time) >= lag {
			return id, err
		}
		if err := sleep(ctx, findAgain); err != nil {
			return "", err
		}
	}
}

// findAgain is how long to wait before looking again for what may yet show.
const findAgain = 200 * time.Millisecond

// noteAnswer remembers that the call which makes the resource was answered in
// this process, so that it is known whether it exists.
func (e *Engine) noteAnswer(token string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.answers == nil {
		e.answers = map[string]bool{}
	}
	e.answers[token] = true
}

func (e *Engine) answered(token string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.answers[token]
}
