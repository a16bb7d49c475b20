package publish

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"bake/builder"
	"bake/internal/registry"
)

// Sources returns the kind of source that needs no machine.
func Sources(d Deps) map[string]func() builder.Source {
	return map[string]func() builder.Source{
		"manifest": func() builder.Source { return &Released{deps: d} },
	}
}

// Released is an image that an earlier run made and pushed, as its manifest
// says: nothing is built, and outputs hand on exactly that, by its digest.
type Released struct {
	Path  string `yaml:"path" bake:"main,required" doc:"The manifest that the output of that name has written; relative to the template."`
	Build string `yaml:"build" doc:"Which of the manifest's builds, if it has several."`
	From  string `yaml:"from" doc:"Which of the repositories that the image was pushed to: the beginning of its name."`

	deps Deps
}

// Pin reads the manifest and looks the image up where it was pushed to.
func (s *Released) Pin(ctx context.Context, env builder.PinEnv) (builder.Pin, error) {
	path := s.Path
	if !filepath.IsAbs(path) {
		path = filepath.Join(env.Dir, path)
	}
	file, err := ReadManifest(path)
	if err != nil {
		return builder.Pin{}, err
	}
	b, err := file.Build(s.Build)
	if err != nil {
		return builder.Pin{}, err
	}
	a, pin, err := b.Release(ctx, s.deps.Registry, s.From)
	if err != nil {
		return builder.Pin{}, err
	}
	pin.Config, err = json.Marshal(a)
	return pin, err
}

// noMachineError says that there is nothing to run steps on.
type noMachineError struct{}

func (noMachineError) Error() string {
	return "an image that was made before takes no steps and no tests here"
}

// Hint says what does.
func (noMachineError) Hint() string {
	return "start from it: `source: {image: ${{ ... }}}` with its reference builds another image on top"
}

// Open makes no machine: what it returns stands for the image.
func (s *Released) Open(_ context.Context, _ *builder.Scope, from builder.Opening) (builder.Machine, error) {
	if from.Test {
		return builder.Machine{}, noMachineError{}
	}
	return builder.Machine{ID: from.Pin.Values["ref"], Platform: from.Platform, Detail: map[string]string{"artifact": string(from.Pin.Config)}}, nil
}

// Dial is for steps, and there can be none.
func (s *Released) Dial(context.Context, *builder.Scope, builder.Machine) (builder.Communicator, error) {
	return nil, noMachineError{}
}

// Freeze returns the image.
func (s *Released) Freeze(_ context.Context, _ *builder.Scope, m builder.Machine, _ builder.Freezing) (builder.Artifact, error) {
	var a builder.Artifact
	err := json.Unmarshal([]byte(m.Detail["artifact"]), &a)
	return a, err
}

// Build returns the build of that name; if name is empty, the only one that
// made something.
func (f ManifestFile) Build(name string) (ManifestBuild, error) {
	var names []string
	var found []ManifestBuild
	for _, b := range f.Builds {
		if b.Artifact == nil {
			continue
		}
		names = append(names, b.Build)
		if b.Build == name || name == "" && !strings.Contains(b.Build, "@") { // not the parts of an index
			found = append(found, b)
		}
	}
	switch {
	case len(names) == 0:
		return ManifestBuild{}, errors.New("the manifest lists nothing that was made")
	case len(found) == 1:
		return found[0], nil
	case name == "":
		return ManifestBuild{}, fmt.Errorf("the manifest lists several builds (%s): say which", strings.Join(names, ", "))
	}
	return ManifestBuild{}, fmt.Errorf("the manifest has no build %q, only %s", name, strings.Join(names, ", "))
}

// A NotPushedError is a build whose image no output has pushed anywhere.
type NotPushedError struct {
	Build string
	From  string
	Have  []string
}

func (e *NotPushedError) Error() string {
	if e.From != "" && len(e.Have) > 0 {
		return fmt.Sprintf("build %s was not pushed to %s, only to %s", e.Build, e.From, strings.Join(e.Have, ", "))
	}
	return fmt.Sprintf("build %s was not pushed to a registry, so there is nothing to release", e.Build)
}

// Hint says what must come before.
func (e *NotPushedError) Hint() string {
	return "push it in the job that builds it: an output `registry` or `ecr` before `manifest`"
}

// Release returns what the build made, to be handed on: an image as the
// registry holds it that it was pushed to, held to its digest, and what
// `source.*` means. from chooses among several repositories.
func (b ManifestBuild) Release(ctx context.Context, c *registry.Client, from string) (builder.Artifact, builder.Pin, error) {
	pin := builder.Pin{Digest: b.Key, Values: map[string]string{}, Summary: "build " + b.Build}
	if b.Source != nil {
		pin.Values["source"] = b.Source.Values["ref"]
	}
	if b.Artifact.Image == nil {
		return *b.Artifact, pin, nil
	}
	name, err := b.pushed(from)
	if err != nil {
		return builder.Artifact{}, pin, err
	}
	ref, err := registry.ParseReference(name, false)
	if err != nil {
		return builder.Artifact{}, pin, fmt.Errorf("build %s: %w", b.Build, err)
	}
	img, err := c.Held(ctx, ref)
	if err != nil {
		return builder.Artifact{}, pin, fmt.Errorf("build %s: %w", b.Build, err)
	}
	pin.Digest, pin.Summary = builder.Digest(ref.Digest), name
	pin.Values["ref"], pin.Values["digest"], pin.Values["name"], pin.Values["id"] = name, ref.Digest, ref.Name(), img.ID
	return builder.Artifact{Image: &img}, pin, nil
}

// pushed is the reference, with its digest, of what the build pushed.
func (b ManifestBuild) pushed(from string) (string, error) {
	var have []string
	for _, o := range b.Outputs {
		for _, ref := range append([]string{o.Values["ref"]}, strings.Split(o.Values["refs"], ",")...) {
			if strings.Contains(ref, "@sha256:") && !slices.Contains(have, ref) {
				have = append(have, ref)
			}
		}
	}
	for _, ref := range have {
		if strings.HasPrefix(ref, from) {
			return ref, nil
		}
	}
	return "", &NotPushedError{Build: b.Build, From: from, Have: have}
}
