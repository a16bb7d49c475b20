// Package buildertest holds the conformance suites that every Source,
// Communicator and Journal must pass, and the fuse that crashes a run at each
// of its side effects in turn.
package buildertest

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"testing"

	"bake/builder"
)

// ErrCrash is what everything returns once a fuse has burnt.
var ErrCrash = errors.New("crash")

// A Fuse burns at the nth side effect and stays burnt, like a killed process.
// The zero Fuse never burns and counts.
type Fuse struct {
	mu   sync.Mutex
	n    int
	seen int
	dead bool
}

// NewFuse returns a fuse that burns at the nth side effect; never if n is 0.
func NewFuse(n int) *Fuse { return &Fuse{n: n} }

// Burn counts one side effect. It returns ErrCrash from the nth on.
func (f *Fuse) Burn() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.dead {
		return ErrCrash
	}
	f.seen++
	if f.seen == f.n {
		f.dead = true
		return ErrCrash
	}
	return nil
}

// Blow burns the fuse now, as a kill from outside does.
func (f *Fuse) Blow() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.dead = true
}

// Seen returns how many side effects there were.
func (f *Fuse) Seen() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.seen
}

func (f *Fuse) burnt() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.dead
}

// Mend makes the fuse whole, as a new process has it, and never to burn again.
func (f *Fuse) Mend() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.dead, f.n = false, 0
}

// Journal returns j with the fuse before and after each write: the entry is
// lost, or it is written and the process dies before it knows.
func (f *Fuse) Journal(j builder.Journal) builder.Journal { return fusedJournal{j, f} }

type fusedJournal struct {
	builder.Journal
	fuse *Fuse
}

// Entries fails once the fuse has burnt: a killed process does not go on to
// remove what it has made.
func (j fusedJournal) Entries(ctx context.Context) ([]builder.Entry, error) {
	if j.fuse.burnt() {
		return nil, ErrCrash
	}
	return j.Journal.Entries(ctx)
}

func (j fusedJournal) Append(ctx context.Context, e builder.Entry) error {
	if err := j.fuse.Burn(); err != nil {
		return err
	}
	if err := j.Journal.Append(ctx, e); err != nil {
		return err
	}
	return j.fuse.Burn()
}

// Memory is a journal in memory that outlives the engines that use it.
type Memory struct {
	mu      sync.Mutex
	entries []builder.Entry
}

// Append implements builder.Journal; entries pass through JSON as on disk.
func (j *Memory) Append(_ context.Context, e builder.Entry) error {
	b, err := json.Marshal(e)
	if err != nil {
		return err
	}
	var own builder.Entry
	if err := json.Unmarshal(b, &own); err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.entries = append(j.entries, own)
	return nil
}

// Entries implements builder.Journal.
func (j *Memory) Entries(context.Context) ([]builder.Entry, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return append([]builder.Entry(nil), j.entries...), nil
}

// Log is a sink that writes what matters of a run to the test's log.
func Log(t testing.TB) builder.Sink { return logSink{t} }

type logSink struct{ t testing.TB }

func (s logSink) Emit(e builder.Event) {
	switch e.Type {
	case builder.StepProgress, builder.RunStarted:
		return
	}
	s.t.Logf("%s %s %s%s %s", e.Type, e.Step, e.Text, e.Err, e.Stream)
}

// Discard is a sink that tells nobody.
var Discard discard

type discard struct{}

func (discard) Emit(builder.Event) {}

// Scope returns a scope for one step outside of any run, with a journal in
// memory, for tests of a part that works with a scope. What it creates is
// released when the test ends.
func Scope(t testing.TB, cat builder.Catalog, dir string) *builder.Scope {
	t.Helper()
	e := &builder.Engine{Catalog: cat, Journal: new(Memory), Sink: Log(t), WorkDir: t.TempDir()}
	t.Cleanup(func() {
		if err := e.Release(context.Background()); err != nil {
			t.Errorf("releasing what the test made: %v", err)
		}
	})
	plan := &builder.Plan{Dir: dir, Builds: []builder.Build{{Name: "test"}}}
	return e.Scope("test-run", plan, "test/provision/1")
}
