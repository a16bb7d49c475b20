package templates

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
)

// Pos is a place in a template file. Line and Col count from 1; Col counts
// characters. The zero Pos is "nowhere in a file" (a flag, an environment variable).
type Pos struct {
	File string `json:"file,omitempty"`
	Line int    `json:"line,omitempty"`
	Col  int    `json:"col,omitempty"`
}

// IsZero reports whether the position names no place.
func (p Pos) IsZero() bool { return p == Pos{} }

// String returns "file:line:col", as editors and terminals make it a link, or
// the file alone if the line is not known.
func (p Pos) String() string {
	if p.Line == 0 {
		return p.File
	}
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Col)
}

// A Diagnostic is one thing wrong with a template.
type Diagnostic struct {
	Pos     Pos    `json:"pos"`
	End     int    `json:"end,omitempty"` // column after the last wrong character, 0 if only Pos is known
	Message string `json:"message"`       // what is wrong, in the template's words; lower case, no period
	Hint    string `json:"hint,omitempty"`
	Line    string `json:"line,omitempty"` // the text of the line Pos is on
}

// Error returns "file:line:col: message" without the excerpt and the hint.
func (d *Diagnostic) Error() string {
	if d.Pos.IsZero() {
		return d.Message
	}
	return d.Pos.String() + ": " + d.Message
}

// Diagnostics is everything wrong with a template.
type Diagnostics []*Diagnostic

// Sort orders by file, line and column, and drops exact repeats.
func (ds Diagnostics) Sort() Diagnostics {
	slices.SortStableFunc(ds, func(a, b *Diagnostic) int {
		return cmp.Or(cmp.Compare(a.Pos.File, b.Pos.File), cmp.Compare(a.Pos.Line, b.Pos.Line),
			cmp.Compare(a.Pos.Col, b.Pos.Col), cmp.Compare(a.Message, b.Message))
	})
	return slices.CompactFunc(ds, func(a, b *Diagnostic) bool { return a.Pos == b.Pos && a.Message == b.Message })
}

// Err returns nil if there is nothing wrong, else all of it as one error.
func (ds Diagnostics) Err() error {
	if len(ds) == 0 {
		return nil
	}
	errs := make([]error, len(ds))
	for i, d := range ds {
		errs[i] = d
	}
	return errors.Join(errs...)
}
