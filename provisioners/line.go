package provisioners

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"bake/builder"
	"bake/templates"
)

// Line makes sure that a line is in a text file, or that none like it is. The
// file keeps its owner and mode; links to it are followed.
type Line struct {
	File         string         `yaml:"file" bake:"required" doc:"The file on the machine."`
	Line         *string        `yaml:"line" doc:"The line, without its end."`
	Regexp       string         `yaml:"regexp" doc:"The last line that matches is replaced; with state: absent all that match are removed. Go syntax (RE2)."`
	InsertAfter  string         `yaml:"insert_after" doc:"If nothing was replaced, the line goes after the last one that matches this; default, and if none does: the end of the file."`
	InsertBefore string         `yaml:"insert_before" doc:"Like insert_after: before the last one that matches; BOF is the beginning of the file."`
	State        string         `yaml:"state" enum:"present|absent" default:"present" doc:"absent: no such line is left."`
	Create       bool           `yaml:"create" doc:"Make the file if there is none."`
	Owner        Owner          `yaml:"owner" doc:"Whom a file that is made belongs to. Default: root."`
	Mode         templates.Mode `yaml:"mode" doc:"Mode of a file that is made. Default: 0644."`
}

// Validate checks what the tags cannot say.
func (l *Line) Validate(b templates.Block) templates.Diagnostics {
	ds := absoluteFile(b, "file", l.File)
	for key, re := range map[string]string{"regexp": l.Regexp, "insert_after": l.InsertAfter, "insert_before": l.InsertBefore} {
		if _, err := regexp.Compile(re); err != nil {
			ds = append(ds, b.At(key).Errorf("%v", err))
		}
	}
	switch {
	case l.State == "absent" && !b.Has("line") && !b.Has("regexp"):
		ds = append(ds, b.Errorf("line or regexp must say which lines are to be absent"))
	case l.State != "absent" && !b.Has("line"):
		ds = append(ds, b.Errorf("line is missing: what is to stand in the file"))
	case b.Has("insert_after") && b.Has("insert_before"):
		ds = append(ds, b.At("insert_before").Errorf("insert_before and insert_after exclude each other"))
	case l.Line != nil && strings.ContainsAny(*l.Line, "\n\r"):
		d := b.At("line").Errorf("line holds more than one line")
		d.Hint = "a file of several lines is for `write` or `template`"
		ds = append(ds, d)
	}
	return ds
}

// Provision edits the file.
func (l *Line) Provision(ctx context.Context, _ *builder.Scope, comm builder.Communicator) (builder.Outcome, error) {
	have, err := readFile(ctx, comm, l.File)
	if errors.Is(err, builder.ErrNotFound) {
		return l.create(ctx, comm, err)
	}
	if err != nil {
		return builder.Outcome{}, err
	}
	content, note, err := l.edit(have.content)
	if err != nil {
		return builder.Outcome{}, err
	}
	if bytes.Equal(content, have.content) {
		return builder.Outcome{Unchanged: true}, nil
	}
	if err := comm.Put(ctx, path.Dir(have.path), files(have.withContent(content))); err != nil {
		return builder.Outcome{}, fmt.Errorf("writing %s: %w", have.path, err)
	}
	return builder.Outcome{Note: note}, nil
}

func (l *Line) create(ctx context.Context, comm builder.Communicator, missing error) (builder.Outcome, error) {
	if l.State == "absent" {
		return builder.Outcome{Unchanged: true}, nil
	}
	if !l.Create {
		return builder.Outcome{}, fmt.Errorf("%w; create: true makes it", missing)
	}
	content := []byte(*l.Line + "\n")
	n := newFile{path: l.File, owner: l.Owner, mode: fileMode(l.Mode, 0o644), size: int64(len(content)), open: opener(content)}
	out, err := n.ensure(ctx, comm)
	out.Note = "made the file"
	return out, err
}

// edit returns the text as it is to be and what was done to it.
func (l *Line) edit(content []byte) ([]byte, string, error) {
	lines := strings.Split(string(content), "\n")
	last := lines[len(lines)-1] // what stands after the last newline
	lines = lines[:len(lines)-1]
	if last != "" {
		lines = append(lines, last)
	}
	match, err := l.matcher()
	if err != nil {
		return nil, "", err
	}
	if l.State == "absent" {
		left := slices.DeleteFunc(slices.Clone(lines), match)
		if len(left) == len(lines) {
			return content, "", nil
		}
		return join(left, last != "" && len(left) > 0 && left[len(left)-1] == last), fmt.Sprintf("removed %d", len(lines)-len(left)), nil
	}
	line := *l.Line
	if l.Regexp != "" {
		if i := lastIndex(lines, match); i >= 0 {
			if lines[i] == line {
				return content, "", nil
			}
			lines[i] = line
			return join(lines, last != ""), fmt.Sprintf("replaced line %d", i+1), nil
		}
	}
	if slices.Contains(lines, line) {
		return content, "", nil
	}
	at, err := l.place(lines)
	if err != nil {
		return nil, "", err
	}
	lines = slices.Insert(lines, at, line)
	return join(lines, last != "" && at < len(lines)-1), fmt.Sprintf("added line %d", at+1), nil
}

// matcher tells the lines that regexp means, or, for state absent without one, line.
func (l *Line) matcher() (func(string) bool, error) {
	if l.Regexp == "" {
		return func(s string) bool { return l.Line != nil && s == *l.Line }, nil
	}
	re, err := regexp.Compile(l.Regexp)
	if err != nil {
		return nil, err
	}
	return re.MatchString, nil
}

// place is the index at which a new line goes.
func (l *Line) place(lines []string) (int, error) {
	if l.InsertBefore == "BOF" {
		return 0, nil
	}
	for re, offset := range map[string]int{l.InsertBefore: 0, l.InsertAfter: 1} {
		if re == "" || re == "EOF" {
			continue
		}
		compiled, err := regexp.Compile(re)
		if err != nil {
			return 0, err
		}
		if i := lastIndex(lines, compiled.MatchString); i >= 0 {
			return i + offset, nil
		}
	}
	return len(lines), nil
}

func lastIndex(lines []string, match func(string) bool) int {
	for i, line := range slices.Backward(lines) {
		if match(line) {
			return i
		}
	}
	return -1
}

// join ends each line, except the last one if open says that it had no end.
func join(lines []string, open bool) []byte {
	text := strings.Join(lines, "\n")
	if len(lines) > 0 && !open {
		text += "\n"
	}
	return []byte(text)
}
