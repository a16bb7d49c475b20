package builder

import (
	"context"
	"errors"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// A Scope is what the engine lends to one running step.
type Scope struct {
	Run  RunID
	Step StepID
	// Dir is the absolute directory of the template; relative paths start there.
	Dir string
	// WorkDir is a directory for this run's own files on this machine, mode
	// 0700. It is removed when the run is cleaned.
	WorkDir string
	// Env, User and Workdir are the step's shared keys. The communicator that
	// a provisioner gets has them as the defaults of its commands; they stand
	// here for kinds that work on this machine (local, ansible).
	Env     map[string]string
	User    string
	Workdir string
	// Upstream is what the outputs before this one published, for manifests.
	Upstream []Result
}

// A Result is one thing a run made, as reports and manifests list it.
type Result struct {
	Build    string    `json:"build"`
	Artifact *Artifact `json:"artifact,omitempty"`
	Output   string    `json:"output,omitempty"` // kind
	*Published
}

// Create makes a resource so that a crash at any point leaves it findable. The
// intent is durable before create is called; create must pass r.Token to the
// API, as a client token or as a label set at creation, and return the id. If
// an earlier process made the resource already, it is returned and create is
// not called.
func (sc *Scope) Create(ctx context.Context, r Resource, create func(ctx context.Context, r Resource) (id string, err error)) (Resource, error) {
	return r, errors.ErrUnsupported
}

// Keep marks a resource as the product: it outlives the run. It takes effect
// in the same entry that records the step as done.
func (sc *Scope) Keep(r Resource) {}

// Log tells the user something about the step, one line.
func (sc *Scope) Log(format string, args ...any) {}

// Stdout and Stderr return writers whose lines become log events of the step.
func (sc *Scope) Stdout() io.Writer { return io.Discard }

// Stderr is like Stdout for the other stream.
func (sc *Scope) Stderr() io.Writer { return io.Discard }

// Progress reports how far a transfer has come. It is cheap: call it often.
func (sc *Scope) Progress(p Progress) {}

// Image opens the content of an image, whichever engine holds it.
func (sc *Scope) Image(ctx context.Context, img Image) (v1.Image, error) {
	return nil, errors.ErrUnsupported
}
