package report

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"bake/builder"
)

// Logs writes what the steps of a run printed to w, without control characters.
// step names one step ("web/provision/2", or as the view calls it "2"), all steps
// of a build ("web"), or all if it is "". Each log has a heading if there is
// more than one. builder.ErrNotFound if no step has that name.
func Logs(w io.Writer, r *Run, step string) error {
	steps := r.find(step)
	if len(steps) == 0 {
		return &noStepError{run: r.ID, step: step}
	}
	out := bufio.NewWriter(w)
	first := true
	for _, s := range steps {
		f, err := os.Open(filepath.Join(r.Dir, LogFile(s.ID)))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("reading the log of %s: %w", s.ID, err)
		}
		if len(steps) > 1 {
			if !first {
				out.WriteByte('\n') // bufio keeps the error for Flush
			}
			first = false
			out.WriteString(heading(s) + "\n")
		}
		err = copyClean(out, f)
		f.Close()
		if err != nil {
			return fmt.Errorf("reading the log of %s: %w", s.ID, err)
		}
	}
	return out.Flush()
}

// noStepError is a question for a step that the run does not have.
type noStepError struct {
	run  builder.RunID
	step string
}

func (e *noStepError) Error() string {
	if e.step == "" {
		return fmt.Sprintf("run %s has no steps", e.run)
	}
	return fmt.Sprintf("run %s has no step or build %q", e.run, e.step)
}

func (e *noStepError) Unwrap() error { return builder.ErrNotFound }

// Hint says how to name a step.
func (e *noStepError) Hint() string {
	return "a step is named like web/provision/2; a build's name alone means all of its steps"
}

// find returns the steps that a user means.
func (r *Run) find(name string) []*Step {
	var exact, numbered, built, all []*Step
	for _, b := range r.Builds {
		for _, s := range b.Steps {
			all = append(all, s)
			if string(s.ID) == name || s.Name != "" && s.Name == name {
				exact = append(exact, s)
			}
			if s.Number > 0 && (fmt.Sprint(s.Number) == name || fmt.Sprintf("%s/%d", b.Name, s.Number) == name) {
				numbered = append(numbered, s)
			}
			if b.Name == name {
				built = append(built, s)
			}
		}
	}
	for _, found := range [][]*Step{exact, built, numbered} {
		if len(found) > 0 {
			return found
		}
	}
	if name != "" {
		return nil
	}
	return all
}

func heading(s *Step) string {
	how := string(s.Status)
	if s.Elapsed > 0 {
		how += ", " + duration(s.Elapsed)
	}
	return "== " + clean(s.build.Name) + " " + s.title() + " (" + string(s.ID) + ", " + how + ")"
}

// copyClean copies lines without control characters. A line longer than a
// buffer is cut into several, so that memory is bounded.
func copyClean(w *bufio.Writer, r io.Reader) error {
	return eachLine(r, func(line string) error {
		_, err := w.WriteString(clean(line) + "\n")
		return err
	})
}

// eachLine calls fn with each line of r, longer ones in pieces of 64 KiB.
func eachLine(r io.Reader, fn func(string) error) error {
	in := bufio.NewReaderSize(r, 64<<10)
	for {
		line, err := in.ReadSlice('\n')
		if len(line) > 0 {
			if e := fn(strings.TrimSuffix(string(line), "\n")); e != nil {
				return e
			}
		}
		switch err {
		case nil, bufio.ErrBufferFull:
		case io.EOF:
			return nil
		default:
			return err
		}
	}
}
