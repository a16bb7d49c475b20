package report

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// A logBudget reads logs until the page has enough of them.
type logBudget struct {
	run  *Run
	left int
}

// read returns the beginning and the end of a step's log, nil if it has none.
func (l *logBudget) read(s *Step) (*logPart, error) {
	if l.run.Dir == "" {
		return nil, nil
	}
	name := LogFile(s.ID)
	f, err := os.Open(filepath.Join(l.run.Dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the log of %s: %w", s.ID, err)
	}
	defer f.Close()
	head, tail := stepHead, stepTail
	if s.Status != Failed { // what failed is always shown as far as one step can be
		head, tail = min(head, l.left/4), min(tail, l.left*3/4)
	}
	x := newExcerpt(head, tail)
	err = eachLine(f, func(line string) error {
		x.add(clean(line))
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading the log of %s: %w", s.ID, err)
	}
	first, skipped, last := x.parts()
	p := &logPart{Head: strings.Join(first, "\n"), Skipped: skipped, Tail: strings.Join(last, "\n"), File: name}
	l.left = max(0, l.left-len(p.Head)-len(p.Tail))
	if skipped == 0 && p.Tail != "" { // one text
		p.Head, p.Tail = strings.TrimPrefix(p.Head+"\n"+p.Tail, "\n"), ""
	}
	return p, nil
}
