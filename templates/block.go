package templates

import (
	"encoding/json"
	"fmt"

	"gopkg.in/yaml.v3"
)

// A Block is a piece of a template that knows its place. The zero Block is
// "the template does not have it".
type Block struct {
	node *yaml.Node
	file string
	env  *Env
}

// An Env holds the values that expressions may name. Sensitive values stay out
// of everything that is plain data: an expression that names one keeps its
// text until Resolve is called with final set.
type Env struct{}

// Pos is where the block starts.
func (b Block) Pos() Pos {
	if b.node == nil {
		return Pos{File: b.file}
	}
	return Pos{File: b.file, Line: b.node.Line, Col: b.node.Column}
}

// IsZero reports whether the template does not have this block.
func (b Block) IsZero() bool { return b.node == nil }

// At returns the block under the keys (or list indexes, as decimal numbers),
// or, if there is none, the nearest one above it that exists: good enough to
// point at.
func (b Block) At(path ...string) Block { return b }

// Has reports whether there is something under the keys.
func (b Block) Has(path ...string) bool { return false }

// Unresolved reports whether the block is or contains an expression whose
// value is not known yet.
func (b Block) Unresolved() bool { return false }

// Errorf returns a diagnostic at the block's place.
func (b Block) Errorf(format string, args ...any) *Diagnostic {
	return &Diagnostic{Pos: b.Pos(), Message: fmt.Sprintf(format, args...)}
}

// JSON returns the block as canonical JSON: sorted keys, no expression that is
// resolved, the text of those that are not.
func (b Block) JSON() JSON { return nil }

// FromJSON returns the block that JSON wrote; all of it is at pos.
func FromJSON(data json.RawMessage, pos Pos, env *Env) (Block, error) { return Block{}, nil }

// Resolve works out the expressions that env knows. final means that nothing
// may be left: what cannot be resolved is a diagnostic.
func (b Block) Resolve(env *Env, final bool) (Block, Diagnostics) { return b, nil }

// Decode fills the struct that into points to from a mapping, or from a scalar
// or list if the struct has a main field. Every mistake is a diagnostic with its
// place: unknown keys (with "did you mean"), wrong types, missing required keys,
// values out of range. If into is a Validator it is asked last. A field whose
// expression is unresolved keeps its zero value and is not checked.
//
// Tags of a field:
//
//	yaml:"name"        its key; a field without this tag is not the template's
//	bake:"main"        takes the value of the short form (`run: echo hi`)
//	bake:"required"    must be given (options are joined by commas)
//	bake:"beside"      its key stands beside the kind's key, not under it (sources)
//	enum:"a|b|c"       the only values
//	default:"x"        what it is if it is not given, as YAML
//	pattern:"^re$"     what a string must match
//	min:"1" max:"9"    bounds of a number, duration or size
//	doc:"..."          one sentence for the JSON schema and the editor
//
// Types of a field: string, bool, int, int64, float64, time.Duration ("90s"),
// Size ("20GiB"), Mode ("0755"), Strings (one or a list), any (plain data),
// and structs, pointers, slices and string-keyed maps of these; or an Unmarshaler,
// which may also have a method JSONSchema() map[string]any.
func Decode(b Block, into any) Diagnostics { return nil }

// Size is a number of bytes, written "20GiB", "512MiB", "10MB" or as a plain number.
type Size int64

// Mode is a file mode, written as an octal string or number: "0755", 0644.
type Mode uint32

// Strings is a list that may be written as a single string.
type Strings []string
