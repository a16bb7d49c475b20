package elb

import "slices"

// TargetType returns a group's target type, "ip" or "instance", and whether a
// listener forwards to it; ok is false if there is none.
func (t *T) TargetType(groupARN string) (kind string, attached, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := t.placeOf(groupARN)
	g := r.Groups[groupARN]
	if g == nil {
		return "", false, false
	}
	return g.TargetType, len(r.balancersOf(groupARN)) > 0, true
}

// Register adds a target to a group, as RegisterTargets does.
func (t *T) Register(groupARN, id string, port int32) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := t.placeOf(groupARN)
	g, err := r.group(groupARN)
	if err == nil {
		t.register(r, g, id, port)
	}
	return err
}

// Deregister lets a target drain, as DeregisterTargets does.
func (t *T) Deregister(groupARN, id string, port int32) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	g, err := t.placeOf(groupARN).group(groupARN)
	if err != nil {
		return err
	}
	if i := g.index(id, port); i >= 0 {
		t.deregister(g, g.Targets[i])
	}
	return nil
}

// Health is a target's state with AWS's reason, as DescribeTargetHealth tells
// it; "" if it is not registered.
func (t *T) Health(groupARN, id string, port int32) (state, reason, description string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	g := t.placeOf(groupARN).Groups[groupARN]
	if g == nil {
		return "", "", ""
	}
	t.sweep(g)
	if i := g.index(id, port); i >= 0 {
		m := g.Targets[i]
		return m.State, m.Reason, m.Description
	}
	return "", "", ""
}

// Shift lets a rule, or a listener's default, send percent of its requests to a
// group and the others to other.
func (t *T) Shift(ruleARN, groupARN, otherARN string, percent int) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := t.placeOf(ruleARN)
	u := r.rule(ruleARN)
	if l := r.Listeners[ruleARN]; l != nil {
		u = r.rule(l.DefaultRule)
	}
	if u == nil {
		return noRule(ruleARN)
	}
	next := actions{{Type: "forward", Forward: &forward{Groups: []weighted{
		{ARN: groupARN, Weight: new(int32(percent))}, {ARN: otherARN, Weight: new(int32(100 - percent))}}}}}
	next.fill()
	if err := r.check(next); err != nil {
		return err
	}
	// What comes before the forwarding stays.
	keep := slices.DeleteFunc(slices.Clone(u.Actions), func(a action) bool { return a.Type == "forward" })
	next = append(keep, next...)
	if stored := r.Rules[ruleARN]; stored != nil {
		stored.Actions = next
	} else {
		r.Listeners[u.Listener].Default = next
	}
	return nil
}
