package publish

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/moby/sys/atomicwriter"

	"bake/builder"
)

// ManifestVersion is the version of the manifest file's schema. It grows when
// a field changes its meaning or goes away, not when one is added.
const ManifestVersion = 1

// DefaultManifest is the file that is written if none is named.
const DefaultManifest = "bake.manifest.json"

// Manifest writes a JSON file of everything the run made, for later jobs.
type Manifest struct {
	Path string `yaml:"path" bake:"main" default:"bake.manifest.json" doc:"JSON file to write, relative to the template."`
}

// A ManifestFile is the content of the file.
type ManifestFile struct {
	Version  int             `json:"version"`  // ManifestVersion
	Template string          `json:"template"` // file name of the template
	Name     string          `json:"name"`     // the template's
	Run      builder.RunID   `json:"run"`
	Created  time.Time       `json:"created,omitzero"` // what the images say of themselves
	Revision string          `json:"revision,omitempty"`
	Builds   []ManifestBuild `json:"builds"`
}

// A ManifestBuild is one build: what it made and where that went.
type ManifestBuild struct {
	Build    string            `json:"build"`
	Source   *ManifestSource   `json:"source,omitempty"`
	Key      builder.Digest    `json:"key,omitempty"` // content address of everything that went in
	Artifact *builder.Artifact `json:"artifact,omitempty"`
	Outputs  []ManifestOutput  `json:"outputs,omitempty"`
}

// A ManifestSource is what the build started from.
type ManifestSource struct {
	Kind   string            `json:"kind"`
	Digest builder.Digest    `json:"digest,omitempty"`
	Values map[string]string `json:"values,omitempty"`
}

// A ManifestOutput is what an output published: for a registry its ref,
// digest, repository and tags, for an archive its path.
type ManifestOutput struct {
	Output string            `json:"output"`
	Values map[string]string `json:"values,omitempty"`
}

// Accepts says that a manifest lists whatever was made.
func (o *Manifest) Accepts(builder.ArtifactKind) bool { return true }

// Final says that the manifest is written when all else is done.
func (o *Manifest) Final() {}

// Publish writes the file, unless it says all this already. What it says does
// not depend on when the run was, but for the run's id: a file that differs
// in that alone stays.
func (o *Manifest) Publish(_ context.Context, sc *builder.Scope, in builder.Artifact) (builder.Published, error) {
	path := o.Path
	if !filepath.IsAbs(path) {
		path = filepath.Join(sc.Dir, path)
	}
	file := manifestOf(sc, in)
	published := builder.Published{Values: map[string]string{"path": path}}
	if old, err := ReadManifest(path); err == nil && sameManifest(old, file) {
		published.Unchanged = true
		published.Summary = "already at " + o.Path
		return published, nil
	}
	data, err := json.MarshalIndent(file, "", "  ")
	if err != nil {
		return builder.Published{}, fmt.Errorf("manifest %s: %w", o.Path, err)
	}
	if err := write(path, append(data, '\n')); err != nil {
		return builder.Published{}, fmt.Errorf("manifest %s: %w", o.Path, err)
	}
	published.Summary = "wrote " + o.Path
	return published, nil
}

// ReadManifest reads a manifest file.
func ReadManifest(path string) (ManifestFile, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return ManifestFile{}, err
	}
	var file ManifestFile
	if err := json.Unmarshal(data, &file); err != nil {
		return ManifestFile{}, fmt.Errorf("manifest %s: %w", path, err)
	}
	if file.Version > ManifestVersion {
		return ManifestFile{}, fmt.Errorf("manifest %s: version %d is newer than this bake knows (%d)", path, file.Version, ManifestVersion)
	}
	return file, nil
}

// manifestOf gathers what the run made, in the order of the plan's builds.
func manifestOf(sc *builder.Scope, in builder.Artifact) ManifestFile {
	file := ManifestFile{Version: ManifestVersion, Run: sc.Run, Builds: []ManifestBuild{}}
	order := map[string]int{}
	if p := sc.Plan; p != nil {
		file.Name, file.Created = p.Name, p.Created
		if p.Template != "" {
			file.Template = filepath.Base(p.Template)
		}
		for i, b := range p.Builds {
			order[b.Name] = i
		}
	}
	file.Revision = revision(in, sc.Results)
	builds := map[string]*ManifestBuild{}
	for _, r := range sc.Results {
		b := builds[r.Build]
		if b == nil {
			b = newBuild(sc.Plan, r.Build)
			builds[r.Build] = b
		}
		if r.Artifact != nil {
			b.Artifact = r.Artifact
		}
		if r.Published != nil {
			b.Outputs = append(b.Outputs, ManifestOutput{Output: r.Output, Values: r.Values})
		}
	}
	for _, name := range slices.SortedFunc(maps.Keys(builds), func(a, b string) int {
		return cmp.Or(cmp.Compare(order[a], order[b]), cmp.Compare(a, b))
	}) {
		file.Builds = append(file.Builds, *builds[name])
	}
	return file
}

func newBuild(p *builder.Plan, name string) *ManifestBuild {
	b := &ManifestBuild{Build: name}
	if p == nil {
		return b
	}
	for _, planned := range p.Builds {
		if planned.Name != name {
			continue
		}
		b.Key = planned.Key
		if len(planned.Steps) > 0 && planned.Steps[0].Phase == builder.Open {
			b.Source = &ManifestSource{Kind: planned.Steps[0].Kind, Digest: planned.Pin.Digest, Values: planned.Pin.Values}
		}
	}
	return b
}

// revision is the commit that the images say they were made from.
func revision(in builder.Artifact, results []builder.Result) string {
	artifacts := []*builder.Artifact{&in}
	for _, r := range results {
		artifacts = append(artifacts, r.Artifact)
	}
	for _, a := range artifacts {
		if a != nil && a.Image != nil {
			if rev := a.Image.Annotations["org.opencontainers.image.revision"]; rev != "" {
				return rev
			}
		}
	}
	return ""
}

// sameManifest compares all but the run's id and time.
func sameManifest(a, b ManifestFile) bool {
	a.Run, b.Run = "", ""
	a.Created, b.Created = time.Time{}, time.Time{}
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && bytes.Equal(x, y)
}

// write replaces the file at once.
func write(path string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return atomicwriter.WriteFile(path, data, 0o644)
}
