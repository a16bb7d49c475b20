package report

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"bake/builder"
)

// followEvery is how often a run's files are looked at: they only ever grow,
// and an eye sees no difference.
const followEvery = 200 * time.Millisecond

// Follow is Logs of a run that goes on: it writes what there is, and then what
// is added, until the run has ended or alive says that its process is gone. A
// heading tells which step the lines below it are of, whenever that changes. It
// returns the run as it ended; step as Logs takes it. An error of ctx ends it.
func Follow(ctx context.Context, w io.Writer, dir, step string, alive func() bool) (*Run, error) {
	f := &follower{dir: dir, step: step, out: bufio.NewWriter(w), at: map[builder.StepID]int64{}}
	tick := time.NewTicker(followEvery)
	defer tick.Stop()
	for {
		lives := alive() // asked before the files are read: nothing is added after it was false
		r, err := f.look(!lives)
		if err != nil {
			return nil, err
		}
		if !lives {
			return r, nil
		}
		select {
		case <-ctx.Done():
			return r, context.Cause(ctx)
		case <-tick.C:
		}
	}
}

// A follower knows how far it has shown each log.
type follower struct {
	dir, step string
	out       *bufio.Writer
	at        map[builder.StepID]int64 // bytes shown
	shown     builder.StepID           // whose heading was written last
}

// look writes what is new. At the end a last line without its end is one too.
func (f *follower) look(end bool) (*Run, error) {
	r, err := ReadRun(f.dir)
	if errors.Is(err, builder.ErrNotFound) && !end {
		return nil, nil // it has written nothing yet
	}
	if err != nil {
		return nil, err
	}
	steps := r.find(f.step)
	if len(steps) == 0 && end {
		return r, &noStepError{run: r.ID, step: f.step}
	}
	for _, s := range steps {
		if err := f.add(s, end); err != nil {
			return nil, fmt.Errorf("reading the log of %s: %w", s.ID, err)
		}
	}
	return r, f.out.Flush()
}

// add writes the lines of a step's log that were not there before.
func (f *follower) add(s *Step, end bool) error {
	file, err := os.Open(filepath.Join(f.dir, LogFile(s.ID)))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer file.Close()
	if _, err := file.Seek(f.at[s.ID], io.SeekStart); err != nil {
		return err
	}
	in := bufio.NewReader(file)
	for {
		line, err := in.ReadString('\n')
		if err != nil && err != io.EOF {
			return err
		}
		if line == "" || err == io.EOF && !end {
			return nil
		}
		f.at[s.ID] += int64(len(line))
		if f.shown != s.ID {
			f.heading(s)
		}
		fmt.Fprintln(f.out, clean(strings.TrimSuffix(line, "\n")))
		if err == io.EOF {
			return nil
		}
	}
}

func (f *follower) heading(s *Step) {
	if f.shown != "" {
		fmt.Fprintln(f.out)
	}
	f.shown = s.ID
	fmt.Fprintf(f.out, "== %s %s (%s)\n", clean(s.build.Name), s.title(), s.ID)
}
