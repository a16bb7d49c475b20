package ecr

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecrpublic"
	"github.com/aws/aws-sdk-go-v2/service/ecrpublic/types"

	"bake/builder"
	"bake/steps/amazon"
)

// ensurePublic is ensure for ECR Public.
func (t *target) ensurePublic(ctx context.Context, sc *builder.Scope, c *Create) error {
	found, err := t.findPublic(ctx)
	switch {
	case err == nil:
		t.repo = found
	case !amazon.IsCode(err, "RepositoryNotFoundException"):
		return fmt.Errorf("looking for repository %s: %w", t, err)
	case c == nil || !c.Enabled:
		return &MissingRepositoryError{Repository: t.String()}
	default:
		if err := t.createPublic(ctx, sc, c); err != nil {
			return err
		}
	}
	if t.address != "" && t.repo.uri != t.address {
		return fmt.Errorf("repository %s: this account's is %s", t.address, t.repo.uri)
	}
	if c == nil {
		return nil
	}
	if err := t.repairPublicPolicy(ctx, sc, c); err != nil {
		return fmt.Errorf("repository %s: %w", t, err)
	}
	if err := t.repairPublicTags(ctx, sc, c); err != nil {
		return fmt.Errorf("repository %s: %w", t, err)
	}
	return nil
}

// findPublic asks for the repository (DescribeRepositories of ECR Public).
func (t *target) findPublic(ctx context.Context) (repository, error) {
	out, err := t.publics.DescribeRepositories(ctx, &ecrpublic.DescribeRepositoriesInput{RepositoryNames: []string{t.name}})
	if err != nil {
		return repository{}, err
	}
	if len(out.Repositories) == 0 {
		return repository{}, &types.RepositoryNotFoundException{}
	}
	return publicRepository(out.Repositories[0]), nil
}

// publicRepository is a repository of ECR Public; its tags always move.
func publicRepository(r types.Repository) repository {
	return repository{
		name: aws.ToString(r.RepositoryName), uri: aws.ToString(r.RepositoryUri), arn: aws.ToString(r.RepositoryArn),
		registry: aws.ToString(r.RegistryId), fixed: func(string) bool { return false },
	}
}

func (t *target) createPublic(ctx context.Context, sc *builder.Scope, c *Create) error {
	r := builder.Resource{Kind: publicKind, Name: t.name, Where: t.access.Where()}
	made, err := sc.Create(ctx, r, func(ctx context.Context, r builder.Resource) (string, error) {
		in := &ecrpublic.CreateRepositoryInput{RepositoryName: &t.name}
		tags := birthTags(sc, r.Token)
		maps.Copy(tags, c.Tags)
		for _, k := range slices.Sorted(maps.Keys(tags)) {
			in.Tags = append(in.Tags, types.Tag{Key: aws.String(k), Value: aws.String(tags[k])})
		}
		out, err := t.publics.CreateRepository(ctx, in)
		if amazon.IsCode(err, "RepositoryAlreadyExistsException") {
			found, ferr := t.findPublic(ctx)
			t.repo = found
			return found.arn, ferr
		}
		if err != nil {
			return "", err
		}
		t.repo = publicRepository(*out.Repository)
		return t.repo.arn, nil
	})
	if err != nil {
		return err
	}
	sc.Keep(made)
	if t.repo.arn == "" { // an earlier process made it
		t.repo, err = t.findPublic(ctx)
	}
	t.note(sc, "made repository %s", t)
	return err
}

func (t *target) repairPublicPolicy(ctx context.Context, sc *builder.Scope, c *Create) error {
	return t.repairPolicyWith(sc, c, policyCalls{
		get: func() (*string, error) {
			out, err := t.publics.GetRepositoryPolicy(ctx, &ecrpublic.GetRepositoryPolicyInput{RepositoryName: &t.name})
			if err != nil {
				return nil, err
			}
			return out.PolicyText, nil
		},
		set: func(text string) error {
			_, err := t.publics.SetRepositoryPolicy(ctx, &ecrpublic.SetRepositoryPolicyInput{RepositoryName: &t.name, PolicyText: &text})
			return err
		},
		remove: func() error {
			_, err := t.publics.DeleteRepositoryPolicy(ctx, &ecrpublic.DeleteRepositoryPolicyInput{RepositoryName: &t.name})
			return err
		},
	})
}

func (t *target) repairPublicTags(ctx context.Context, sc *builder.Scope, c *Create) error {
	if len(c.Tags) == 0 {
		return nil
	}
	out, err := t.publics.ListTagsForResource(ctx, &ecrpublic.ListTagsForResourceInput{ResourceArn: &t.repo.arn})
	if err != nil {
		return err
	}
	have := map[string]string{}
	for _, tag := range out.Tags {
		have[aws.ToString(tag.Key)] = aws.ToString(tag.Value)
	}
	var missing []types.Tag
	for _, k := range missingTags(c.Tags, have) {
		missing = append(missing, types.Tag{Key: aws.String(k), Value: aws.String(c.Tags[k])})
	}
	if len(missing) == 0 {
		return nil
	}
	if _, err := t.publics.TagResource(ctx, &ecrpublic.TagResourceInput{ResourceArn: &t.repo.arn, Tags: missing}); err != nil {
		return err
	}
	t.note(sc, "set %d tags of %s", len(missing), t)
	return nil
}

// heldPublic is held for ECR Public. It hands indexes over only as manifests,
// so what belongs to one is not known, and nothing untagged counts as old.
func (t *target) heldPublic(ctx context.Context) ([]held, error) {
	var all []held
	pages := ecrpublic.NewDescribeImagesPaginator(t.publics, &ecrpublic.DescribeImagesInput{RepositoryName: &t.name, MaxResults: aws.Int32(1000)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("listing the images of %s: %w", t, err)
		}
		for _, d := range page.ImageDetails {
			if len(d.ImageTags) > 0 {
				all = append(all, held{digest: aws.ToString(d.ImageDigest), tags: d.ImageTags, mediaType: aws.ToString(d.ImageManifestMediaType), pushed: aws.ToTime(d.ImagePushedAt)})
			}
		}
	}
	return all, nil
}

func (t *target) dropPublic(ctx context.Context, some []held) ([]held, error) {
	var ids []types.ImageIdentifier
	for _, h := range some {
		ids = append(ids, types.ImageIdentifier{ImageDigest: aws.String(h.digest)})
	}
	out, err := t.publics.BatchDeleteImage(ctx, &ecrpublic.BatchDeleteImageInput{RepositoryName: &t.name, ImageIds: ids})
	if err != nil {
		return nil, err
	}
	for _, f := range out.Failures {
		if f.FailureCode != types.ImageFailureCodeImageNotFound {
			return nil, fmt.Errorf("%s: %s", f.FailureCode, aws.ToString(f.FailureReason))
		}
	}
	return nil, nil
}
