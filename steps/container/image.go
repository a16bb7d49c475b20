package container

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"bake/builder"
	"bake/internal/imagefile"
	"bake/internal/registry"
	"bake/templates"
)

// Image starts from an image that exists: `image: debian:bookworm-slim`.
//
// A plain name is looked up in its registry. If there is no such image there,
// or the registry does not answer, and the local Docker engine has one of
// that name, that is taken. A name may say itself where it is, in skopeo's
// words: docker://NAME (registry), docker-daemon:NAME (the Docker engine),
// oci:DIR[:TAG] (a layout), oci-archive:FILE[:TAG], docker-archive:FILE[:NAME].
type Image struct {
	Name     string   `yaml:"name" bake:"main,required" doc:"Name of the image, with a tag or digest; or oci:DIR, oci-archive:FILE, docker-archive:FILE, docker-daemon:NAME."`
	From     string   `yaml:"from" enum:"registry|docker|layout|archive" doc:"Where the image is, if the name does not say it: a registry, the local Docker engine, an OCI layout directory, an OCI or docker archive."`
	Tag      string   `yaml:"tag" doc:"Which image of a layout or archive, if there are several."`
	Pull     string   `yaml:"pull" enum:"always|missing" default:"always" doc:"always asks the registry what the tag means now; missing keeps to what it meant the last time, and prefers the local Docker engine's image."`
	Mirrors  []string `yaml:"mirrors" doc:"Registries that are asked before the image's own, like mirror.example.com or http://mirror.lan:5000/hub."`
	Insecure bool     `yaml:"insecure" doc:"Allow plain HTTP. To this machine it is always allowed."`
	Through  string   `yaml:"pull_through" doc:"Pull-through cache of ECR that the image is taken from: a registry like 123456789012.dkr.ecr.eu-west-1.amazonaws.com, with the rule's prefix behind it if there are several; ecr is the caller's own; none is none. Default: BAKE_PULL_THROUGH."`
	delegate
}

// imagePin is what Open needs to find the image again.
type imagePin struct {
	From  string         `json:"from"`
	Name  string         `json:"name,omitempty"` // of the registry's or engine's image
	Path  string         `json:"path,omitempty"` // of a layout or archive, absolute
	Tag   string         `json:"tag,omitempty"`
	Found registry.Found `json:"found,omitzero"`
}

// where the schemes of a name lead.
func schemes() map[string]string {
	return map[string]string{
		"docker://": "registry", "docker-daemon:": "docker",
		"oci:": "layout", "oci-archive:": "archive", "docker-archive:": "archive",
	}
}

// locate splits the name into where the image is and what it is called there.
func (s *Image) locate() (from, name string) {
	for scheme, from := range schemes() {
		if rest, ok := strings.CutPrefix(s.Name, scheme); ok {
			return from, rest
		}
	}
	return s.From, s.Name
}

// Validate checks the name as far as it is known.
func (s *Image) Validate(b templates.Block) templates.Diagnostics {
	if s.Name == "" {
		return nil
	}
	from, name := s.locate()
	at := b.At("name")
	switch {
	case s.From != "" && s.From != from:
		return templates.Diagnostics{b.At("from").Errorf("the name says %s, from says %s", from, s.From)}
	case from == "" || from == "registry":
		if _, err := registry.ParseReference(name, s.Insecure); err != nil {
			return templates.Diagnostics{at.Errorf("%v", err)}
		}
	case name == "":
		return templates.Diagnostics{at.Errorf("there is nothing behind %s", s.Name)}
	}
	return nil
}

// Pin finds out what the name means now.
func (s *Image) Pin(ctx context.Context, env builder.PinEnv) (builder.Pin, error) {
	from, name := s.locate()
	switch from {
	case "layout", "archive":
		return s.pinFile(ctx, env, from, name)
	case "docker":
		return s.pinLocal(ctx, env, name)
	}
	if s.Pull == "missing" {
		if pin, err := s.pinKnown(ctx, env, from, name); err == nil {
			return pin, nil
		}
	}
	pin, err := s.pinRegistry(ctx, env, name)
	if err != nil && from == "" && ctx.Err() == nil && absent(err) {
		if local, lerr := s.pinLocal(ctx, env, name); lerr == nil {
			return local, nil
		}
	}
	return pin, err
}

// absent reports whether the registry has no such image, as far as it tells
// us, or could not be asked: Docker Hub denies access to names that do not exist.
func absent(err error) bool {
	switch registry.StatusOf(err) {
	case 0, http.StatusNotFound, http.StatusUnauthorized, http.StatusForbidden:
		var platform *registry.PlatformError
		return !errors.As(err, &platform)
	}
	return false
}

// pinKnown does not ask the registry if it need not.
func (s *Image) pinKnown(ctx context.Context, env builder.PinEnv, from, name string) (builder.Pin, error) {
	if from == "" {
		if pin, err := s.pinLocal(ctx, env, name); err == nil {
			return pin, nil
		}
	}
	var pin builder.Pin
	if !s.deps.memory().recall(s.memoryKey(env, name), &pin) {
		return pin, builder.ErrNotFound
	}
	return pin, nil
}

func (s *Image) memoryKey(env builder.PinEnv, name string) string {
	return "image " + env.Platform.String() + " " + name
}

func (s *Image) pinRegistry(ctx context.Context, env builder.PinEnv, name string) (builder.Pin, error) {
	ref, err := registry.ParseReference(name, s.Insecure)
	if err != nil {
		return builder.Pin{}, err
	}
	mirrors, err := s.mirrors(ctx, ref)
	if err != nil {
		return builder.Pin{}, err
	}
	found, err := s.deps.Registry.Find(ctx, ref, registry.Pull{Platform: env.Platform, Mirrors: mirrors})
	if err != nil {
		return builder.Pin{}, err
	}
	full := ref.WithDigest(found.Digest).String()
	pin := newPin(imagePin{From: "registry", Name: full, Found: found}, found.Manifest, found.Config)
	pin.Summary = full
	pin.Values["name"] = name
	pin.Values["ref"] = ref.Name() + "@" + found.Digest
	pin.Values["digest"] = found.Digest
	pin.Values["manifest"] = found.Manifest
	pin.Values["id"] = found.ID
	s.deps.memory().remember(s.memoryKey(env, name), pin)
	return pin, nil
}

// mirrors are the places that are asked before the image's own registry: a
// pull-through cache first.
func (s *Image) mirrors(ctx context.Context, ref registry.Reference) ([]string, error) {
	cache := cmp.Or(s.Through, s.deps.Cache)
	if cache == "" || cache == "none" || s.deps.PullThrough == nil {
		return s.Mirrors, nil
	}
	mirror, err := s.deps.PullThrough(ctx, cache, ref)
	if err != nil || mirror == "" {
		return s.Mirrors, err
	}
	return append([]string{mirror}, s.Mirrors...), nil
}

func (s *Image) pinLocal(ctx context.Context, env builder.PinEnv, name string) (builder.Pin, error) {
	img, id, err := s.local(ctx, name)
	if err != nil {
		return builder.Pin{}, err
	}
	file, err := img.ConfigFile()
	if err != nil {
		return builder.Pin{}, err
	}
	have := builder.Platform{OS: file.OS, Arch: file.Architecture, Variant: file.Variant}
	if !registry.Suits(env.Platform, have) {
		return builder.Pin{}, &registry.PlatformError{Image: name, Want: env.Platform, Have: []builder.Platform{have}}
	}
	pin := newPin(imagePin{From: "docker", Name: name, Found: registry.Found{ID: id, Platform: have}}, id, file)
	pin.Summary = name + " of the Docker engine (" + id + ")"
	pin.Values["name"], pin.Values["id"], pin.Values["digest"], pin.Values["ref"] = name, id, id, name
	return pin, nil
}

func (s *Image) local(ctx context.Context, name string) (v1.Image, string, error) {
	if s.deps.Local == nil {
		return nil, "", errors.New("there is no Docker engine to take " + name + " from")
	}
	engine, err := s.deps.Local(ctx)
	if err != nil {
		return nil, "", fmt.Errorf("taking %s from the Docker engine: %w", name, err)
	}
	img, id, err := engine.LocalImage(ctx, name)
	if err != nil {
		return nil, "", fmt.Errorf("taking %s from the Docker engine: %w", name, err)
	}
	return img, id, nil
}

func (s *Image) pinFile(ctx context.Context, env builder.PinEnv, from, name string) (builder.Pin, error) {
	path, tag := name, s.Tag
	if tag == "" {
		path, tag = splitPath(env.Dir, name)
	}
	if !filepath.IsAbs(path) {
		path = filepath.Join(env.Dir, path)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // closes the archive
	found, err := imagefile.Open(ctx, imagefile.Source{Path: path, Tag: tag, Platform: env.Platform})
	if err != nil {
		return builder.Pin{}, err
	}
	data := imagePin{From: from, Path: path, Tag: tag, Found: registry.Found{Digest: found.Digest, ID: found.ID, Platform: found.Platform}}
	pin := newPin(data, found.Digest, found.Config)
	pin.Summary = name + "@" + found.Digest
	pin.Values["name"], pin.Values["digest"], pin.Values["id"] = name, found.Digest, found.ID
	pin.Values["ref"] = pin.Summary
	return pin, nil
}

// splitPath cuts a tag off a path, unless there is a file of the whole name.
func splitPath(dir, name string) (path, tag string) {
	full := name
	if !filepath.IsAbs(full) {
		full = filepath.Join(dir, full)
	}
	if exists(full) {
		return name, ""
	}
	for i := 0; i < len(name); i++ {
		if name[i] == ':' && i > 0 && !strings.Contains(name[:i], ":") {
			return name[:i], name[i+1:]
		}
	}
	return name, ""
}

func newPin(data imagePin, content string, file *v1.ConfigFile) builder.Pin {
	config, err := json.Marshal(data)
	if err != nil {
		panic(err) // plain data
	}
	values := map[string]string{}
	if file != nil {
		if !file.Created.IsZero() {
			values["created"] = file.Created.UTC().Format(time.RFC3339)
		}
		values["os"], values["arch"] = file.OS, file.Architecture
	}
	return builder.Pin{Digest: builder.Digest(content), Config: config, Values: values}
}

// Open makes a machine from exactly the image that Pin found.
func (s *Image) Open(ctx context.Context, sc *builder.Scope, from builder.Opening) (builder.Machine, error) {
	var pin imagePin
	if err := json.Unmarshal(from.Pin.Config, &pin); err != nil {
		return builder.Machine{}, fmt.Errorf("the plan's image: %w", err)
	}
	ref := ""
	if pin.From == "registry" {
		ref = pin.Name
	}
	base := func(ctx context.Context) (v1.Image, error) { return s.content(ctx, pin, from.Platform) }
	return s.open(ctx, sc, from, base, ref)
}

// content opens the pinned image and makes sure that it is that one still.
func (s *Image) content(ctx context.Context, pin imagePin, p builder.Platform) (v1.Image, error) {
	switch pin.From {
	case "registry":
		ref, err := registry.ParseReference(pin.Name, s.Insecure)
		if err != nil {
			return nil, err
		}
		mirrors, err := s.mirrors(ctx, ref)
		if err != nil {
			return nil, err
		}
		return s.deps.Registry.Image(ctx, ref, pin.Found, mirrors)
	case "docker":
		img, id, err := s.local(ctx, pin.Found.ID)
		if err == nil && id != pin.Found.ID {
			err = fmt.Errorf("the Docker engine has %s for %s", id, pin.Found.ID)
		}
		return img, err
	}
	found, err := imagefile.Open(ctx, imagefile.Source{Path: pin.Path, Tag: pin.Tag, Platform: p})
	if err != nil {
		return nil, err
	}
	if found.Digest != pin.Found.Digest {
		return nil, fmt.Errorf("%s has changed since the plan was made: it holds %s, not %s", pin.Path, found.Digest, pin.Found.Digest)
	}
	return found.Image, nil
}
