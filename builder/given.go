package builder

import "slices"

// Give turns the plan into one that makes nothing: the artifact of every build
// is given, and only the outputs that want accepts are left. Builds without
// such an output are dropped. It must be called before the plan is pinned.
func (p *Plan) Give(given Artifact, want func(Step) bool) {
	_ = p.GiveEach(want, func(Build) (Artifact, Pin, error) { return given, Pin{}, nil }) // it never fails
}

// GiveEach is Give with an artifact for each build that is left, and what
// `source.*` means to its outputs.
func (p *Plan) GiveEach(want func(Step) bool, given func(Build) (Artifact, Pin, error)) error {
	for i := range p.Builds {
		b := &p.Builds[i]
		b.Needs, b.Base = nil, ""
		b.Steps = slices.DeleteFunc(slices.Clone(b.Steps), func(s Step) bool { return s.Phase != Publish || !want(s) })
	}
	p.Builds = slices.DeleteFunc(p.Builds, func(b Build) bool { return len(b.Steps) == 0 })
	for i := range p.Builds {
		a, pin, err := given(p.Builds[i])
		if err != nil {
			return err
		}
		p.Builds[i].Given, p.Builds[i].Pin = &a, pin
	}
	return nil
}

// makes reports whether the build starts from a source, rather than from
// other builds' artifacts or from one that is given.
func (b Build) makes() bool { return len(b.Steps) > 0 && b.Steps[0].Phase == Open }
