package ec2

import "slices"

// KeysOf returns the ARNs of the KMS keys that a volume, a snapshot, or the
// snapshots of an image are encrypted with, of whatever account. AWS's own key
// is left out: who may use EBS may use it.
func (x *Control) KeysOf(region, id string) []string {
	x.mu.Lock()
	defer x.mu.Unlock()
	r := x.state.Regions[region]
	if r == nil {
		return nil
	}
	var all []string
	add := func(s seal) {
		if s.Encrypted && !s.Managed && !slices.Contains(all, s.Key) {
			all = append(all, s.Key)
		}
	}
	if v := r.Volumes[id]; v != nil {
		add(v.Seal)
	}
	if s := r.Snapshots[id]; s != nil {
		add(s.Seal)
	}
	if m := r.Images[id]; m != nil {
		for _, d := range m.Devices {
			if d.Ebs != nil && r.Snapshots[d.Ebs.Snapshot] != nil {
				add(r.Snapshots[d.Ebs.Snapshot].Seal)
			}
		}
	}
	return all
}

// SnapshotsOf returns the ids of an image's snapshots.
func (x *Control) SnapshotsOf(region, id string) []string {
	x.mu.Lock()
	defer x.mu.Unlock()
	r := x.state.Regions[region]
	if r == nil || r.Images[id] == nil {
		return nil
	}
	var all []string
	for _, d := range r.Images[id].Devices {
		if d.Ebs != nil && d.Ebs.Snapshot != "" {
			all = append(all, d.Ebs.Snapshot)
		}
	}
	return all
}
