package report

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"bake/builder"
)

// ReadRun reads what NewFiles wrote to dir. A run whose events end before it
// did is Interrupted: it goes on in another process, or was killed. Torn lines,
// as a kill leaves them, are passed over.
func ReadRun(dir string) (*Run, error) {
	f, err := os.Open(filepath.Join(dir, eventsFile))
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("run %s: %w", filepath.Base(dir), builder.ErrNotFound)
		}
		return nil, fmt.Errorf("reading run %s: %w", filepath.Base(dir), err)
	}
	defer f.Close()
	r := &Run{ID: builder.RunID(filepath.Base(dir)), Dir: dir, Status: Interrupted}
	in := bufio.NewReader(f)
	for {
		line, err := in.ReadBytes('\n')
		var e builder.Event
		if json.Unmarshal(line, &e) == nil {
			r.Apply(e)
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("reading run %s: %w", r.ID, err)
		}
	}
	if r.Status == Running {
		r.Status = Interrupted
	}
	for _, s := range r.steps {
		switch s.Status {
		case Done, Cached, Skipped, Waiting:
			continue
		}
		if s.Tail, err = readTail(filepath.Join(dir, LogFile(s.ID))); err != nil {
			return nil, fmt.Errorf("reading the log of %s: %w", s.ID, err)
		}
	}
	return r, nil
}

// readTail returns the last lines of a log; none if there is no log.
func readTail(name string) ([]string, error) {
	f, err := os.Open(name)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	const window = 16 << 10
	from := max(0, info.Size()-window)
	data := make([]byte, info.Size()-from)
	n, err := f.ReadAt(data, from)
	if err != nil && err != io.EOF {
		return nil, err
	}
	data = data[:n]
	if from > 0 {
		_, data, _ = bytes.Cut(data, []byte("\n"))
	}
	lines := strings.Split(strings.TrimSuffix(string(data), "\n"), "\n")
	if len(lines) == 1 && lines[0] == "" {
		return nil, nil
	}
	return lines[max(0, len(lines)-tailLines):], nil
}

// ReadRuns reads every run below dir, newest first. Directories that hold no
// run are passed over; no directory at all is no runs.
func ReadRuns(dir string) ([]*Run, error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("listing runs: %w", err)
	}
	var runs []*Run
	for _, e := range slices.Backward(entries) { // ids sort by time
		if !e.IsDir() {
			continue
		}
		r, err := ReadRun(filepath.Join(dir, e.Name()))
		if errors.Is(err, builder.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		runs = append(runs, r)
	}
	return runs, nil
}
