package builder

import "slices"

// Give turns the plan into one that makes nothing: the artifact of every build
// is given, and only the outputs that want accepts are left. Builds without
// such an output are dropped. It must be called before the plan is pinned.
func (p *Plan) Give(given Artifact, want func(Step) bool) {
	for i := range p.Builds {
		b := &p.Builds[i]
		b.Given, b.Needs, b.Base = &given, nil, ""
		b.Steps = slices.DeleteFunc(slices.Clone(b.Steps), func(s Step) bool { return s.Phase != Publish || !want(s) })
	}
	p.Builds = slices.DeleteFunc(p.Builds, func(b Build) bool { return len(b.Steps) == 0 })
}

// makes reports whether the build starts from a source, rather than from
// other builds' artifacts or from one that is given.
func (b Build) makes() bool { return len(b.Steps) > 0 && b.Steps[0].Phase == Open }
