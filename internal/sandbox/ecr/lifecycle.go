package ecr

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"bake/internal/sandbox/api"
	"bake/internal/sandbox/policy"
)

type lifecyclePolicy struct {
	Rules []lifecycleRule `json:"rules"`
}

type lifecycleRule struct {
	Priority    int                `json:"rulePriority"`
	Description string             `json:"description"`
	Selection   lifecycleSelection `json:"selection"`
	Action      struct {
		Type   string `json:"type"`
		Target string `json:"targetStorageClass"`
	} `json:"action"`
}

type lifecycleSelection struct {
	Status   string   `json:"tagStatus"` // tagged, untagged, any
	Prefixes []string `json:"tagPrefixList"`
	Patterns []string `json:"tagPatternList"`
	Storage  string   `json:"storageClass"`
	Count    string   `json:"countType"` // imageCountMoreThan, sinceImagePushed, ...
	Unit     string   `json:"countUnit"`
	Number   int      `json:"countNumber"`
}

// readLifecycle checks a policy as PutLifecyclePolicy does.
func readLifecycle(text string) (*lifecyclePolicy, error) {
	bad := func(why string) error {
		return invalid("Invalid parameter at 'LifecyclePolicyText' failed to satisfy constraint: 'Lifecycle policy validation failure: %s'", why)
	}
	if len(text) < 100 || len(text) > 30720 {
		return nil, invalid("Invalid parameter at 'LifecyclePolicyText' failed to satisfy constraint: 'Member must have length between 100 and 30720'")
	}
	d := json.NewDecoder(strings.NewReader(text))
	d.DisallowUnknownFields()
	var p lifecyclePolicy
	if err := d.Decode(&p); err != nil {
		return nil, bad("string [" + text[:40] + "...] is invalid: " + err.Error())
	}
	seen := map[int]bool{}
	for _, r := range p.Rules {
		s := r.Selection
		switch {
		case r.Priority < 1 || seen[r.Priority]:
			return nil, bad("rulePriority must be unique and at least 1")
		case !slices.Contains([]string{"tagged", "untagged", "any"}, s.Status):
			return nil, bad("tagStatus is one of tagged, untagged, any")
		case (s.Status == "tagged") != (len(s.Prefixes)+len(s.Patterns) > 0):
			return nil, bad("tagPrefixList or tagPatternList is required if, and only if, tagStatus is tagged")
		case s.Count != "imageCountMoreThan" && s.Count != "sinceImagePushed" && s.Count != "sinceImagePulled":
			return nil, bad("countType is one of imageCountMoreThan, sinceImagePushed, sinceImagePulled")
		case (s.Count == "imageCountMoreThan") == (s.Unit != ""):
			return nil, bad("countUnit goes with sinceImagePushed")
		case s.Number < 1:
			return nil, bad("countNumber must be at least 1")
		case r.Action.Type != "expire":
			return nil, bad("the action's type is expire")
		}
		seen[r.Priority] = true
	}
	if len(p.Rules) == 0 {
		return nil, bad("there are no rules")
	}
	slices.SortFunc(p.Rules, func(a, b lifecycleRule) int { return cmp.Compare(a.Priority, b.Priority) })
	return &p, nil
}

// selects reports whether a rule is about an image.
func (s lifecycleSelection) selects(labels []string) bool {
	switch s.Status {
	case "any":
		return true
	case "untagged":
		return len(labels) == 0
	}
	all := true
	for _, prefix := range s.Prefixes {
		all = all && slices.ContainsFunc(labels, func(l string) bool { return strings.HasPrefix(l, prefix) })
	}
	for _, pattern := range s.Patterns {
		all = all && slices.ContainsFunc(labels, func(l string) bool { return policy.Match(pattern, l) })
	}
	return all
}

type expiring struct {
	image    *manifest
	priority int
}

// expired are the images that a policy removes. An image belongs to the first
// rule that selects it; what an index holds goes with the index.
func (t *T) expired(p *repository, l *lifecyclePolicy) []expiring {
	var all []*manifest
	for _, m := range p.Images {
		if p.parent(m.Digest) == "" {
			all = append(all, m)
		}
	}
	slices.SortFunc(all, func(a, b *manifest) int {
		return cmp.Or(b.Pushed.Compare(a.Pushed), cmp.Compare(a.Digest, b.Digest))
	})
	claimed := map[string]bool{}
	var out []expiring
	for _, r := range l.Rules {
		n := 0
		for _, m := range all {
			if claimed[m.Digest] || !r.Selection.selects(p.labels(m.Digest)) {
				continue
			}
			claimed[m.Digest] = true
			n++
			age := t.now().Sub(m.Pushed)
			if r.Selection.Count == "sinceImagePulled" && !m.Pulled.IsZero() {
				age = t.now().Sub(m.Pulled)
			}
			more := r.Selection.Count == "imageCountMoreThan" && n > r.Selection.Number
			old := r.Selection.Count != "imageCountMoreThan" && age > time.Duration(r.Selection.Number)*24*time.Hour
			if more || old {
				out = append(out, expiring{m, r.Priority})
			}
		}
	}
	return out
}

// expire removes what the repository's policy says.
func (t *T) expire(p *repository) {
	l, err := readLifecycle(p.Lifecycle)
	if err != nil {
		return // it was checked when it came
	}
	for _, e := range t.expired(p, l) {
		p.drop(e.image)
		for _, child := range e.image.Children {
			if m := p.Images[child]; m != nil && p.parent(child) == "" && len(p.labels(child)) == 0 {
				p.drop(m)
			}
		}
	}
}

type lifecycleIO struct {
	Registry  string    `json:"registryId,omitempty"`
	Name      string    `json:"repositoryName,omitempty"`
	Text      string    `json:"lifecyclePolicyText"`
	Evaluated time.Time `json:"lastEvaluatedAt"`
}

func (t *T) putLifecyclePolicy(_ context.Context, c *api.Call, in *struct {
	nameIn
	Text string `json:"lifecyclePolicyText"`
}) (*lifecycleIO, error) {
	if _, err := readLifecycle(in.Text); err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	r, p, err := t.find(c, in.Registry, in.Name)
	if err != nil {
		return nil, err
	}
	p.Lifecycle, p.Evaluated = in.Text, t.now()
	return &lifecycleIO{Registry: r.Account, Name: p.Name, Text: in.Text}, nil
}

// withLifecycle finds a repository that has a policy.
func (t *T) withLifecycle(c *api.Call, in nameIn) (*registry, *repository, error) {
	r, p, err := t.find(c, in.Registry, in.Name)
	if err == nil && p.Lifecycle == "" {
		err = api.Errorf("LifecyclePolicyNotFoundException", "Lifecycle policy does not exist for the repository with name '%s' in the registry with id '%s'", p.Name, r.Account)
	}
	return r, p, err
}

func (t *T) getLifecyclePolicy(_ context.Context, c *api.Call, in *nameIn) (*lifecycleIO, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r, p, err := t.withLifecycle(c, *in)
	if err != nil {
		return nil, err
	}
	return &lifecycleIO{r.Account, p.Name, p.Lifecycle, p.Evaluated}, nil
}

func (t *T) deleteLifecyclePolicy(_ context.Context, c *api.Call, in *nameIn) (*lifecycleIO, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r, p, err := t.withLifecycle(c, *in)
	if err != nil {
		return nil, err
	}
	out := &lifecycleIO{r.Account, p.Name, p.Lifecycle, p.Evaluated}
	p.Lifecycle = ""
	return out, nil
}

type previewIn struct {
	nameIn
	paging
	Text   string      `json:"lifecyclePolicyText"`
	IDs    []imageID   `json:"imageIds"`
	Filter imageFilter `json:"filter"`
}

type previewResult struct {
	Tags   []string  `json:"imageTags"`
	Digest string    `json:"imageDigest"`
	Pushed time.Time `json:"imagePushedAt"`
	Action struct {
		Type string `json:"type"`
	} `json:"action"`
	Priority int `json:"appliedRulePriority"`
}

type previewOut struct {
	Registry string          `json:"registryId"`
	Name     string          `json:"repositoryName"`
	Text     string          `json:"lifecyclePolicyText"`
	Status   string          `json:"status"`
	Results  []previewResult `json:"previewResults,omitempty"`
	Summary  *struct {
		Total int `json:"expiringImageTotalCount"`
	} `json:"summary,omitempty"`
	Next string `json:"nextToken,omitempty"`
}

func (t *T) startLifecyclePolicyPreview(_ context.Context, c *api.Call, in *previewIn) (*previewOut, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r, p, err := t.find(c, in.Registry, in.Name)
	if err != nil {
		return nil, err
	}
	text := in.Text
	if text == "" {
		if _, _, err := t.withLifecycle(c, in.nameIn); err != nil {
			return nil, err
		}
		text = p.Lifecycle
	}
	if _, err := readLifecycle(text); err != nil {
		return nil, err
	}
	r.Settings["preview/"+p.Name] = text
	return &previewOut{Registry: r.Account, Name: p.Name, Text: text, Status: "IN_PROGRESS"}, nil
}

func (t *T) getLifecyclePolicyPreview(_ context.Context, c *api.Call, in *previewIn) (*previewOut, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r, p, err := t.find(c, in.Registry, in.Name)
	if err != nil {
		return nil, err
	}
	text, ok := r.Settings["preview/"+p.Name]
	if !ok {
		return nil, api.Errorf("LifecyclePolicyPreviewNotFoundException", "There is no lifecycle policy preview for the repository with name '%s' in the registry with id '%s'", p.Name, r.Account)
	}
	l, err := readLifecycle(text)
	if err != nil {
		return nil, err
	}
	var all []previewResult
	for _, e := range t.expired(p, l) {
		x := previewResult{Tags: p.labels(e.image.Digest), Digest: e.image.Digest, Pushed: e.image.Pushed, Priority: e.priority}
		x.Action.Type = "EXPIRE"
		all = append(all, x)
	}
	out := &previewOut{Registry: r.Account, Name: p.Name, Text: text, Status: "COMPLETE", Summary: &struct {
		Total int `json:"expiringImageTotalCount"`
	}{len(all)}}
	out.Results, out.Next, err = cut(all, in.paging)
	return out, err
}
