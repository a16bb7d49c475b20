package builder

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"bake/templates"
)

// ErrNotFound says that what was looked for does not exist. It is an answer,
// not a failure: an API that could not be asked returns another error.
var ErrNotFound = errors.New("not found")

// A Source opens the machine a build works on and freezes it into an artifact.
// One value serves one step of one build; its exported fields are what the
// template says (templates.Decode fills them).
type Source interface {
	// Pin replaces names that move (a tag, an AMI filter) by what they mean
	// now. It only reads, and it may be asked again in a later run.
	Pin(ctx context.Context, env PinEnv) (Pin, error)
	// Open makes the machine. Everything it makes goes through sc.Create.
	Open(ctx context.Context, sc *Scope, from Opening) (Machine, error)
	// Dial connects to a machine that Open or Snapshot returned, in this
	// process or an earlier one.
	Dial(ctx context.Context, sc *Scope, m Machine) (Communicator, error)
	// Freeze turns the machine into an artifact.
	Freeze(ctx context.Context, sc *Scope, m Machine, f Freezing) (Artifact, error)
}

// PinEnv is what a source may use to pin itself.
type PinEnv struct {
	Dir      string   // absolute directory of the template
	Platform Platform // what is wanted
}

// A Pin is what a source's moving names meant when the plan was made. It is
// plain data, part of the plan, and all that Open may rely on.
type Pin struct {
	Digest  Digest            `json:"digest"`            // content address of what the build starts from
	Config  templates.JSON    `json:"config,omitempty"`  // the source's own: what Open needs to find it again
	Values  map[string]string `json:"values,omitempty"`  // source.* in expressions: id, name, digest, ...
	Summary string            `json:"summary,omitempty"` // one line for people: "debian:bookworm-slim@sha256:0123"
	// Platform is that of what was found, for a source whose platform is not
	// chosen but follows from it; nil: what was wanted.
	Platform *Platform `json:"platform,omitempty"`
}

// An Opening is what Open starts from.
type Opening struct {
	Dir      string // absolute directory of the template
	Platform Platform
	Pin      Pin
	// Base is the artifact of the build that a `build:` source names, or the
	// candidate that is tested; nil otherwise.
	Base *Artifact
	// Test asks for the machine as its users will start it, main process
	// included, instead of one to be changed.
	Test bool
	// Squash says that the build's steps become one layer.
	Squash bool
}

// A Freezing says what the artifact is to be.
type Freezing struct {
	Key         Digest // content address of everything that went in
	Build       string
	Squash      bool            // one layer for all steps
	Config      templates.Block // the template's `config`, resolved; zero if it has none
	Annotations map[string]string
	Created     time.Time // SOURCE_DATE_EPOCH, or when the run began
}

// A Snapshotter is a Source that can save a machine after each step and start
// from such a point again, in any later run. The engine dials such a source
// anew for every step.
type Snapshotter interface {
	// Restore returns the machine as it stood after the last of keys for which
	// there is a valid unbroken chain of snapshots from m on, and how many
	// keys that covers. A snapshot that was made on top of another
	// predecessor, or is older than its key allows, breaks the chain.
	Restore(ctx context.Context, sc *Scope, m Machine, keys []SnapshotKey) (Machine, int, error)
	// Snapshot saves under key what has changed since the last snapshot. The
	// communicator of the step is closed already.
	Snapshot(ctx context.Context, sc *Scope, m Machine, key SnapshotKey) (Machine, error)
	// Rollback throws away what has changed since the last snapshot.
	Rollback(ctx context.Context, sc *Scope, m Machine) error
}

// A SnapshotKey names a snapshot and says how long it may be reused.
type SnapshotKey struct {
	Key    Digest
	Step   string        // what the step is called, for the image's history
	MaxAge time.Duration // 0: for ever
	Never  bool          // never restored from
}

// A Cacher is a Source that can find an artifact of an earlier run by its key.
type Cacher interface {
	// Lookup returns ErrNotFound if there is none. It never returns one that was not recorded.
	Lookup(ctx context.Context, sc *Scope, key Digest) (Artifact, error)
	// Record makes the artifact findable. The engine calls it when the tests have passed.
	Record(ctx context.Context, sc *Scope, key Digest, a Artifact) error
}

// A Provisioner changes a running machine.
type Provisioner interface {
	Provision(ctx context.Context, sc *Scope, comm Communicator) (Outcome, error)
}

// An Outcome is what a provisioner did.
type Outcome struct {
	Unchanged bool   // the machine was already as asked
	Note      string // one line; may be empty
}

// A Fingerprinter is a Provisioner that reads files of this machine. The
// digest covers names, modes, links and content of all it would read, so that
// a changed input changes the step's key.
type Fingerprinter interface {
	Fingerprint(ctx context.Context, dir string) (Digest, error)
}

// A Checker is a Provisioner that can tell before anything starts that files
// of this machine do not fit it: one is missing, a pattern matches nothing.
// Compile asks it once its struct is decoded; dir is the template's absolute
// directory, b the block it was decoded from, for the places of diagnostics.
// Fields whose expression is not resolved yet hold their zero value.
type Checker interface {
	Check(dir string, b templates.Block) templates.Diagnostics
}

// A FilesOnly provisioner may work with files alone: when FilesOnly reports
// true it runs no program of the machine, so that the machine's platform need
// not be one that can run here.
type FilesOnly interface {
	FilesOnly() bool
}

// A Versioned kind has changed what it does; the version is part of its steps' keys.
type Versioned interface {
	Version() int
}

// An Output hands an artifact on: shares it, pushes it, deploys it. Publish is
// also called for an artifact of an earlier run and then only repairs drift.
type Output interface {
	Accepts(ArtifactKind) bool
	Publish(ctx context.Context, sc *Scope, in Artifact) (Published, error)
}

// A Final output wants to see everything the run made: it runs when all else is done.
type Final interface {
	Output
	Final()
}

// A Maker is a Source whose artifact is not a container image.
type Maker interface {
	Makes() ArtifactKind
}

// A Brancher is a Source that is another one for each kind of artifact it may
// start from: `build`. For returns the one for a kind, or why the template does
// not fit it.
type Brancher interface {
	For(base ArtifactKind) (Source, error)
}

// A Varied source that starts from another build's artifact makes something
// else of it if its own block says something else; the digest is part of the key.
type Varied interface {
	Variant() Digest
}

// A Mortal source's machines may end while no process of the run lives: taken
// back, shut down by their own timer, or removed by a process that died before
// it could say so. A run that is resumed makes such a machine anew.
type Mortal interface {
	Gone(ctx context.Context, sc *Scope, m Machine) (bool, error)
}

// A Vetter is a Source that can tell, once the plan is pinned and before
// anything starts, that a build cannot work: a name is taken, a right is
// missing. It only reads.
type Vetter interface {
	Vet(ctx context.Context, p *Plan, b Build) error
}

// A Preflighter is a Source that can tell before anything starts that a
// machine of a platform cannot run commands here.
type Preflighter interface {
	Preflight(ctx context.Context, p Platform) error
}

// Published is what an output made, for the report, the manifest and for
// `outputs.<kind>.*` in the outputs after it.
type Published struct {
	Values    map[string]string `json:"values,omitempty"`    // ref, digest, path, ...
	Summary   string            `json:"summary,omitempty"`   // one line: "pushed 127.0.0.1:5000/api:1.4 (sha256:0123)"
	Unchanged bool              `json:"unchanged,omitempty"` // it was all there already
	// Artifact is what the artifact is from now on, for the outputs after this
	// one, if publishing has made it another: an AMI gets its name by being
	// registered anew. Nil: it is as it was.
	Artifact *Artifact `json:"artifact,omitempty"`
}

// A Communicator runs commands on a machine and moves files. It is safe for
// concurrent use.
type Communicator interface {
	// Run returns *ExitError if the command ran and failed. If ctx ends, no
	// process of the command is left when it returns.
	Run(ctx context.Context, cmd Command) error
	// Put writes files below the directory dst, which it makes if need be. No
	// name and no link on the machine leads it out of the machine's root.
	// Owners are numbers. A nil error means that all is there and whole.
	Put(ctx context.Context, dst string, files iter.Seq2[File, error]) error
	// Get reads the file or tree at src, names relative to src's parent, in
	// the order tar would. ErrNotFound if there is none.
	Get(ctx context.Context, src string) iter.Seq2[File, error]
	Close() error
}

// A Chrooter is a Communicator whose machine's root is a directory, or a
// container, that other tools of this machine can work on (ansible's chroot
// and docker connections).
type Chrooter interface {
	// Chroot returns ansible's connection plugin ("chroot", "docker", "ssh"),
	// and the host and variables that it needs.
	Connection() (plugin, host string, vars map[string]string)
}

// A Rebooter is a Communicator whose machine can be restarted.
type Rebooter interface {
	// Reboot runs command, which restarts the machine (empty: the machine's
	// own way), waits until it is gone and until it is back, up to wait, and
	// returns an error unless it is proved that it started anew.
	Reboot(ctx context.Context, sc *Scope, command string, wait time.Duration) error
}

// A Command is a script or a program with arguments. Neither the script nor
// the environment ever stands in a process's arguments.
type Command struct {
	// Script is the text of a script; its own stdin is empty. It reaches the
	// shell on another descriptor than 0.
	Script string
	Shell  []string // what reads the script; default {"/bin/sh", "-e"}
	// Argv is the program to run instead of a script; Stdin is its stdin.
	Argv  []string
	Stdin io.Reader

	Env            map[string]string
	User           string // "name", "uid", with ":group"; empty: as connected
	Dir            string // empty: the machine's default
	Stdout, Stderr io.Writer
	TTY            bool
}

// ExitError is a command that ran and failed.
type ExitError struct {
	Code   int
	Signal string // "KILL", if a signal ended it; Code is 128+n then
}

func (e *ExitError) Error() string {
	if e.Signal != "" {
		return "killed by signal " + e.Signal
	}
	return fmt.Sprintf("exit status %d", e.Code)
}

// A File is one entry of a tree that goes to or comes from a machine.
type File struct {
	Path    string      // slash-separated, relative, no ".."
	Mode    fs.FileMode // type and permissions, setuid, setgid, sticky
	UID     int
	GID     int
	Size    int64  // of regular files
	Link    string // target of a symlink, or Path of the entry this is a hard link to
	Hard    bool   // Link is a hard link
	ModTime time.Time
	Xattrs  map[string]string // "security.capability", "user.x"
	// Open returns the content of a regular file. From Get it is valid until
	// the next entry is asked for. If the reader is also an io.ReaderAt, it
	// may be read in parts at once.
	Open func() (io.ReadCloser, error)
}

// State is what a step hands to the next step of its build: plain data.
type State struct {
	Machine  *Machine  `json:"machine,omitempty"`
	Artifact *Artifact `json:"artifact,omitempty"`
	// Through is the last step whose work Machine already holds, when Open
	// found it in the cache; or the last step of the build's making when
	// Lookup found the whole artifact.
	Through   StepID     `json:"through,omitempty"`
	Outcome   *Outcome   `json:"outcome,omitempty"`
	Published *Published `json:"published,omitempty"`
}

// A Machine is what steps run on. It holds what Dial needs in any process,
// and no secret.
type Machine struct {
	ID       string            `json:"id"`              // of the instance, container or workspace
	Where    string            `json:"where,omitempty"` // region, engine or host
	Platform Platform          `json:"platform"`
	Snapshot string            `json:"snapshot,omitempty"` // the last snapshot it stands on; a Snapshotter's own
	Detail   map[string]string `json:"detail,omitempty"`   // the source's own: address, user, name of a key
}

// ArtifactKind is which field of an Artifact is set.
type ArtifactKind string

// The kinds of artifacts.
const (
	ImageArtifact ArtifactKind = "image"
	AMIArtifact   ArtifactKind = "ami"
	HostArtifact  ArtifactKind = "host"
)

// Artifact is what a build makes: a closed union, exactly one field is set.
type Artifact struct {
	Image *Image `json:"image,omitempty"`
	AMI   *AMI   `json:"ami,omitempty"`
	Host  *Host  `json:"host,omitempty"`
}

// Kind returns which field is set.
func (a Artifact) Kind() ArtifactKind {
	switch {
	case a.AMI != nil:
		return AMIArtifact
	case a.Host != nil:
		return HostArtifact
	}
	return ImageArtifact
}

// Image is a container image that an engine holds, or an index over several.
type Image struct {
	Engine    string    `json:"engine,omitempty"` // "embedded", "docker"
	ID        string    `json:"id"`               // digest of its config (what Docker calls the image id)
	Platform  Platform  `json:"platform"`
	Size      int64     `json:"size,omitempty"` // bytes of its layers as the engine holds them
	Base      string    `json:"base,omitempty"` // reference of the base image with its digest, if it came from a registry
	Ref       string    `json:"ref,omitempty"`  // reference with digest, if a registry holds it instead of an engine
	Layers    []Layer   `json:"layers,omitempty"`
	Manifests []Image   `json:"manifests,omitempty"` // of an index: one image for each platform
	Created   time.Time `json:"created,omitzero"`
	// Annotations go into the manifest (org.opencontainers.image.*).
	Annotations map[string]string `json:"annotations,omitempty"`
}

// Layer is one layer of an image, for reports.
type Layer struct {
	DiffID Digest `json:"diff_id"`
	Size   int64  `json:"size"`           // bytes, uncompressed
	Step   string `json:"step,omitempty"` // what made it; empty: the base image
}

// AMI is an Amazon machine image.
type AMI struct {
	Region string `json:"region"`
	ID     string `json:"id"`
	Name   string `json:"name"`
	// Access is where and as whom it was made (amazon.Access.Where).
	Access       string   `json:"access,omitempty"`
	Account      string   `json:"account,omitempty"`      // its owner: twelve digits
	Architecture string   `json:"architecture,omitempty"` // "x86_64", "arm64"
	User         string   `json:"user,omitempty"`         // who logs in to its instances
	RootDevice   string   `json:"root_device,omitempty"`  // "/dev/xvda"
	Snapshots    []string `json:"snapshots,omitempty"`    // of its volumes, the root's first
}

// Host is a machine that existed before the build and is left as the steps
// made it.
type Host struct {
	Address string `json:"address"` // HOST:PORT
	User    string `json:"user"`
	ID      string `json:"id,omitempty"` // of /etc/machine-id, if it has one
}

// An ImageOpener reads the images that one engine holds.
type ImageOpener interface {
	// OpenImage returns the image's content. Layers are read when asked for
	// and never held in memory. The image may implement LayerStreamer.
	OpenImage(ctx context.Context, img Image) (v1.Image, error)
}

// A LayerStreamer is a v1.Image whose layers are best read in one go.
type LayerStreamer interface {
	// StreamLayers calls fn with the uncompressed tar of each layer that want
	// accepts, in any order. It reads nothing if want accepts none.
	StreamLayers(ctx context.Context, want func(diffID v1.Hash) bool, fn func(diffID v1.Hash, tar io.Reader) error) error
}

// A Cleaner finds and deletes resources of one kind.
type Cleaner interface {
	// Find returns the id of the resource that was made with r.Token, or ErrNotFound.
	Find(ctx context.Context, r Resource) (id string, err error)
	// Delete removes r and returns when it is gone. Deleting what is gone is not an error.
	Delete(ctx context.Context, r Resource) error
}

// A Lagging Cleaner's API may show a resource only some time after the call
// that makes it was sent, also when the caller died in the middle of it. An
// intent that is younger than Lag and cannot be found is looked for again.
type Lagging interface {
	Lag() time.Duration
}

// A Sweeper is a Cleaner that finds what runs left behind without their
// journal, by what the resources say of themselves.
type Sweeper interface {
	// Sweep lists resources of runs that are over. alive tells whether a run
	// is still going on in some process of this machine.
	Sweep(ctx context.Context, alive func(RunID) bool) ([]Resource, error)
}

// A Catalog is every kind of block a template may use, and what serves them.
// It is a value: wire.go makes it.
type Catalog struct {
	Sources      map[string]func() Source
	Provisioners map[string]func() Provisioner
	Outputs      map[string]func() Output
	Cleaners     map[string]Cleaner     // by Resource.Kind
	Images       map[string]ImageOpener // by Image.Engine
}
