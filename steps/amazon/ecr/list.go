package ecr

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"

	"bake/steps/amazon"
)

// A Listing is what a repository holds: plain data.
type Listing struct {
	Repository string       `json:"repository"`
	URI        string       `json:"uri"`
	ARN        string       `json:"arn"`
	RegistryID string       `json:"registry_id"`
	Images     []ImageInfo  `json:"images"`
	Total      int          `json:"total"` // how many there are, listed or not
	Settings   *SettingsNow `json:"settings,omitempty"`
}

// SettingsNow is what is set on a repository.
type SettingsNow struct {
	ScanOnPush bool     `json:"scan_on_push"`
	Tags       string   `json:"tags"`             // IMMUTABLE, MUTABLE, ...
	Except     []string `json:"except,omitempty"` // patterns of tags
	Encryption string   `json:"encryption"`
}

// An ImageInfo is one image, index or artifact of a repository.
type ImageInfo struct {
	Digest     string           `json:"digest"`
	Tags       []string         `json:"tags"` // none: untagged
	Size       int64            `json:"size"` // bytes, compressed
	PushedAt   time.Time        `json:"pushed_at"`
	PulledAt   time.Time        `json:"pulled_at,omitzero"` // by the day
	MediaType  string           `json:"media_type"`
	ScanStatus string           `json:"scan_status,omitempty"`
	Findings   map[string]int32 `json:"findings,omitempty"` // by severity
}

// A List says what to list.
type List struct {
	Repository string // a name, or a whole address
	Access     amazon.Access
	Limit      int    // the newest; 0: all
	Match      string // only images with a tag that contains this
}

// List returns what a repository holds, the newest first: tagged and untagged
// (DescribeRepositories and DescribeImages, all pages).
func (d Deps) List(ctx context.Context, l List) (Listing, error) {
	t, err := d.listed(ctx, l)
	if err != nil {
		return Listing{}, err
	}
	out, err := t.list(ctx, l)
	return out, d.Cloud.Explain(ctx, t.access, err)
}

func (d Deps) listed(ctx context.Context, l List) (*target, error) {
	host, path, _ := splitName(l.Repository)
	name, _ := cutTag(path)
	access := l.Access
	access.Region = cmp.Or(host.Region, access.Region)
	cfg, err := d.Cloud.Config(ctx, access)
	if err != nil {
		return nil, err
	}
	access.Region = cfg.Region
	return &target{place: place{access: access, account: host.Account}, name: name, api: ecr.NewFromConfig(cfg)}, nil
}

func (t *target) list(ctx context.Context, l List) (Listing, error) {
	repo, err := t.find(ctx)
	if err != nil {
		return Listing{}, fmt.Errorf("repository %s: %w", t, err)
	}
	out := Listing{Repository: repo.name, URI: repo.uri, ARN: repo.arn, RegistryID: repo.registry, Settings: settingsNow(*repo.private), Images: []ImageInfo{}}
	pages := ecr.NewDescribeImagesPaginator(t.api, &ecr.DescribeImagesInput{RepositoryName: &t.name, RegistryId: orNil(t.account), MaxResults: aws.Int32(1000)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return Listing{}, fmt.Errorf("listing the images of %s: %w", t, err)
		}
		for _, d := range page.ImageDetails {
			out.Images = append(out.Images, imageInfo(d))
		}
	}
	out.Total = len(out.Images)
	out.Images = slices.DeleteFunc(out.Images, func(i ImageInfo) bool {
		return l.Match != "" && !slices.ContainsFunc(i.Tags, func(t string) bool { return strings.Contains(t, l.Match) })
	})
	slices.SortFunc(out.Images, func(a, b ImageInfo) int {
		return cmp.Or(b.PushedAt.Compare(a.PushedAt), cmp.Compare(a.Digest, b.Digest))
	})
	if l.Limit > 0 && len(out.Images) > l.Limit {
		out.Images = out.Images[:l.Limit]
	}
	return out, nil
}

func imageInfo(d types.ImageDetail) ImageInfo {
	i := ImageInfo{Digest: aws.ToString(d.ImageDigest), Tags: slices.Sorted(slices.Values(d.ImageTags)), Size: aws.ToInt64(d.ImageSizeInBytes),
		PushedAt: aws.ToTime(d.ImagePushedAt).UTC(), MediaType: aws.ToString(d.ImageManifestMediaType)}
	if i.Tags == nil {
		i.Tags = []string{}
	}
	if d.LastRecordedPullTime != nil {
		i.PulledAt = d.LastRecordedPullTime.UTC()
	}
	if d.ImageScanStatus != nil {
		i.ScanStatus = string(d.ImageScanStatus.Status)
	}
	if d.ImageScanFindingsSummary != nil {
		i.Findings = d.ImageScanFindingsSummary.FindingSeverityCounts
	}
	return i
}

// Scan is the scan in a few words: "2 high 5 low"; empty if there was none.
func (i ImageInfo) Scan() string {
	var parts []string
	left := maps.Clone(i.Findings)
	for n := len(severities) - 1; n >= 0; n-- {
		if count := left[severities[n]]; count > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", count, strings.ToLower(severities[n])))
		}
	}
	switch {
	case len(parts) > 0:
		return strings.Join(parts, " ")
	case i.ScanStatus == string(types.ScanStatusComplete), i.ScanStatus == string(types.ScanStatusActive):
		return "clean"
	}
	return strings.ToLower(i.ScanStatus)
}

func settingsNow(r types.Repository) *SettingsNow {
	s := &SettingsNow{Tags: string(r.ImageTagMutability), Except: patterns(r.ImageTagMutabilityExclusionFilters), Encryption: string(types.EncryptionTypeAes256)}
	if r.ImageScanningConfiguration != nil {
		s.ScanOnPush = r.ImageScanningConfiguration.ScanOnPush
	}
	if r.EncryptionConfiguration != nil {
		s.Encryption = encryptionWords(r.EncryptionConfiguration)
	}
	return s
}

// A RepositoryInfo is one repository of a registry.
type RepositoryInfo struct {
	Repository string       `json:"repository"`
	URI        string       `json:"uri"`
	ARN        string       `json:"arn"`
	RegistryID string       `json:"registry_id"`
	CreatedAt  time.Time    `json:"created_at,omitzero"`
	Settings   *SettingsNow `json:"settings,omitempty"`
}

// Repositories lists the repositories of the caller's registry by name
// (DescribeRepositories, all pages).
func (d Deps) Repositories(ctx context.Context, a amazon.Access) ([]RepositoryInfo, error) {
	cfg, err := d.Cloud.Config(ctx, a)
	if err != nil {
		return nil, err
	}
	all := []RepositoryInfo{}
	pages := ecr.NewDescribeRepositoriesPaginator(ecr.NewFromConfig(cfg), &ecr.DescribeRepositoriesInput{MaxResults: aws.Int32(1000)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, d.Cloud.Explain(ctx, a, fmt.Errorf("listing the repositories of ECR: %w", err))
		}
		for _, r := range page.Repositories {
			all = append(all, RepositoryInfo{Repository: aws.ToString(r.RepositoryName), URI: aws.ToString(r.RepositoryUri), ARN: aws.ToString(r.RepositoryArn),
				RegistryID: aws.ToString(r.RegistryId), CreatedAt: aws.ToTime(r.CreatedAt).UTC(), Settings: settingsNow(r)})
		}
	}
	slices.SortFunc(all, func(a, b RepositoryInfo) int { return cmp.Compare(a.Repository, b.Repository) })
	return all, nil
}

// IsRepository reports whether a name that a user typed means a private
// repository of ECR: an address there, or ecr:NAME; and what is to be listed.
// An empty Repository means all repositories.
func IsRepository(typed string) (repository string, ok bool) {
	if name, found := strings.CutPrefix(typed, "ecr:"); found {
		return strings.TrimPrefix(name, "//"), true
	}
	host, _, found := splitName(typed)
	return typed, found && !host.Public
}
