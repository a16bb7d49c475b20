// Package provtest is the proof that every kind of step works on every
// communicator: a suite that the tests of each communicator run.
package provtest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"gopkg.in/yaml.v3"

	"bake/builder"
	"bake/provisioners"
	"bake/templates"
)

// A Bench is a machine with what a provisioner is run with.
type Bench struct {
	Comm  builder.Communicator
	Scope *builder.Scope
	Dir   string // the template's directory
	log   *log
}

// New returns a bench for the machine, with an empty template directory.
func New(t testing.TB, comm builder.Communicator) *Bench {
	t.Helper()
	l := &log{}
	dir := t.TempDir()
	engine := &builder.Engine{Sink: l, WorkDir: t.TempDir()}
	return &Bench{Comm: comm, Dir: dir, log: l, Scope: engine.Scope("run", &builder.Plan{Dir: dir}, "web/provision/0")}
}

type log struct {
	mu    sync.Mutex
	lines []string
}

func (l *log) Emit(e builder.Event) {
	if e.Type == builder.StepLog {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.lines = append(l.lines, e.Text)
	}
}

// Log returns what has been logged since the last call, a line each.
func (b *Bench) Log() string {
	b.log.mu.Lock()
	defer b.log.mu.Unlock()
	all := strings.Join(b.log.lines, "\n")
	b.log.lines = nil
	return all
}

// File makes a file in the template's directory.
func (b *Bench) File(t testing.TB, name, content string) {
	t.Helper()
	at := filepath.Join(b.Dir, name)
	if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(at, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// Step makes the provisioner of a kind from what stands under its key in a template.
func (b *Bench) Step(t testing.TB, kind, text string) builder.Provisioner {
	t.Helper()
	p := provisioners.All(provisioners.Deps{})[kind]()
	block := Block(t, kind, text)
	ds := templates.Decode(block, p)
	if len(ds) == 0 {
		if c, ok := p.(builder.Checker); ok {
			ds = c.Check(b.Dir, block)
		}
	}
	if err := ds.Err(); err != nil {
		t.Fatalf("%s: %v", kind, err)
	}
	return p
}

// notHere ends the test if the machine's files are those of this one.
func (b *Bench) notHere(t testing.TB) {
	t.Helper()
	f, err := os.CreateTemp("", "provtest-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.Remove(f.Name())
	f.Close()
	for _, err := range b.Comm.Get(t.Context(), f.Name()) {
		if err == nil {
			t.Fatalf("the machine sees %s: the suite would write all over this one", f.Name())
		}
		break
	}
}

// Block is what a template would have under a key. Write modes as strings:
// the way through JSON does not keep how a number was written.
func Block(t testing.TB, file, text string) templates.Block {
	t.Helper()
	var plain any
	if err := yaml.Unmarshal([]byte(text), &plain); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	data, err := json.Marshal(plain)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	block, err := templates.FromJSON(data, templates.Pos{File: file, Line: 1, Col: 1}, nil)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return block
}

// Try runs one step and returns what came of it.
func (b *Bench) Try(t testing.TB, kind, text string) (builder.Outcome, error) {
	t.Helper()
	return b.Step(t, kind, text).Provision(t.Context(), b.Scope, b.Comm)
}

// Do runs one step, which must succeed and say whether it changed anything.
func (b *Bench) Do(t testing.TB, kind, text string, changed Change) builder.Outcome {
	t.Helper()
	out, err := b.Try(t, kind, text)
	if err != nil {
		t.Fatalf("%s: %s: %v\n%s", kind, text, err, b.Log())
	}
	if out.Unchanged == bool(changed) {
		t.Errorf("%s: %s: unchanged is %v (%s)", kind, text, out.Unchanged, out.Note)
	}
	return out
}

// Change is whether a step is to change something.
type Change bool

// What Do expects.
const (
	Changed   Change = true
	Unchanged Change = false
)

// Sh returns what a script prints on the machine.
func (b *Bench) Sh(t testing.TB, script string) string {
	t.Helper()
	out, err := sh(t.Context(), b.Comm, script)
	if err != nil {
		t.Fatalf("%s: %v", script, err)
	}
	return out
}

func sh(ctx context.Context, comm builder.Communicator, script string) (string, error) {
	var out, errs bytes.Buffer
	err := comm.Run(ctx, builder.Command{Script: script, Stdout: &out, Stderr: &errs})
	if err != nil {
		err = fmt.Errorf("%w: %s", err, errs.String())
	}
	return out.String(), err
}

// Has reports whether the machine has all the programs.
func (b *Bench) Has(t testing.TB, programs ...string) bool {
	t.Helper()
	for _, p := range programs {
		err := b.Comm.Run(t.Context(), builder.Command{Script: "command -v " + p + " >/dev/null 2>&1\n", Stdout: io.Discard, Stderr: io.Discard})
		if err != nil {
			return false
		}
	}
	return true
}

// Want compares what a script prints on the machine.
func (b *Bench) Want(t testing.TB, script, want string) {
	t.Helper()
	if got := strings.TrimSuffix(b.Sh(t, script), "\n"); got != want {
		t.Errorf("%s:\n got %q\nwant %q", script, got, want)
	}
}

// Tree describes what is at a path of the machine, a line for each entry:
// mode, owner, name below the path's parent, target or content.
func (b *Bench) Tree(t testing.TB, at string) string {
	t.Helper()
	var lines []string
	for f, err := range b.Comm.Get(t.Context(), at) {
		if errors.Is(err, builder.ErrNotFound) {
			return "nothing"
		}
		if err != nil {
			t.Fatalf("%s: %v", at, err)
		}
		line := fmt.Sprintf("%v %d:%d %s", f.Mode, f.UID, f.GID, f.Path)
		switch {
		case f.Mode&fs.ModeSymlink != 0:
			line = fmt.Sprintf("L %d:%d %s -> %s", f.UID, f.GID, f.Path, f.Link)
		case f.Mode.IsRegular():
			line += fmt.Sprintf(" %q", content(t, f))
		}
		lines = append(lines, line)
	}
	slices.SortFunc(lines, func(a, b string) int { return strings.Compare(name(a), name(b)) })
	return strings.Join(lines, "\n")
}

func name(line string) string { return strings.Fields(line)[2] }

func content(t testing.TB, f builder.File) string {
	t.Helper()
	r, err := f.Open()
	if err != nil {
		t.Fatalf("%s: %v", f.Path, err)
	}
	defer r.Close()
	data, err := io.ReadAll(r)
	if err != nil {
		t.Fatalf("%s: %v", f.Path, err)
	}
	return string(data)
}

// WantTree compares what is at a path of the machine.
func (b *Bench) WantTree(t testing.TB, at string, want ...string) {
	t.Helper()
	if diff := cmp.Diff(strings.Join(want, "\n"), b.Tree(t, at)); diff != "" {
		t.Errorf("%s: -want +got:\n%s", at, diff)
	}
}
