package container

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"bake/builder"
	"bake/templates"
)

// Packages starts from a Debian or Ubuntu system that is bootstrapped out of
// its packages with mmdebstrap, or debootstrap where that is missing.
// The system is made again when its archive has changed.
type Packages struct {
	Release      string   `yaml:"release" bake:"main,required" pattern:"^[a-z0-9][a-z0-9.-]*$" doc:"Release to install, like bookworm or noble."`
	Distribution string   `yaml:"distribution" enum:"debian|ubuntu" default:"debian" doc:"Whose packages they are."`
	Mirror       string   `yaml:"mirror" pattern:"^(https?|file)://" doc:"Archive the packages come from; the distribution's own if not given."`
	Security     string   `yaml:"security" pattern:"^(https?|file)://" doc:"Archive of security updates; the distribution's own unless mirror is given."`
	Include      []string `yaml:"include" doc:"Packages to install beside those of the variant."`
	Variant      string   `yaml:"variant" enum:"minbase|essential|apt|standard|buildd" default:"minbase" doc:"How much is installed: essential packages only, apt with them, minbase with required ones, buildd for compiling, standard for a full system."`
	Components   []string `yaml:"components" doc:"Parts of the archive, main if not given."`
	Keyring      string   `yaml:"keyring" doc:"File with the keys that sign the archive; those of this machine's apt if not given."`
	delegate
}

// packagesPin is what Open needs to make the same system.
type packagesPin struct {
	Distribution string           `json:"distribution"`
	Release      string           `json:"release"`
	Suites       []suite          `json:"suites"`
	Include      []string         `json:"include,omitempty"`
	Variant      string           `json:"variant"`
	Keyring      string           `json:"keyring,omitempty"`
	Arch         string           `json:"arch"` // in Debian's words
	Date         time.Time        `json:"date"` // the newest of the suites: the time of all files that are made
	Platform     builder.Platform `json:"platform"`
}

// A suite is one line of sources.list and what it held when the plan was made.
type suite struct {
	Mirror     string   `json:"mirror"`
	Name       string   `json:"name"`
	Components []string `json:"components"`
	InRelease  string   `json:"in_release"` // sha256 of that file
}

// Validate refuses names that would be read as options.
func (s *Packages) Validate(b templates.Block) templates.Diagnostics {
	var out templates.Diagnostics
	for i, name := range s.Include {
		if strings.HasPrefix(name, "-") || strings.ContainsAny(name, " ,\n") {
			out = append(out, b.At("include", fmt.Sprint(i)).Errorf("%q is not a package's name", name))
		}
	}
	return out
}

// debianArch is what Debian calls a platform.
func debianArch(p builder.Platform) (string, error) {
	names := map[string]string{
		"amd64": "amd64", "arm64": "arm64", "386": "i386", "ppc64le": "ppc64el",
		"s390x": "s390x", "riscv64": "riscv64", "mips64le": "mips64el", "arm": "armhf",
	}
	if p.Arch == "arm" && (p.Variant == "v5" || p.Variant == "v6") {
		return "armel", nil
	}
	if name, ok := names[p.Arch]; ok && p.OS == "linux" {
		return name, nil
	}
	return "", fmt.Errorf("there are no Debian packages for %s", p)
}

// suites lists the archives a release is made of.
func (s *Packages) suites(arch string) []suite {
	components := s.Components
	if len(components) == 0 {
		components = []string{"main"}
	}
	main, security := s.Mirror, s.Security
	if main == "" {
		main = defaultMirror(s.Distribution, arch)
		if security == "" {
			security = defaultSecurity(s.Distribution, arch)
		}
	}
	out := []suite{{Mirror: main, Name: s.Release, Components: components}}
	if slices.Contains([]string{"sid", "unstable", "experimental", "testing"}, s.Release) {
		return out
	}
	if s.Mirror == "" {
		out = append(out, suite{Mirror: main, Name: s.Release + "-updates", Components: components})
	}
	if security != "" {
		out = append(out, suite{Mirror: security, Name: s.Release + "-security", Components: components})
	}
	return out
}

func defaultMirror(distribution, arch string) string {
	switch {
	case distribution == "debian":
		return "http://deb.debian.org/debian"
	case arch == "amd64" || arch == "i386":
		return "http://archive.ubuntu.com/ubuntu"
	}
	return "http://ports.ubuntu.com/ubuntu-ports"
}

func defaultSecurity(distribution, arch string) string {
	switch {
	case distribution == "debian":
		return "http://deb.debian.org/debian-security"
	case arch == "amd64" || arch == "i386":
		return "http://security.ubuntu.com/ubuntu"
	}
	return "http://ports.ubuntu.com/ubuntu-ports"
}

// Pin asks the archives what they hold now. If they do not answer, what they
// held the last time stands.
func (s *Packages) Pin(ctx context.Context, env builder.PinEnv) (builder.Pin, error) {
	arch, err := debianArch(env.Platform)
	if err != nil {
		return builder.Pin{}, err
	}
	data := packagesPin{
		Distribution: s.Distribution, Release: s.Release, Suites: s.suites(arch), Include: s.Include,
		Variant: s.Variant, Arch: arch, Platform: env.Platform,
	}
	if s.Keyring != "" {
		data.Keyring = s.Keyring
		if !filepath.IsAbs(data.Keyring) {
			data.Keyring = filepath.Join(env.Dir, data.Keyring)
		}
		if _, err := os.Stat(data.Keyring); err != nil {
			return builder.Pin{}, fmt.Errorf("keyring: %w", err)
		}
	}
	key := string(digestOf("packages", data)) // of what is asked for, not of what there is
	offline := ""
	if err := data.look(ctx); err != nil {
		if ctx.Err() != nil || !s.deps.memory().recall(key, &data) {
			return builder.Pin{}, err
		}
		offline = ", as it was at the last look: " + err.Error()
	} else {
		s.deps.memory().remember(key, data)
	}
	return data.pin(offline)
}

// look fills in what the suites hold now.
func (p *packagesPin) look(ctx context.Context) error {
	files, err := inRelease(ctx, p.Suites)
	if err != nil {
		return err
	}
	for i, f := range files {
		p.Suites[i].InRelease = f.sum
		if f.date.After(p.Date) {
			p.Date = f.date
		}
	}
	return nil
}

func (p *packagesPin) pin(note string) (builder.Pin, error) {
	config, err := json.Marshal(p)
	digest := digestOf("packages.v1", p)
	name := p.Distribution + " " + p.Release
	return builder.Pin{
		Digest: digest, Config: config,
		Values: map[string]string{
			"name": name, "release": p.Release, "distribution": p.Distribution,
			"created": p.Date.UTC().Format(time.RFC3339), "ref": name + "@" + string(digest),
		},
		Summary: fmt.Sprintf("packages of %s of %s%s", name, p.Date.UTC().Format(time.DateTime), note),
	}, err
}

// Open makes a machine with the bootstrapped system.
func (s *Packages) Open(ctx context.Context, sc *builder.Scope, from builder.Opening) (builder.Machine, error) {
	var pin packagesPin
	if err := json.Unmarshal(from.Pin.Config, &pin); err != nil {
		return builder.Machine{}, fmt.Errorf("the plan's packages: %w", err)
	}
	base := func(ctx context.Context) (v1.Image, error) { return s.system(ctx, sc, pin, from.Pin.Digest) }
	return s.open(ctx, sc, from, base, "")
}

// A bootstrapped system as the cache describes it.
type bootstrapped struct {
	DiffID v1.Hash `json:"diff_id"`
	Size   int64   `json:"size"`
}

// system returns the image of a bootstrapped system; it is made once for a pin.
func (s *Packages) system(ctx context.Context, sc *builder.Scope, pin packagesPin, digest builder.Digest) (v1.Image, error) {
	dir := sc.WorkDir
	if s.deps.CacheDir != "" {
		dir = filepath.Join(s.deps.CacheDir, "systems")
	}
	if dir == "" {
		return nil, errors.New("there is no directory to bootstrap into")
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	path := filepath.Join(dir, strings.TrimPrefix(string(digest), "sha256:")+".tar")
	var made bootstrapped
	key := "system " + string(digest)
	info, err := os.Stat(path)
	if err != nil || !s.deps.memory().recall(key, &made) || made.Size != info.Size() {
		if made, err = bootstrap(ctx, sc, pin, path); err != nil {
			return nil, fmt.Errorf("bootstrapping %s %s: %w", pin.Distribution, pin.Release, err)
		}
		s.deps.memory().remember(key, made)
	}
	return newImage(pin.Platform, &tarLayer{ctx: ctx, path: path, diffID: made.DiffID})
}
