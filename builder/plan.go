package builder

import (
	"fmt"
	"strings"
	"time"

	"bake/templates"
)

type (
	// RunID names one run; it sorts by time.
	RunID string
	// StepID names a step in a plan: "web/provision/2".
	StepID string
	// Digest is a content address, "sha256:" and 64 hex digits.
	Digest string
)

// Build is the name of the build the step belongs to.
func (id StepID) Build() string {
	name, _, _ := strings.Cut(string(id), "/")
	return name
}

// Platform is an operating system and a processor, in the words of Go and OCI.
type Platform struct {
	OS      string `json:"os"`
	Arch    string `json:"arch"`
	Variant string `json:"variant,omitempty"`
}

// String returns "linux/arm64" or "linux/arm/v7".
func (p Platform) String() string {
	s := p.OS + "/" + p.Arch
	if p.Variant != "" {
		s += "/" + p.Variant
	}
	return s
}

// ParsePlatform reads what String writes.
func ParsePlatform(s string) (Platform, error) {
	parts := strings.Split(s, "/")
	if len(parts) < 2 || len(parts) > 3 || parts[0] == "" || parts[1] == "" {
		return Platform{}, fmt.Errorf("platform %q: want OS/ARCH or OS/ARCH/VARIANT, like linux/arm64", s)
	}
	p := Platform{OS: parts[0], Arch: parts[1]}
	if len(parts) == 3 {
		p.Variant = parts[2]
	}
	return p, nil
}

// A Phase is what a step is for; it fixes the types of what goes in and comes out.
type Phase string

// The phases of a build, in order.
const (
	Open      Phase = "open"      // -> Machine
	Provision Phase = "provision" // Machine -> Machine
	Freeze    Phase = "freeze"    // Machine -> Artifact
	Join      Phase = "join"      // artifacts of the needed builds -> Artifact (an index)
	TestOpen  Phase = "test-open" // Artifact -> Artifact, Machine
	Test      Phase = "test"      // Artifact, Machine -> the same
	Accept    Phase = "accept"    // Artifact (, Machine) -> Artifact
	Publish   Phase = "publish"   // Artifact -> Artifact, Published
)

// A Plan is a template that can be run: valid, defaulted, pinned. It is plain
// data without secrets.
type Plan struct {
	Template string    `json:"template"`
	Dir      string    `json:"dir"`
	Name     string    `json:"name"`
	Created  time.Time `json:"created,omitzero"` // what images get as their time
	// Run is run.* in the plan's expressions. A name that has one of these
	// values in it is not another name only because the run is another.
	Run map[string]string `json:"run,omitempty"`
	// Annotations go into every image (org.opencontainers.image.*).
	Annotations map[string]string `json:"annotations,omitempty"`
	Builds      []Build           `json:"builds"` // sorted: a build comes after the builds it needs
}

// A Build makes one artifact.
type Build struct {
	Name     string        `json:"name"`
	Platform Platform      `json:"platform"`
	Needs    []string      `json:"needs,omitempty"`
	Base     string        `json:"base,omitempty"` // the build whose artifact it starts from
	Squash   bool          `json:"squash,omitempty"`
	Pin      Pin           `json:"pin"`
	Key      Digest        `json:"key"` // of the finished artifact
	Pos      templates.Pos `json:"pos"`
	// Given is the artifact of a build that makes nothing: it was made before,
	// and the build has nothing but outputs (Plan.Give).
	Given *Artifact `json:"given,omitempty"`
	Steps []Step    `json:"steps"`
}

// A Step is one thing to do.
type Step struct {
	ID     StepID         `json:"id"`
	Phase  Phase          `json:"phase"`
	Kind   string         `json:"kind,omitempty"`
	Name   string         `json:"name,omitempty"` // what it is called in the display
	Config templates.JSON `json:"config,omitempty"`
	Key    Digest         `json:"key,omitempty"` // content address: kind, config, input files, previous key
	Pos    templates.Pos  `json:"pos,omitzero"`

	FilesOnly  bool              `json:"files_only,omitempty"` // runs no program of the machine
	Last       bool              `json:"last,omitempty"`       // runs when everything else of the plan is done
	If         string            `json:"if,omitempty"`         // an expression that can be decided only when it runs
	Env        map[string]string `json:"env,omitempty"`
	User       string            `json:"user,omitempty"`
	Workdir    string            `json:"workdir,omitempty"`
	Timeout    time.Duration     `json:"timeout,omitempty"`
	Retries    int               `json:"retries,omitempty"`
	RetryDelay time.Duration     `json:"retry_delay,omitempty"`
	Continue   bool              `json:"continue,omitempty"`
	Cache      templates.Cache   `json:"cache,omitzero"`
}
