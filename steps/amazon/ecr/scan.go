package ecr

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"

	"bake/builder"
	"bake/steps/amazon"
)

// A finding is one weakness that a scan found: basic and enhanced scans in one form.
type finding struct {
	id, severity, pack, version, fixed, uri string
}

// scanned is what the scans of an image found, of all platforms.
type scanned struct {
	status   string
	findings []finding // those that count, the worst first
	ignored  int
}

// severities from least to worst.
var severities = []string{"UNDEFINED", "UNTRIAGED", "INFORMATIONAL", "LOW", "MEDIUM", "HIGH", "CRITICAL"}

func rank(severity string) int { return slices.Index(severities, strings.ToUpper(severity)) }

// A FindingsError is an image whose scan found too much.
type FindingsError struct {
	Image  string
	FailOn string
	found  []finding
}

func (e *FindingsError) Error() string {
	var names []string
	for _, f := range e.found {
		names = append(names, f.String())
	}
	const most = 5
	more := ""
	if len(names) > most {
		more = fmt.Sprintf(", and %d more", len(names)-most)
		names = names[:most]
	}
	return fmt.Sprintf("the scan of %s found %d of severity %s or worse: %s%s", e.Image, len(e.found), e.FailOn, strings.Join(names, "; "), more)
}

// Hint says how to get out of it.
func (e *FindingsError) Hint() string {
	return "update the packages named, or list findings that do not matter in `scan: ignore:`"
}

func (f finding) String() string {
	s := f.id + " " + strings.ToLower(f.severity)
	if f.pack != "" {
		s += " in " + strings.TrimSpace(f.pack+" "+f.version)
	}
	if f.fixed != "" {
		s += ", fixed in " + f.fixed
	}
	return s
}

// await waits for the scans of the pushed image and judges what they found.
func (s *Scan) await(ctx context.Context, sc *builder.Scope, t *target) error {
	ctx, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	result := &scanned{}
	for _, digest := range t.pushed.Manifests { // an index is not scanned, its images are
		one, err := s.awaitOne(ctx, t, digest)
		if err != nil {
			return fmt.Errorf("scan of %s@%s: %w", t.repo.uri, short(digest), err)
		}
		result.status = cmp.Or(result.status, one.status)
		if one.status == string(types.ScanStatusUnsupportedImage) {
			result.status = one.status
			if s.Unsupported == "fail" {
				return fmt.Errorf("scan of %s@%s: ECR cannot scan this image", t.repo.uri, short(digest))
			}
			sc.Log("warning: ECR cannot scan %s: no package database that it knows", short(digest))
		}
		result.findings = append(result.findings, one.findings...)
	}
	s.judge(result)
	t.scan = result
	for _, f := range result.findings {
		if rank(f.severity) >= rank("MEDIUM") {
			sc.Log("%s", f)
		}
	}
	if s.FailOn == "" {
		return nil
	}
	bad := slices.DeleteFunc(slices.Clone(result.findings), func(f finding) bool { return rank(f.severity) < rank(s.FailOn) })
	if len(bad) > 0 {
		return &FindingsError{Image: t.repo.uri + ":" + t.tags[0], FailOn: s.FailOn, found: bad}
	}
	return nil
}

// judge takes out what does not count, and repetitions.
func (s *Scan) judge(r *scanned) {
	seen := map[finding]bool{}
	var count []finding
	for _, f := range r.findings {
		switch {
		case seen[f]:
		case s.ignores(f):
			r.ignored++
		default:
			count = append(count, f)
		}
		seen[f] = true
	}
	slices.SortFunc(count, func(a, b finding) int {
		return cmp.Or(cmp.Compare(rank(b.severity), rank(a.severity)), cmp.Compare(a.id, b.id), cmp.Compare(a.pack, b.pack))
	})
	r.findings = count
}

func (s *Scan) ignores(f finding) bool {
	return s.OnlyFixable && f.fixed == "" ||
		slices.ContainsFunc(s.Ignore, func(p string) bool { return matches(p, f.id) })
}

// awaitOne waits for the scan of one image. If nobody scans it, it starts a
// scan itself (StartImageScan), which works where scanning is basic.
func (s *Scan) awaitOne(ctx context.Context, t *target, digest string) (*scanned, error) {
	started := false
	for n := 0; ; n++ {
		out, err := t.scanPage(ctx, digest, nil)
		switch {
		case amazon.IsCode(err, "ScanNotFoundException"):
			if !started && (n > 0 || !t.scansOnPush()) {
				started = true
				if err := t.startScan(ctx, digest); err != nil {
					return nil, err
				}
				continue
			}
		case err != nil:
			if ctx.Err() != nil {
				return nil, lateError(ctx, "its end")
			}
			return nil, err
		default:
			if done, err := scanDone(out.ImageScanStatus, out.ImageScanFindings != nil); err != nil {
				return nil, err
			} else if done {
				return t.findings(ctx, digest, out)
			}
		}
		if err := pause(ctx, n); err != nil {
			return nil, lateError(ctx, "its end")
		}
	}
}

func (t *target) scansOnPush() bool {
	c := t.repo.private.ImageScanningConfiguration
	return c != nil && c.ScanOnPush
}

// startScan asks for a scan. That ECR scans by itself, or has scanned today
// already, is no error.
func (t *target) startScan(ctx context.Context, digest string) error {
	_, err := t.api.StartImageScan(ctx, &ecr.StartImageScanInput{
		RepositoryName: &t.name, RegistryId: orNil(t.account), ImageId: &types.ImageIdentifier{ImageDigest: &digest}})
	if amazon.IsCode(err, "LimitExceededException", "ValidationException", "InvalidParameterException", "UnsupportedImageTypeException") {
		return nil
	}
	return err
}

// scanDone reports whether a scan has come to its end: COMPLETE is a basic
// one's, ACTIVE an enhanced one's that goes on for ever.
func scanDone(status *types.ImageScanStatus, hasFindings bool) (bool, error) {
	if status == nil {
		return hasFindings, nil
	}
	switch status.Status {
	case types.ScanStatusComplete, types.ScanStatusUnsupportedImage:
		return true, nil
	case types.ScanStatusActive:
		return hasFindings, nil
	case types.ScanStatusInProgress, types.ScanStatusPending:
		return false, nil
	}
	return false, fmt.Errorf("it ended as %s: %s", status.Status, aws.ToString(status.Description))
}

func (t *target) scanPage(ctx context.Context, digest string, next *string) (*ecr.DescribeImageScanFindingsOutput, error) {
	in := &ecr.DescribeImageScanFindingsInput{RepositoryName: &t.name, RegistryId: orNil(t.account),
		ImageId: &types.ImageIdentifier{ImageDigest: &digest}, NextToken: next, MaxResults: aws.Int32(1000)}
	return t.api.DescribeImageScanFindings(ctx, in)
}

// findings reads all pages.
func (t *target) findings(ctx context.Context, digest string, page *ecr.DescribeImageScanFindingsOutput) (*scanned, error) {
	out := &scanned{}
	if page.ImageScanStatus != nil {
		out.status = string(page.ImageScanStatus.Status)
	}
	for {
		if f := page.ImageScanFindings; f != nil {
			for _, b := range f.Findings {
				out.findings = append(out.findings, basicFinding(b))
			}
			for _, e := range f.EnhancedFindings {
				out.findings = append(out.findings, enhancedFindings(e)...)
			}
		}
		if aws.ToString(page.NextToken) == "" {
			return out, nil
		}
		var err error
		if page, err = t.scanPage(ctx, digest, page.NextToken); err != nil {
			return nil, err
		}
	}
}

func basicFinding(b types.ImageScanFinding) finding {
	f := finding{id: aws.ToString(b.Name), severity: string(b.Severity), uri: aws.ToString(b.Uri)}
	for _, a := range b.Attributes {
		switch aws.ToString(a.Key) {
		case "package_name":
			f.pack = aws.ToString(a.Value)
		case "package_version":
			f.version = aws.ToString(a.Value)
		case "fixed_in_version", "fixedInVersion":
			f.fixed = aws.ToString(a.Value)
		}
	}
	return f
}

// enhancedFindings is one for each package that has the weakness.
func enhancedFindings(e types.EnhancedImageScanFinding) []finding {
	if aws.ToString(e.Status) == "CLOSED" || aws.ToString(e.Status) == "SUPPRESSED" {
		return nil
	}
	f := finding{id: aws.ToString(e.Title), severity: aws.ToString(e.Severity)}
	d := e.PackageVulnerabilityDetails
	if d == nil {
		return []finding{f}
	}
	f.id, f.uri = cmp.Or(aws.ToString(d.VulnerabilityId), f.id), aws.ToString(d.SourceUrl)
	if len(d.VulnerablePackages) == 0 {
		return []finding{f}
	}
	var all []finding
	for _, p := range d.VulnerablePackages {
		g := f
		g.pack, g.version = aws.ToString(p.Name), aws.ToString(p.Version)
		if v := aws.ToString(p.FixedInVersion); v != "NotAvailable" {
			g.fixed = v
		}
		all = append(all, g)
	}
	return all
}

// counts is how many findings there are of each severity.
func (s *scanned) counts() map[string]int {
	n := map[string]int{}
	for _, f := range s.findings {
		n[strings.ToLower(f.severity)]++
	}
	return n
}

// report puts the findings of the first target that was scanned into an
// output's values: scan_critical, scan_high, ... and their ids.
func (s *scanned) report(values map[string]string) {
	if s == nil || values["scan_status"] != "" {
		return
	}
	values["scan_status"] = strings.ToLower(cmp.Or(s.status, "complete"))
	n := s.counts()
	for _, severity := range []string{"critical", "high", "medium", "low", "informational"} {
		values["scan_"+severity] = strconv.Itoa(n[severity])
	}
	var ids []string
	for _, f := range s.findings {
		if !slices.Contains(ids, f.id) {
			ids = append(ids, f.id)
		}
	}
	values["scan_findings"], values["scan_ignored"] = strings.Join(ids, ","), strconv.Itoa(s.ignored)
}

// String is the scan in a few words; empty if there was none.
func (s *scanned) String() string {
	if s == nil {
		return ""
	}
	if s.status == string(types.ScanStatusUnsupportedImage) {
		return "not scanned (unsupported)"
	}
	var parts []string
	n := s.counts()
	for i := len(severities) - 1; i >= 0; i-- {
		if word := strings.ToLower(severities[i]); n[word] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n[word], word))
		}
	}
	if len(parts) == 0 {
		return "nothing found"
	}
	return "found " + strings.Join(parts, ", ")
}

// pause waits before the next question: half a second at first, five at last.
func pause(ctx context.Context, n int) error {
	timer := time.NewTimer(min(500*time.Millisecond<<min(n/2, 4), 5*time.Second))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}
