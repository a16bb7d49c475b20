package ecr

import (
	"context"
	"slices"
	"strings"
	"time"

	"bake/internal/sandbox/api"
)

// replicationTakes is how long an image takes to another region.
const replicationTakes = 30 * time.Second

type destination struct {
	Region   string `json:"region"`
	Registry string `json:"registryId"`
}

type replicationRule struct {
	Destinations []destination `json:"destinations"`
	Filters      []nameFilter  `json:"repositoryFilters,omitempty"`
}

type replication struct {
	Rules []replicationRule `json:"rules"`
}

// A copying is an image on its way to another registry.
type copying struct {
	Repository string      `json:"repository"`
	Digest     string      `json:"digest"`
	Label      string      `json:"label,omitempty"`
	To         destination `json:"to"`
	Due        time.Time   `json:"due"`
	Done       bool        `json:"done"`
	Failed     string      `json:"failed,omitempty"`
}

type replicationIO struct {
	Config *replication `json:"replicationConfiguration"`
}

func (t *T) putReplicationConfiguration(_ context.Context, c *api.Call, in *replicationIO) (*replicationIO, error) {
	if in.Config == nil {
		return nil, invalid("Invalid parameter at 'replicationConfiguration' failed to satisfy constraint: 'Member must not be null'")
	}
	if len(in.Config.Rules) > 10 {
		return nil, invalid("Invalid parameter at 'rules' failed to satisfy constraint: 'Member must have length less than or equal to 10'")
	}
	for _, rule := range in.Config.Rules {
		for _, d := range rule.Destinations {
			if d.Region == c.Region && d.Registry == c.Account {
				return nil, api.Errorf("ValidationException", "Destination registry and region must be different from the source.")
			}
			if len(t.world.Regions) > 0 && !slices.Contains(t.world.Regions, d.Region) {
				return nil, invalid("Invalid parameter at 'region' failed to satisfy constraint: '%s is not a region'", d.Region)
			}
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	r, err := t.of(c.Account, c.Region)
	if err != nil {
		return nil, err
	}
	r.Replication = in.Config
	return in, nil
}

type registryOut struct {
	Registry    string       `json:"registryId"`
	Replication *replication `json:"replicationConfiguration"`
}

func (t *T) describeRegistry(_ context.Context, c *api.Call, _ *struct{}) (*registryOut, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r, err := t.of(c.Account, c.Region)
	if err != nil {
		return nil, err
	}
	out := &registryOut{r.Account, &replication{}}
	if r.Replication != nil {
		out.Replication = r.Replication
	}
	return out, nil
}

// replicate sends what was pushed where the rules say. What arrived by
// replication is not sent on.
func (t *T) replicate(r *registry, p *repository, m *manifest, label string) {
	if r.Replication == nil {
		return
	}
	for _, rule := range r.Replication.Rules {
		fits := len(rule.Filters) == 0 || slices.ContainsFunc(rule.Filters, func(f nameFilter) bool { return strings.HasPrefix(p.Name, f.Filter) })
		for _, d := range rule.Destinations {
			if fits {
				r.Pending = append(r.Pending, &copying{Repository: p.Name, Digest: m.Digest, Label: label, To: d, Due: t.now().Add(t.world.Takes(replicationTakes))})
			}
		}
	}
	t.settle(r)
}

// settle does what is due: replication, and what lifecycle policies remove.
func (t *T) settle(r *registry) {
	for _, c := range r.Pending {
		if !c.Done && !t.now().Before(c.Due) {
			c.Done = true
			if err := t.copy(r, c); err != nil {
				c.Failed = err.Error()
			}
		}
	}
	for _, p := range r.Repositories {
		if p.Lifecycle != "" && !t.now().Before(p.Evaluated.Add(t.world.Takes(24*time.Hour))) {
			p.Evaluated = t.now()
			t.expire(p)
		}
	}
}

// copy makes an image of one registry appear in another.
func (t *T) copy(from *registry, c *copying) error {
	source := from.Repositories[c.Repository]
	if source == nil || source.Images[c.Digest] == nil {
		return nil // it is gone
	}
	to := t.registries[c.To.Registry+"/"+c.To.Region]
	if to == nil {
		var err error
		if to, err = t.of(c.To.Registry, c.To.Region); err != nil {
			return err
		}
	}
	target := to.Repositories[c.Repository]
	if target == nil {
		target = t.add(to, c.Repository)
		to.apply(target, "REPLICATION")
	}
	var take func(digest string)
	take = func(digest string) {
		m := *source.Images[digest]
		for _, child := range m.Children {
			take(child)
		}
		for _, l := range m.Layers {
			target.Blobs[l] = source.Blobs[l]
		}
		m.Pushed, m.Pulled, m.Scanned = t.now(), time.Time{}, time.Time{}
		if target.Images[digest] == nil {
			target.Images[digest] = &m
			t.scanPushed(to, target, &m)
		}
	}
	take(c.Digest)
	if c.Label != "" {
		target.Labels[c.Label] = c.Digest
	}
	return nil
}

type replicationStatus struct {
	Region   string `json:"region"`
	Registry string `json:"registryId"`
	Status   string `json:"status"`
	Code     string `json:"failureCode,omitempty"`
}

type replicationStatusOut struct {
	Name     string              `json:"repositoryName"`
	ID       imageID             `json:"imageId"`
	Statuses []replicationStatus `json:"replicationStatuses"`
}

func (t *T) describeImageReplicationStatus(_ context.Context, c *api.Call, in *scanIn) (*replicationStatusOut, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r, p, err := t.find(c, in.Registry, in.Name)
	if err != nil {
		return nil, err
	}
	m, err := r.image(p, in.ID)
	if err != nil {
		return nil, err
	}
	out := &replicationStatusOut{Name: p.Name, ID: imageID{m.Digest, in.ID.Tag}}
	last := map[destination]string{}
	var order []destination
	for _, k := range r.Pending {
		if k.Repository != p.Name || k.Digest != m.Digest {
			continue
		}
		if _, ok := last[k.To]; !ok {
			order = append(order, k.To)
		}
		switch {
		case k.Failed != "":
			last[k.To] = "FAILED"
		case k.Done:
			last[k.To] = "COMPLETE"
		default:
			last[k.To] = "IN_PROGRESS"
		}
	}
	for _, d := range order {
		s := replicationStatus{Region: d.Region, Registry: d.Registry, Status: last[d]}
		if s.Status == "FAILED" {
			s.Code = "InternalError"
		}
		out.Statuses = append(out.Statuses, s)
	}
	return out, nil
}
