package templates

import (
	"encoding/json"
	"time"
)

// A Language is the vocabulary of a template: for each kind of block a struct
// whose fields are the keys it takes (see Decode for the tags).
type Language struct {
	Sources map[string]any // kind -> pointer to a zero struct
	Steps   map[string]any
	Outputs map[string]any
}

// Options are what a template is read with.
type Options struct {
	Vars     map[string]string // --var x=y
	VarFiles []string          // --var-file, later ones win
	Environ  []string          // os.Environ(); BAKE_VAR_x sets variable x, env.* reads it
	RunID    string            // run.id
	Now      time.Time         // run.timestamp
	Git      func() Git        // called at most once, and only if the template says git.*
}

// Git describes the checkout a template lies in; empty outside one.
type Git struct{ SHA, Branch, Tag string }

// A Template is a file that was read, with includes, matrix and expressions
// worked out as far as they can be before anything has run.
type Template struct {
	File        string // as the user named it
	Dir         string // absolute; relative paths in the template start here
	Name        string
	Description string
	Builds      []Build // in file order, matrix multiplied
	Env         *Env    // for what is left to resolve
}

// A Build makes one artifact.
type Build struct {
	Name      string
	Pos       Pos
	Source    Kind
	Platforms []string // "linux/amd64"; empty: that of this machine
	Squash    bool     // one layer for all steps
	Steps     []Step
	Tests     []Step
	Config    Block // zero if the template has none
	Outputs   []Kind
	Needs     []string // builds it starts from or names in an expression
}

// A Kind is one block of a kind: its key and what stands under it.
type Kind struct {
	Kind string
	Name string // label; may be empty
	If   string // an expression that could not be decided yet; empty: it applies
	Body Block
	Pos  Pos
}

// A Step is one entry of `steps` or `tests`, with the keys all steps share.
type Step struct {
	Kind
	Env        map[string]string // values may hold unresolved expressions
	User       string
	Workdir    string
	Timeout    time.Duration // 0: none
	Retries    int
	RetryDelay time.Duration
	Continue   bool // on_error: continue
	Cache      Cache
}

// Cache says how far a step's result may be reused.
type Cache struct {
	Never   bool          `json:"never,omitempty"`   // cache: false
	Expires time.Duration `json:"expires,omitempty"` // cache: {expires: 24h}; 0: never expires
}

// A Validator is a kind's struct that checks more than its tags can say.
// Fields whose expression is not resolved yet hold their zero value; b.Unresolved
// tells. It returns what is wrong at positions inside b (see Block.At).
type Validator interface {
	Validate(b Block) Diagnostics
}

// An Unmarshaler is a field type that reads itself from a block.
type Unmarshaler interface {
	UnmarshalBlock(b Block) Diagnostics
}

// JSON is a block as plain data; expressions that are not resolved keep their text.
type JSON = json.RawMessage
