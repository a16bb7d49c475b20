package ec2

import (
	"slices"
)

// A Doom is something that AWS takes an order for and that ends by itself: an
// image or a snapshot that fails, an instance that is terminated while it is pending.
type Doom struct {
	Kind   string `json:"kind"` // "image", "snapshot", "instance"
	Pool          // of an instance: which
	Region string `json:"region,omitempty"` // empty: any
	// Code and Message are the state reason: "Client.InternalError"; a snapshot has a message alone.
	Code    string `json:"code,omitempty"`
	Message string `json:"message,omitempty"`
	Times   int    `json:"times,omitempty"` // how many; 0: one, -1: all
}

// doomed returns the reason why the next thing of a kind will come to nothing.
func (o *op) doomed(kind string, fits func(Doom) bool) (reason stateReason, is bool) {
	all := o.state.Knobs.Doomed
	n := slices.IndexFunc(all, func(d Doom) bool {
		return d.Kind == kind && (d.Region == "" || d.Region == o.r.Name) && (fits == nil || fits(d))
	})
	if n < 0 {
		return stateReason{}, false
	}
	d := all[n]
	switch {
	case d.Times > 1:
		all[n].Times--
	case d.Times >= 0:
		o.state.Knobs.Doomed = slices.Delete(slices.Clone(all), n, n+1)
	}
	return stateReason{d.Code, d.Message}, true
}

// stuck reports whether nothing of the kind becomes ready.
func (x *Control) stuck(kind string) bool { return slices.Contains(x.state.Knobs.Stuck, kind) }
