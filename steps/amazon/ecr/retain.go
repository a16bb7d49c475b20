package ecr

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"

	"bake/builder"
	"bake/steps/amazon"
)

// A held image is one image, index or artifact that a repository holds.
type held struct {
	digest    string
	tags      []string
	mediaType string
	pushed    time.Time
	subject   string   // what it is about, for signatures and the like
	children  []string // digests of the images of an index
}

func (h held) isIndex() bool {
	return strings.Contains(h.mediaType, "index") || strings.Contains(h.mediaType, "manifest.list")
}

// choose returns the images to delete, indexes before their images: pure, all
// that it depends on comes in. inUse holds digests and tags that something runs.
func (k *Keep) choose(images []held, justPushed []string, inUse map[string]bool, now time.Time) []held {
	stays := map[string]bool{}
	newest := slices.Clone(images)
	slices.SortFunc(newest, func(a, b held) int {
		return cmp.Or(b.pushed.Compare(a.pushed), cmp.Compare(a.digest, b.digest))
	})
	tagged := 0
	for _, h := range newest {
		if k.stays(h, &tagged, justPushed, inUse, now) {
			stays[h.digest] = true
		}
	}
	for changed := true; changed; { // indexes may hold indexes, and signatures be signed
		changed = false
		for _, h := range images {
			if stays[h.digest] {
				for _, c := range h.children {
					changed = changed || !stays[c]
					stays[c] = true
				}
			} else if h.subject != "" && stays[h.subject] {
				stays[h.digest], changed = true, true
			}
		}
	}
	drop := slices.DeleteFunc(newest, func(h held) bool { return stays[h.digest] })
	slices.SortStableFunc(drop, func(a, b held) int { return cmp.Compare(len(b.children), len(a.children)) })
	return drop
}

// stays decides for an image by itself, newest first; what holds for the
// indexes and subjects it belongs to comes after.
func (k *Keep) stays(h held, tagged *int, justPushed []string, inUse map[string]bool, now time.Time) bool {
	if slices.Contains(justPushed, h.digest) || inUse[h.digest] || slices.ContainsFunc(h.tags, func(t string) bool { return inUse[t] }) {
		if len(h.tags) > 0 {
			*tagged++
		}
		return true
	}
	if len(h.tags) == 0 {
		return now.Sub(h.pushed) < k.Untagged
	}
	*tagged++
	return k.Tagged == 0 || *tagged <= k.Tagged ||
		slices.ContainsFunc(h.tags, func(t string) bool {
			return !matches(k.Tags, t) || slices.ContainsFunc(k.Protected, func(p string) bool { return matches(p, t) })
		})
}

// retain deletes what is too old in all targets. Nothing is deleted if it
// cannot be found out what is in use.
func (o *Output) retain(ctx context.Context, sc *builder.Scope, targets []*target) error {
	used := &usage{cloud: o.deps.Cloud}
	if !o.Keep.NoECS {
		if err := used.read(ctx, o.Keep.places(targets)); err != nil {
			sc.Log("warning: nothing was deleted, because bake could not see which images are in use: %v", err)
			return nil
		}
	}
	return each(ctx, targets, func(ctx context.Context, t *target) error {
		images, err := t.held(ctx)
		if err == nil {
			drop := o.Keep.choose(images, append([]string{t.pushed.Digest}, t.pushed.Manifests...), used.of(t.repo.name), time.Now())
			err = t.drop(ctx, sc, drop, o.Keep.DryRun)
		}
		return o.deps.Cloud.Explain(ctx, t.access, err)
	})
}

// held lists all that the repository holds (DescribeImages, all pages), with
// the images of each index (BatchGetImage).
func (t *target) held(ctx context.Context) ([]held, error) {
	if t.public {
		return t.heldPublic(ctx)
	}
	var all []held
	pages := ecr.NewDescribeImagesPaginator(t.api, &ecr.DescribeImagesInput{RepositoryName: &t.name, RegistryId: orNil(t.account), MaxResults: aws.Int32(1000)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("listing the images of %s: %w", t, err)
		}
		for _, d := range page.ImageDetails {
			all = append(all, held{digest: aws.ToString(d.ImageDigest), tags: d.ImageTags, mediaType: aws.ToString(d.ImageManifestMediaType),
				pushed: aws.ToTime(d.ImagePushedAt), subject: aws.ToString(d.SubjectManifestDigest)})
		}
	}
	return all, t.readIndexes(ctx, all)
}

// readIndexes fills in the children of indexes.
func (t *target) readIndexes(ctx context.Context, all []held) error {
	at := map[string]int{}
	var ids []types.ImageIdentifier
	for i, h := range all {
		if h.isIndex() {
			at[h.digest] = i
			ids = append(ids, types.ImageIdentifier{ImageDigest: aws.String(h.digest)})
		}
	}
	for some := range slices.Chunk(ids, 100) {
		out, err := t.api.BatchGetImage(ctx, &ecr.BatchGetImageInput{RepositoryName: &t.name, RegistryId: orNil(t.account), ImageIds: some})
		if err != nil {
			return fmt.Errorf("reading the indexes of %s: %w", t, err)
		}
		read := map[string]bool{}
		for _, i := range out.Images {
			if i.ImageId == nil {
				continue
			}
			digest := aws.ToString(i.ImageId.ImageDigest)
			children, err := childrenOf(aws.ToString(i.ImageManifest))
			if err != nil {
				return fmt.Errorf("reading index %s of %s: %w", digest, t, err)
			}
			all[at[digest]].children = children
			read[digest] = true
		}
		for _, id := range some {
			if d := aws.ToString(id.ImageDigest); !read[d] {
				return fmt.Errorf("reading index %s of %s: ECR did not hand it over", d, t)
			}
		}
	}
	return nil
}

func childrenOf(index string) ([]string, error) {
	var doc struct {
		Manifests []struct {
			Digest string `json:"digest"`
		} `json:"manifests"`
	}
	err := json.Unmarshal([]byte(index), &doc)
	var all []string
	for _, m := range doc.Manifests {
		all = append(all, m.Digest)
	}
	return all, err
}

// drop deletes images (BatchDeleteImage), in rounds: an image that an index
// still names cannot go, and goes in the round after the index.
func (t *target) drop(ctx context.Context, sc *builder.Scope, images []held, dryRun bool) error {
	if len(images) == 0 {
		return nil
	}
	if dryRun {
		for _, h := range images {
			sc.Log("would delete %s %s of %s", short(h.digest), strings.Join(h.tags, ","), t)
		}
		return nil
	}
	left := images
	gone := 0
	for range 4 { // as deep as indexes may lie in indexes
		var again []held
		for some := range slices.Chunk(left, 100) {
			referenced, err := t.dropSome(ctx, some)
			if err != nil {
				return fmt.Errorf("deleting old images of %s: %w", t, err)
			}
			gone += len(some) - len(referenced)
			again = append(again, referenced...)
		}
		if left = again; len(left) == 0 {
			break
		}
	}
	t.note(sc, "deleted %d old images of %s", gone, t)
	return nil
}

// dropSome deletes up to 100 images and returns those that an index or an
// artifact refers to. One that is gone already is deleted.
func (t *target) dropSome(ctx context.Context, some []held) ([]held, error) {
	if t.public {
		return t.dropPublic(ctx, some)
	}
	var ids []types.ImageIdentifier
	for _, h := range some {
		ids = append(ids, types.ImageIdentifier{ImageDigest: aws.String(h.digest)})
	}
	out, err := t.api.BatchDeleteImage(ctx, &ecr.BatchDeleteImageInput{RepositoryName: &t.name, RegistryId: orNil(t.account), ImageIds: ids})
	if err != nil {
		return nil, err
	}
	var referenced []held
	for _, f := range out.Failures {
		switch f.FailureCode {
		case types.ImageFailureCodeImageNotFound:
		case types.ImageFailureCodeImageReferencedByManifestList:
			i := slices.IndexFunc(some, func(h held) bool { return f.ImageId != nil && h.digest == aws.ToString(f.ImageId.ImageDigest) })
			if i >= 0 {
				referenced = append(referenced, some[i])
			}
		default:
			return nil, fmt.Errorf("%s: %s", f.FailureCode, aws.ToString(f.FailureReason))
		}
	}
	return referenced, nil
}

// places are whose ECS clusters may use the images: those of the targets and
// the other regions that the template names.
func (k *Keep) places(targets []*target) []amazon.Access {
	var all []amazon.Access
	add := func(a amazon.Access) {
		if !slices.ContainsFunc(all, func(o amazon.Access) bool { return o.Where() == a.Where() }) {
			all = append(all, a)
		}
	}
	for _, t := range targets {
		if !t.public {
			add(t.access)
		}
		for _, region := range k.UsedIn {
			add(t.access.In(region))
		}
	}
	return all
}
