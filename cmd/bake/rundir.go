package main

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/moby/sys/atomicwriter"

	"bake/builder"
	"bake/builder/journal"
)

// runsDir is where runs are kept, in the folder bake was started in.
const runsDir = ".bake/runs"

// A runDir is one run's folder: journal, events, logs and the request.
type runDir string

// newRunID returns an id that sorts by time and does not repeat.
func newRunID(now time.Time) builder.RunID {
	return builder.RunID(now.UTC().Format("20060102-150405-") + strings.ToLower(rand.Text()[:4]))
}

// A request is what a run was asked to do, as far as `bake resume` needs it.
// Values of sensitive variables are not in it: they are asked for again.
type request struct {
	Template string            `json:"template"` // absolute
	Dir      string            `json:"dir"`      // where bake was started
	Vars     map[string]string `json:"vars,omitempty"`
	VarFiles []string          `json:"var_files,omitempty"` // absolute
	Engine   string            `json:"engine"`
	Only     []string          `json:"only,omitempty"`
	NoCache  bool              `json:"no_cache,omitempty"`
	Started  time.Time         `json:"started"`
	Sandbox  string            `json:"sandbox,omitempty"` // where it called AWS: a folder or a URL; empty: AWS
	Deploy   *deployRequest    `json:"deploy,omitempty"`  // of a run of `bake ecs`
	Release  *releaseRequest   `json:"release,omitempty"` // of a run of `bake release`
}

// makeRunDir makes the folder of a new run. The .gitignore keeps runs out of
// the user's commits without asking for a line in theirs.
func makeRunDir(id builder.RunID, req request) (runDir, error) {
	d := runDir(filepath.Join(runsDir, string(id)))
	if err := os.MkdirAll(d.work(), 0o700); err != nil {
		return "", fmt.Errorf("making the run's folder: %w", err)
	}
	ignore := filepath.Join(filepath.Dir(runsDir), ".gitignore")
	if _, err := os.Stat(ignore); errors.Is(err, fs.ErrNotExist) {
		if err := os.WriteFile(ignore, []byte("*\n"), 0o644); err != nil {
			return "", fmt.Errorf("making the run's folder: %w", err)
		}
	}
	b, err := json.MarshalIndent(req, "", "  ")
	if err != nil {
		return "", err
	}
	// A kill leaves all of it or nothing: what has no request never began.
	return d, atomicwriter.WriteFile(d.file("request.json"), append(b, '\n'), 0o600)
}

func (d runDir) file(name string) string { return filepath.Join(string(d), name) }
func (d runDir) journal() string         { return d.file("journal.jsonl") }
func (d runDir) work() string            { return d.file("work") }
func (d runDir) id() builder.RunID       { return builder.RunID(filepath.Base(string(d))) }

func (d runDir) request() (request, error) {
	var req request
	b, err := os.ReadFile(d.file("request.json"))
	if err == nil {
		err = json.Unmarshal(b, &req)
	}
	if err != nil {
		return req, fmt.Errorf("reading run %s: %w", d.id(), err)
	}
	return req, nil
}

// over reports whether the run ended with nothing left to do or to remove.
func (d runDir) over() (bool, error) {
	entries, err := journal.Read(d.journal())
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil // it never began
	}
	if err != nil {
		return false, err
	}
	return len(entries) == 0 || entries[len(entries)-1].Kind == builder.Ended, nil
}

// made is when the run's folder was made.
func (d runDir) made() time.Time {
	info, err := os.Stat(d.file("request.json"))
	if err != nil {
		return time.Time{}
	}
	return info.ModTime()
}

// began reports whether there is a run in the folder: a kill may leave one
// without a request.
func (d runDir) began() bool { return !d.made().IsZero() }

// allRuns lists the runs kept here, oldest first.
func allRuns() ([]runDir, error) {
	found, err := os.ReadDir(runsDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var runs []runDir
	for _, e := range found {
		if d := runDir(filepath.Join(runsDir, e.Name())); e.IsDir() && d.began() {
			runs = append(runs, d)
		}
	}
	slices.Sort(runs)
	return runs, nil
}

// findRun returns the run that the user names: its id, a unique beginning or
// end of it, or "last".
func findRun(name string) (runDir, error) {
	runs, err := allRuns()
	if err != nil {
		return "", err
	}
	if len(runs) == 0 {
		return "", usagef("runs are kept in "+runsDir+" of the folder bake was started in", "there are no runs here")
	}
	if name == "last" {
		// Ids sort by the second they were made in; within one, by chance.
		return slices.MaxFunc(runs, func(a, b runDir) int { return a.made().Compare(b.made()) }), nil
	}
	var match []runDir
	for _, r := range runs {
		if id := string(r.id()); id == name {
			return r, nil
		} else if strings.HasPrefix(id, name) || strings.HasSuffix(id, name) {
			match = append(match, r)
		}
	}
	switch len(match) {
	case 1:
		return match[0], nil
	case 0:
		return "", usagef("`bake runs` lists them", "there is no run %q here", name)
	}
	return "", usagef("`bake runs` lists them", "%q could be any of %d runs", name, len(match))
}
