package builder

import (
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"bake/templates"
)

// Compile makes a plan of a template: input files there, needs in order, each
// output fit for what its build makes. It works offline and needs no
// credentials. The plan is not pinned yet. A template that Parse has found
// fault with may be compiled too, for what else is wrong with it; its plan
// must not be run.
func Compile(t *templates.Template, cat Catalog) (*Plan, templates.Diagnostics) {
	c := &compiler{cat: cat, t: t, kinds: map[string]ArtifactKind{}, platforms: map[string][]Platform{}}
	p := &Plan{Template: t.File, Dir: t.Dir, Name: t.Name}
	for _, b := range c.sorted() {
		p.Builds = append(p.Builds, c.build(b)...)
	}
	return p, c.diags.Sort()
}

type compiler struct {
	cat       Catalog
	t         *templates.Template
	diags     templates.Diagnostics
	kinds     map[string]ArtifactKind // of the builds compiled so far
	platforms map[string][]Platform
}

func (c *compiler) report(d *templates.Diagnostic, hint string) {
	if d.Hint == "" {
		d.Hint = hint
	}
	c.diags = append(c.diags, d)
}

// sorted puts builds after the builds they need, otherwise in file order.
// Parse has refused cycles and unknown names.
func (c *compiler) sorted() []templates.Build {
	var order []templates.Build
	seen := map[string]bool{}
	var visit func(b templates.Build)
	visit = func(b templates.Build) {
		if seen[b.Name] {
			return
		}
		seen[b.Name] = true
		for _, need := range b.Needs {
			if i := slices.IndexFunc(c.t.Builds, func(o templates.Build) bool { return o.Name == need }); i >= 0 {
				visit(c.t.Builds[i])
			}
		}
		order = append(order, b)
	}
	for _, b := range c.t.Builds {
		visit(b)
	}
	return order
}

// build compiles one build of the template: one build of the plan for each
// platform, and one that joins them if there are several.
func (c *compiler) build(b templates.Build) []Build {
	base := c.base(b)
	platforms := c.wanted(b, base)
	c.platforms[b.Name] = platforms
	c.kinds[b.Name] = c.makes(b, base)
	if c.kinds[b.Name] != ImageArtifact && len(b.Platforms) > 0 {
		c.report(b.Source.Body.Errorf("platforms does not apply to %s", c.kinds[b.Name].words()), "its platform is that of what it starts from")
	}
	open := c.source(b)
	steps, tests := c.provisioners(b, "steps", b.Steps), c.provisioners(b, "tests", b.Tests)
	outputs := c.outputs(b)
	if !b.Config.IsZero() && c.kinds[b.Name] != ImageArtifact {
		c.report(b.Config.Errorf("config does not apply to %s", c.kinds[b.Name].words()), "it sets the entrypoint, ports and labels of container images")
	}
	if len(platforms) == 1 {
		one := c.making(b, b.Name, base, platforms[0], open, steps, tests)
		one.Steps = append(one.Steps, numbered(b.Name, Publish, outputs)...)
		return []Build{one}
	}
	join := Build{Name: b.Name, Pos: b.Pos}
	var all []Build
	for _, p := range platforms {
		name := platformBuild(b.Name, p)
		join.Needs = append(join.Needs, name)
		from := base
		if len(c.platforms[base]) > 1 {
			from = platformBuild(base, p)
		}
		all = append(all, c.making(b, name, from, p, open, steps, tests))
	}
	join.Steps = append(join.Steps,
		Step{ID: stepID(b.Name, Join), Phase: Join, Name: "join platforms", Pos: b.Pos},
		Step{ID: stepID(b.Name, Accept), Phase: Accept, Name: "accept", Pos: b.Pos})
	join.Steps = append(join.Steps, numbered(b.Name, Publish, outputs)...)
	return append(all, join)
}

// platformBuild names the part of a build that is for one platform.
func platformBuild(name string, p Platform) string {
	return name + "@" + strings.ReplaceAll(p.String(), "/", "-")
}

func stepID(build string, phase Phase) StepID { return StepID(build + "/" + string(phase)) }

func (c *compiler) making(b templates.Build, name, base string, p Platform, open Step, steps, tests []Step) Build {
	out := Build{Name: name, Platform: p, Base: base, Squash: b.Squash, Pos: b.Pos}
	for _, need := range b.Needs {
		if need == c.base(b) {
			need = base
		}
		out.Needs = append(out.Needs, need)
	}
	open.ID = stepID(name, Open)
	freeze := Step{ID: stepID(name, Freeze), Phase: Freeze, Name: "make the " + c.artifactWord(b.Name), Pos: b.Pos}
	if !b.Config.IsZero() {
		freeze.Config, freeze.Pos = b.Config.JSON(), b.Config.Pos()
	}
	out.Steps = append(append([]Step{open}, numbered(name, Provision, steps)...), freeze)
	if len(tests) > 0 {
		out.Steps = append(out.Steps, Step{ID: stepID(name, TestOpen), Phase: TestOpen, Name: "start a fresh machine from it", Pos: b.Pos})
		out.Steps = append(out.Steps, numbered(name, Test, tests)...)
	}
	out.Steps = append(out.Steps, Step{ID: stepID(name, Accept), Phase: Accept, Name: "accept", Pos: b.Pos})
	return out
}

func (c *compiler) artifactWord(build string) string {
	switch c.kinds[build] {
	case AMIArtifact:
		return "AMI"
	case HostArtifact:
		return "host"
	}
	return "image"
}

// numbered copies the steps with ids of their own: builds for several
// platforms share what they were compiled from.
func numbered(build string, phase Phase, steps []Step) []Step {
	out := slices.Clone(steps)
	for i := range out {
		out[i].Phase = phase
		out[i].ID = stepID(build, phase) + StepID("/"+strconv.Itoa(i+1))
	}
	return out
}

// buildKind is the source that starts from another build of the template.
const buildKind = "build"

// base is the build that the source names; empty if it is of another kind.
func (c *compiler) base(b templates.Build) string {
	if b.Source.Kind != buildKind {
		return ""
	}
	return gist(b.Source.Body)
}

// wanted returns the platforms to build for: what the build says, else what
// its base is built for, else this machine's.
func (c *compiler) wanted(b templates.Build, base string) []Platform {
	if len(b.Platforms) == 0 {
		if inherited := c.platforms[base]; len(inherited) > 0 {
			return inherited
		}
		return []Platform{{OS: "linux", Arch: runtime.GOARCH}}
	}
	var all []Platform
	for _, s := range b.Platforms {
		p, err := ParsePlatform(s)
		at := b.Source.Body
		switch {
		case err != nil:
			c.report(at.Errorf("%v", err), "")
		case slices.Contains(all, p):
			c.report(at.Errorf("platform %s is listed twice", p), "")
		case base != "" && !slices.Contains(c.platforms[base], p):
			c.report(at.Errorf("build %q is not built for %s", base, p), fmt.Sprintf("add it to the platforms of %q", base))
		default:
			all = append(all, p)
		}
	}
	if len(all) == 0 {
		all = []Platform{{OS: "linux", Arch: runtime.GOARCH}}
	}
	return all
}

func (c *compiler) makes(b templates.Build, base string) ArtifactKind {
	if kind, ok := c.kinds[base]; ok {
		return kind
	}
	if make, ok := c.cat.Sources[b.Source.Kind]; ok {
		if m, ok := make().(Maker); ok {
			return m.Makes()
		}
	}
	return ImageArtifact
}

func (c *compiler) source(b templates.Build) Step {
	v := check(c, c.cat.Sources, b.Source)
	name := b.Source.Kind
	if s, ok := v.(fmt.Stringer); ok {
		name = s.String()
	} else if text := gist(b.Source.Body); text != "" {
		name += " " + text
	}
	return Step{Phase: Open, Kind: b.Source.Kind, Name: name, Config: b.Source.Body.JSON(), Pos: b.Source.Pos}
}

func (c *compiler) provisioners(b templates.Build, where string, steps []templates.Step) []Step {
	var out []Step
	for _, s := range steps {
		v := check(c, c.cat.Provisioners, s.Kind)
		files, _ := v.(FilesOnly)
		out = append(out, Step{
			FilesOnly: files != nil && files.FilesOnly(),
			Kind:      s.Kind.Kind, Name: label(s.Kind), Config: s.Body.JSON(), Pos: s.Pos, If: s.If,
			Env: s.Env, User: s.User, Workdir: s.Workdir, Timeout: s.Timeout,
			Retries: s.Retries, RetryDelay: s.RetryDelay, Continue: s.Continue, Cache: s.Cache,
		})
	}
	return out
}

func (c *compiler) outputs(b templates.Build) []Step {
	var out []Step
	for _, o := range b.Outputs {
		v := check(c, c.cat.Outputs, o)
		if any(v) == nil {
			continue
		}
		if kind := c.kinds[b.Name]; !v.Accepts(kind) {
			c.report(o.Body.Errorf("output %q does not take what this build makes, %s", o.Kind, kind.words()), "")
			c.diags[len(c.diags)-1].Pos = o.Pos
		}
		_, last := v.(Final)
		out = append(out, Step{Kind: o.Kind, Name: label(o), Config: o.Body.JSON(), Pos: o.Pos, If: o.If, Last: last})
	}
	return out
}

func (k ArtifactKind) words() string {
	switch k {
	case AMIArtifact:
		return "an AMI"
	case HostArtifact:
		return "a machine as the steps left it"
	}
	return "a container image"
}

// check decodes the block of a kind and asks it what it can tell offline. It
// returns the zero value if the kind is unknown; Parse has told that.
func check[T any](c *compiler, kinds map[string]func() T, k templates.Kind) T {
	if _, ok := kinds[k.Kind]; !ok {
		var none T
		return none
	}
	v, diags := decode(kinds, k.Kind, k.Body)
	if checker, ok := any(v).(Checker); ok && len(diags) == 0 {
		diags = checker.Check(c.t.Dir, k.Body)
	}
	c.diags = append(c.diags, diags...)
	return v
}

// label is what a step is called: the name the user gave it, or its kind and
// the first line of what it does.
func label(k templates.Kind) string {
	if k.Name != "" {
		return k.Name
	}
	text, _, more := strings.Cut(strings.TrimSpace(gist(k.Body)), "\n")
	const most = 60
	if r := []rune(text); len(r) > most {
		text, more = string(r[:most]), true
	}
	if more {
		text += " …"
	}
	return strings.TrimSpace(k.Kind + " " + text)
}

// gist is what says most of a block in one word or line: its text, its first
// element, the value of its first key.
func gist(b templates.Block) string {
	for {
		switch {
		case b.IsList() && b.Len() > 0:
			b = b.At("0")
		case b.IsMapping() && b.Len() > 0:
			b = b.At(b.Keys()[0])
		default:
			text, _ := b.Text()
			return text
		}
	}
}
