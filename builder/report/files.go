package report

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"bake/builder"
)

// The files of a run, in its directory. Both only ever grow; a run that is
// resumed goes on in the same files.
const (
	// eventsFile has the run's events as JSON, one a line, but for log lines
	// and unfinished progress.
	eventsFile = "events.jsonl"
	// logsDir has a text file for each step that said anything: see LogFile.
	logsDir = "logs"
)

// LogFile returns the name, below the run's directory, of the file that holds
// what the step printed: "logs/web/provision-2.log" for "web/provision/2". The
// lines stand there as the step printed them; bake's own words begin with "# ".
func LogFile(id builder.StepID) string {
	build, rest, ok := strings.Cut(string(id), "/")
	if !ok {
		rest = "step"
	}
	return filepath.Join(logsDir, fileName(build), fileName(strings.ReplaceAll(rest, "/", "-"))+".log")
}

// fileName makes a name safe as one path element. Names that had to be changed
// get a hash, so that they stay apart.
func fileName(name string) string {
	safe := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._@=+-", r) {
			return r
		}
		return '_'
	}, name)
	if safe != name || safe == "" || safe[0] == '.' || len(safe) > 100 {
		h := fnv.New32a()
		io.WriteString(h, name) // a hash takes everything
		safe = fmt.Sprintf("_%.80s-%08x", safe, h.Sum32())
	}
	return safe
}

// NewFiles returns a sink that keeps the run's event log and a log for each
// step in dir, which it makes if need be. It loses no line: if the disk is
// slower than the build, the build waits. Put Redact before it.
func NewFiles(dir string) (Sink, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the run's directory: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, eventsFile), os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the event log: %w", err)
	}
	if err := endLine(f); err != nil {
		f.Close()
		return nil, fmt.Errorf("repairing the event log: %w", err)
	}
	h := &files{dir: dir, logs: map[builder.StepID]*logFile{}}
	h.events = logFile{f, bufio.NewWriterSize(f, 16<<10)}
	return newQueue(h, waits), nil
}

// endLine ends the last line of f, if a killed process left it torn.
func endLine(f *os.File) error {
	info, err := f.Stat()
	if err != nil || info.Size() == 0 {
		return err
	}
	last := make([]byte, 1)
	if _, err := f.ReadAt(last, info.Size()-1); err != nil || last[0] == '\n' {
		return err
	}
	_, err = f.WriteString("\n")
	return err
}

type files struct {
	dir    string
	events logFile
	logs   map[builder.StepID]*logFile // of steps that run
	err    error                       // the first
}

type logFile struct {
	f *os.File
	w *bufio.Writer
}

func (l logFile) close() error { return errors.Join(l.w.Flush(), l.f.Close()) }

func (h *files) event(e builder.Event) {
	switch e.Type {
	case builder.StepLog:
		prefix := ""
		if e.Stream == "" {
			prefix = "# "
		}
		h.line(e.Step, prefix, e.Text)
		return
	case builder.StepProgress:
		if e.Progress == nil || !e.Progress.Ended {
			return
		}
	case builder.StepRetry:
		h.line(e.Step, "# ", "again: "+retry(e))
	case builder.StepDone, builder.StepFailed:
		if l := h.logs[e.Step]; l != nil {
			delete(h.logs, e.Step)
			h.note(l.close())
		}
	}
	line, err := encode(e)
	if err == nil {
		_, err = h.events.w.Write(line)
	}
	h.note(err)
}

func (h *files) line(id builder.StepID, prefix, text string) {
	l := h.logs[id]
	if l == nil {
		name := filepath.Join(h.dir, LogFile(id))
		err := os.MkdirAll(filepath.Dir(name), 0o700)
		if err != nil {
			h.note(err)
			return
		}
		f, err := os.OpenFile(name, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
		if err != nil {
			h.note(err)
			return
		}
		l = &logFile{f, bufio.NewWriterSize(f, 16<<10)}
		h.logs[id] = l
	}
	l.w.WriteString(prefix) // bufio keeps the error for Flush
	l.w.WriteString(strings.ReplaceAll(text, "\n", "\n"+prefix))
	l.w.WriteByte('\n')
}

func (h *files) note(err error) {
	if h.err == nil && err != nil {
		h.err = fmt.Errorf("writing the run's logs: %w", err)
	}
}

func (h *files) lost(int)       {}
func (h *files) tick(time.Time) {}

func (h *files) flush() error {
	h.note(h.events.w.Flush())
	for _, l := range h.logs {
		h.note(l.w.Flush())
	}
	return h.err
}

func (h *files) end() error {
	for _, l := range h.logs {
		h.note(l.close())
	}
	h.note(h.events.close())
	return h.err
}

// encode returns the event as one line of JSON.
func encode(e builder.Event) ([]byte, error) {
	var b strings.Builder
	j := json.NewEncoder(&b)
	j.SetEscapeHTML(false)
	if err := j.Encode(e); err != nil {
		return nil, fmt.Errorf("writing event %s: %w", e.Type, err)
	}
	return []byte(b.String()), nil
}
