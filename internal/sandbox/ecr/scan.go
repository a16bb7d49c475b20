package ecr

import (
	"context"
	"slices"
	"time"

	"bake/internal/sandbox/api"
	"bake/internal/sandbox/policy"
)

// scanTakes is how long a scan takes.
const scanTakes = 20 * time.Second

// A Finding is a vulnerability that a scan finds, as a test gives it.
type Finding struct {
	Name        string  `json:"name"`     // "CVE-2026-1"
	Severity    string  `json:"severity"` // CRITICAL, HIGH, MEDIUM, LOW, INFORMATIONAL, UNDEFINED
	Description string  `json:"description,omitempty"`
	Package     string  `json:"package,omitempty"`
	Version     string  `json:"version,omitempty"`
	FixedIn     string  `json:"fixed_in,omitempty"`
	Score       float64 `json:"score,omitempty"`
}

// failedScan and unsupported as a finding's name make the scan end so.
const (
	failedScan  = "FAILED"
	unsupported = "UNSUPPORTED_IMAGE"
)

// Find sets what scans of a repository find in what a tag or digest names; "*"
// is every image. One finding with the name "FAILED" or "UNSUPPORTED_IMAGE"
// makes the scan end with that status.
func (t *T) Find(account, region, repository, tagOrDigest string, findings []Finding) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	r, err := t.of(account, region)
	if err != nil {
		return err
	}
	p, err := r.repository(&api.Call{}, repository)
	if err != nil {
		return err
	}
	if p.Findings == nil {
		p.Findings = map[string][]Finding{}
	}
	p.Findings[tagOrDigest] = findings
	return nil
}

// findings are those of an image: its own, those of its tags, or those of all.
func (p *repository) findings(m *manifest) []Finding {
	for _, name := range append([]string{m.Digest}, append(p.labels(m.Digest), "*")...) {
		if f, ok := p.Findings[name]; ok {
			return f
		}
	}
	return nil
}

// scanning is a registry's scanning configuration.
type scanning struct {
	Type  string     `json:"scanType"`
	Rules []scanRule `json:"rules"`
}

type scanRule struct {
	Frequency string       `json:"scanFrequency"`
	Filters   []nameFilter `json:"repositoryFilters"`
}

type nameFilter struct {
	Filter string `json:"filter"`
	Type   string `json:"filterType"`
}

func (r *registry) enhanced() bool { return r.Scanning != nil && r.Scanning.Type == "ENHANCED" }

// frequency is how often a repository's images are scanned: MANUAL, SCAN_ON_PUSH, CONTINUOUS_SCAN.
func (r *registry) frequency(p *repository) string {
	if r.Scanning != nil {
		for _, rule := range r.Scanning.Rules {
			if slices.ContainsFunc(rule.Filters, func(f nameFilter) bool { return policy.Match(f.Filter, p.Name) }) {
				return rule.Frequency
			}
		}
	}
	if p.Scan.OnPush && !r.enhanced() {
		return "SCAN_ON_PUSH"
	}
	return "MANUAL"
}

// scanPushed begins the scan of a new image, if its repository wants one. What
// is no image is not scanned.
func (t *T) scanPushed(r *registry, p *repository, m *manifest) {
	if len(m.Layers) > 0 && r.frequency(p) != "MANUAL" {
		m.Scanned = t.now()
	}
}

type scanStatus struct {
	Status      string `json:"status"`
	Description string `json:"description,omitempty"`
}

// scanned is how far a scan is.
func (t *T) scanned(r *registry, p *repository, m *manifest) scanStatus {
	found := p.findings(m)
	over := !t.now().Before(m.Scanned.Add(t.world.Takes(scanTakes)))
	switch {
	case !over && r.enhanced():
		return scanStatus{"PENDING", "Scan is pending."}
	case !over:
		return scanStatus{"IN_PROGRESS", "The scan is in progress."}
	case len(found) == 1 && found[0].Name == failedScan:
		return scanStatus{"FAILED", "The scan failed."}
	case len(found) == 1 && found[0].Name == unsupported:
		return scanStatus{unsupported, "UnsupportedImageError: The operating system and/or package manager are not supported."}
	case r.enhanced() && r.frequency(p) == "CONTINUOUS_SCAN":
		return scanStatus{"ACTIVE", "Continuous scan is selected for image."}
	}
	return scanStatus{"COMPLETE", "The scan was completed successfully."}
}

type scanSummary struct {
	Completed time.Time        `json:"imageScanCompletedAt"`
	Updated   time.Time        `json:"vulnerabilitySourceUpdatedAt"`
	Counts    map[string]int32 `json:"findingSeverityCounts"`
}

func (p *repository) summary(m *manifest, took time.Duration) *scanSummary {
	s := &scanSummary{Completed: m.Scanned.Add(took), Updated: m.Scanned, Counts: map[string]int32{}}
	for _, f := range p.findings(m) {
		s.Counts[f.Severity]++
	}
	return s
}

type attribute struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

type basicFinding struct {
	Name        string      `json:"name"`
	Description string      `json:"description,omitempty"`
	URI         string      `json:"uri"`
	Severity    string      `json:"severity"`
	Attributes  []attribute `json:"attributes"`
}

type vulnerablePackage struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	FixedIn string `json:"fixedInVersion,omitempty"`
}

type enhancedFinding struct {
	ARN         string    `json:"findingArn"`
	Account     string    `json:"awsAccountId"`
	Title       string    `json:"title"`
	Description string    `json:"description,omitempty"`
	Severity    string    `json:"severity"`
	Score       float64   `json:"score,omitempty"`
	Status      string    `json:"status"`
	Type        string    `json:"type"`
	First       time.Time `json:"firstObservedAt"`
	Details     struct {
		ID       string              `json:"vulnerabilityId"`
		Packages []vulnerablePackage `json:"vulnerablePackages"`
	} `json:"packageVulnerabilityDetails"`
}

type scanFindings struct {
	scanSummary
	Basic    []basicFinding    `json:"findings,omitempty"`
	Enhanced []enhancedFinding `json:"enhancedFindings,omitempty"`
}

type scanIn struct {
	nameIn
	paging
	ID imageID `json:"imageId"`
}

type scanOut struct {
	Registry string        `json:"registryId"`
	Name     string        `json:"repositoryName"`
	ID       imageID       `json:"imageId"`
	Status   scanStatus    `json:"imageScanStatus"`
	Findings *scanFindings `json:"imageScanFindings,omitempty"`
	Next     string        `json:"nextToken,omitempty"`
}

func (t *T) startImageScan(_ context.Context, c *api.Call, in *scanIn) (*scanOut, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r, p, err := t.find(c, in.Registry, in.Name)
	if err != nil {
		return nil, err
	}
	m, err := r.image(p, in.ID)
	switch {
	case err != nil:
		return nil, err
	case r.enhanced():
		return nil, api.Errorf("ValidationException", "This feature is disabled")
	case len(m.Layers) == 0:
		return nil, api.Errorf("UnsupportedImageTypeException", "The image with digest '%s' is of a type that cannot be scanned", m.Digest)
	case !m.Scanned.IsZero() && t.now().Sub(m.Scanned) < 24*time.Hour && t.scanned(r, p, m).Status != "FAILED":
		return nil, api.Errorf("LimitExceededException", "The scan quota per image has been exceeded. Wait and try again.")
	}
	m.Scanned = t.now()
	return &scanOut{Registry: r.Account, Name: p.Name, ID: imageID{m.Digest, in.ID.Tag}, Status: t.scanned(r, p, m)}, nil
}

func (t *T) describeImageScanFindings(_ context.Context, c *api.Call, in *scanIn) (*scanOut, error) {
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
	if m.Scanned.IsZero() || c.Hidden(m.Digest) {
		return nil, api.Errorf("ScanNotFoundException", "Image scan does not exist for the image with '%s' in the repository with name '%s' in the registry with id '%s'", in.ID, p.Name, r.Account)
	}
	out := &scanOut{Registry: r.Account, Name: p.Name, ID: imageID{m.Digest, in.ID.Tag}, Status: t.scanned(r, p, m)}
	if out.Status.Status != "COMPLETE" && out.Status.Status != "ACTIVE" {
		return out, nil
	}
	page, next, err := cut(p.findings(m), in.paging)
	if err != nil {
		return nil, err
	}
	out.Next = next
	out.Findings = &scanFindings{scanSummary: *p.summary(m, t.world.Takes(scanTakes))}
	for _, f := range page {
		if r.enhanced() {
			out.Findings.Enhanced = append(out.Findings.Enhanced, f.enhanced(r, m))
		} else {
			out.Findings.Basic = append(out.Findings.Basic, f.basic())
		}
	}
	return out, nil
}

func (f Finding) basic() basicFinding {
	return basicFinding{f.Name, f.Description, "https://cve.mitre.org/cgi-bin/cvename.cgi?name=" + f.Name, f.Severity,
		[]attribute{{"package_version", f.Version}, {"package_name", f.Package}}}
}

func (f Finding) enhanced(r *registry, m *manifest) enhancedFinding {
	e := enhancedFinding{ARN: "arn:aws:inspector2:" + r.Region + ":" + r.Account + ":finding/" + m.Digest[7:23], Account: r.Account,
		Title: f.Name + " - " + f.Package, Description: f.Description, Severity: f.Severity, Score: f.Score, Status: "ACTIVE", Type: "PACKAGE_VULNERABILITY", First: m.Scanned}
	e.Details.ID, e.Details.Packages = f.Name, []vulnerablePackage{{f.Package, f.Version, f.FixedIn}}
	return e
}

type scanningIO struct {
	Registry string    `json:"registryId,omitempty"`
	Config   *scanning `json:"scanningConfiguration,omitempty"`
}

func (t *T) getRegistryScanningConfiguration(_ context.Context, c *api.Call, _ *struct{}) (*scanningIO, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r, err := t.of(c.Account, c.Region)
	if err != nil {
		return nil, err
	}
	config := &scanning{Type: "BASIC"}
	if r.Scanning != nil {
		config = r.Scanning
	}
	return &scanningIO{r.Account, config}, nil
}

type putScanningOut struct {
	Config *scanning `json:"registryScanningConfiguration"`
}

func (t *T) putRegistryScanningConfiguration(_ context.Context, c *api.Call, in *scanning) (*putScanningOut, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r, err := t.of(c.Account, c.Region)
	if err != nil {
		return nil, err
	}
	if in.Type == "" {
		in.Type = "BASIC"
	}
	r.Scanning = in
	return &putScanningOut{in}, nil
}

type repositoryScanning struct {
	ARN       string       `json:"repositoryArn"`
	Name      string       `json:"repositoryName"`
	OnPush    bool         `json:"scanOnPush"`
	Frequency string       `json:"scanFrequency"`
	Filters   []nameFilter `json:"appliedScanFilters"`
}

type batchScanningOut struct {
	Configurations []repositoryScanning `json:"scanningConfigurations"`
	Failures       []struct{}           `json:"failures"`
}

func (t *T) batchGetRepositoryScanningConfiguration(_ context.Context, c *api.Call, in *struct {
	Names []string `json:"repositoryNames"`
}) (*batchScanningOut, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var out batchScanningOut
	for _, name := range in.Names {
		r, p, err := t.find(c, "", name)
		if err != nil {
			return nil, err
		}
		f := r.frequency(p)
		out.Configurations = append(out.Configurations, repositoryScanning{ARN: r.arn(name), Name: name, OnPush: f != "MANUAL", Frequency: f})
	}
	return &out, nil
}
