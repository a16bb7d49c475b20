package ecr

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"

	"bake/builder"
	"bake/steps/amazon"
)

// A repository is what the API says of one: the same for private ones and for
// ECR Public.
type repository struct {
	name, uri, arn, registry string
	fixed                    func(tag string) bool
	private                  *types.Repository // nil for ECR Public
}

// A MissingRepositoryError is a repository that does not exist.
type MissingRepositoryError struct{ Repository string }

func (e *MissingRepositoryError) Error() string {
	return "there is no repository " + e.Repository
}

// Hint says how to make it.
func (e *MissingRepositoryError) Hint() string {
	return "say `create: true` in the output, and bake makes it"
}

// find asks for the repository (DescribeRepositories); ErrNotFound if there is none.
func (t *target) find(ctx context.Context) (repository, error) {
	in := &ecr.DescribeRepositoriesInput{RepositoryNames: []string{t.name}, RegistryId: orNil(t.account)}
	out, err := t.api.DescribeRepositories(ctx, in)
	if amazon.IsCode(err, "RepositoryNotFoundException") || err == nil && len(out.Repositories) == 0 {
		return repository{}, builder.ErrNotFound
	}
	if err != nil {
		return repository{}, fmt.Errorf("looking for repository %s: %w", t, err)
	}
	return privateRepository(out.Repositories[0]), nil
}

func privateRepository(r types.Repository) repository {
	return repository{
		name: aws.ToString(r.RepositoryName), uri: aws.ToString(r.RepositoryUri), arn: aws.ToString(r.RepositoryArn),
		registry: aws.ToString(r.RegistryId), private: &r,
		fixed: fixedTag(r.ImageTagMutability, r.ImageTagMutabilityExclusionFilters),
	}
}

// ensure makes sure that the repository is there and, as far as the template
// speaks of it, as it should be.
func (t *target) ensure(ctx context.Context, sc *builder.Scope, c *Create) error {
	var err error
	if t.repo, err = t.find(ctx); err == nil {
		if c != nil {
			return t.repair(ctx, sc, c)
		}
		return nil
	}
	if !errors.Is(err, builder.ErrNotFound) {
		return err
	}
	if c == nil || !c.Enabled {
		return &MissingRepositoryError{Repository: t.String()}
	}
	if err := t.create(ctx, sc, c); err != nil {
		return err
	}
	return t.repair(ctx, sc, c)
}

// create makes the repository (CreateRepository).
func (t *target) create(ctx context.Context, sc *builder.Scope, c *Create) error {
	r := builder.Resource{Kind: repositoryKind, Name: t.account + "/" + t.name, Where: t.access.Where()}
	made, err := sc.Create(ctx, r, func(ctx context.Context, r builder.Resource) (string, error) {
		in := c.input(t, sc, r.Token)
		out, err := t.api.CreateRepository(ctx, in)
		if amazon.IsCode(err, "RepositoryAlreadyExistsException") {
			// Somebody made it just now, perhaps an earlier try of this very call.
			found, ferr := t.find(ctx)
			t.repo = found
			return found.arn, ferr
		}
		if err != nil {
			return "", err
		}
		t.repo = privateRepository(*out.Repository)
		return t.repo.arn, nil
	})
	if err != nil {
		return err
	}
	sc.Keep(made)
	if t.repo.arn == "" { // an earlier process made it
		t.repo, err = t.find(ctx)
	}
	t.note(sc, "made repository %s", t)
	return err
}

func (c *Create) input(t *target, sc *builder.Scope, token string) *ecr.CreateRepositoryInput {
	in := &ecr.CreateRepositoryInput{RepositoryName: aws.String(t.name), RegistryId: orNil(t.account)}
	if c.ScanOnPush != nil {
		in.ImageScanningConfiguration = &types.ImageScanningConfiguration{ScanOnPush: *c.ScanOnPush}
	}
	if c.Immutable != nil {
		in.ImageTagMutability, in.ImageTagMutabilityExclusionFilters = c.Immutable.mutability()
	}
	if c.Encryption != nil {
		in.EncryptionConfiguration = c.Encryption.configuration()
	}
	tags := birthTags(sc, token)
	maps.Copy(tags, c.Tags)
	for _, k := range slices.Sorted(maps.Keys(tags)) {
		in.Tags = append(in.Tags, types.Tag{Key: aws.String(k), Value: aws.String(tags[k])})
	}
	return in
}

// birthTags say who made a repository.
func birthTags(sc *builder.Scope, token string) map[string]string {
	tags := map[string]string{amazon.TagRun: string(sc.Run), amazon.TagBuild: sc.Step.Build(), amazon.TagToken: token}
	if sc.Plan != nil && sc.Plan.Name != "" {
		tags[amazon.TagTemplate] = sc.Plan.Name
	}
	return tags
}

// note tells what was changed, in the log and for the report.
func (t *target) note(sc *builder.Scope, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	t.notes = append(t.notes, text)
	sc.Log("%s", text)
}

func orNil(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
