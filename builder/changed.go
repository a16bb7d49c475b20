package builder

// Changed names the first thing in which now, a template compiled and pinned
// anew, differs from then, the plan a run began with; empty if it is the same
// work. Keys tell: they cover what a step does and the files it reads.
func Changed(then, now *Plan) string {
	if len(then.Builds) != len(now.Builds) {
		return "the list of builds"
	}
	for i, b := range then.Builds {
		c := now.Builds[i]
		if b.Name != c.Name || len(b.Steps) != len(c.Steps) {
			return "build " + c.Name
		}
		for n, s := range b.Steps {
			if o := c.Steps[n]; s.ID != o.ID || s.Key != o.Key {
				return "step " + string(o.ID) + " (" + o.Name + ") or a file it reads"
			}
		}
	}
	return ""
}

// PinAs takes what the sources of then were pinned to, so that Pin looks
// nothing up again.
func (p *Plan) PinAs(then *Plan) {
	p.Created, p.Annotations = then.Created, then.Annotations
	for i, b := range p.Builds {
		if old, ok := then.Build(b.Name); ok {
			p.Builds[i].Pin, p.Builds[i].Given = old.Pin, old.Given
		}
	}
}
