package ecr

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecrpublic"

	"bake/builder"
	"bake/steps/amazon"
)

// A cleaner removes repositories that a failed output has made and put nothing
// into. One that holds images stays: they are somebody's.
type cleaner struct {
	open func(ctx context.Context, r builder.Resource) (repositories, error)
}

// repositories is what a cleaner calls: of the private API, or of ECR Public's.
type repositories interface {
	find(ctx context.Context) (arn string, err error)
	token(ctx context.Context, arn string) (string, error)
	remove(ctx context.Context) error
}

// Find looks for the repository by its name and the token in its tags.
func (c *cleaner) Find(ctx context.Context, r builder.Resource) (string, error) {
	api, err := c.open(ctx, r)
	if err != nil {
		return "", err
	}
	arn, err := api.find(ctx)
	if amazon.IsCode(err, "RepositoryNotFoundException") || err == nil && arn == "" {
		return "", builder.ErrNotFound
	}
	if err != nil {
		return "", fmt.Errorf("looking for repository %s: %w", r.Name, err)
	}
	token, err := api.token(ctx, arn)
	if err != nil {
		return "", fmt.Errorf("reading the tags of %s: %w", arn, err)
	}
	if token != r.Token {
		return "", builder.ErrNotFound
	}
	return arn, nil
}

// Delete removes the repository if it is the run's own and empty
// (DeleteRepository without force).
func (c *cleaner) Delete(ctx context.Context, r builder.Resource) error {
	if _, err := c.Find(ctx, r); errors.Is(err, builder.ErrNotFound) {
		return nil
	} else if err != nil {
		return err
	}
	api, err := c.open(ctx, r)
	if err != nil {
		return err
	}
	err = api.remove(ctx)
	if amazon.IsCode(err, "RepositoryNotFoundException", "RepositoryNotEmptyException") {
		return nil
	}
	return err
}

func (d Deps) privateRepositories(ctx context.Context, r builder.Resource) (repositories, error) {
	access, err := amazon.ParseAccess(r.Where)
	if err != nil {
		return nil, err
	}
	cfg, err := d.Cloud.Config(ctx, access)
	if err != nil {
		return nil, err
	}
	account, name, _ := strings.Cut(r.Name, "/")
	return &privateOne{ecr.NewFromConfig(cfg), orNil(account), name}, nil
}

// privateOne is one repository of a private registry.
type privateOne struct {
	api     *ecr.Client
	account *string
	name    string
}

func (p *privateOne) find(ctx context.Context) (string, error) {
	out, err := p.api.DescribeRepositories(ctx, &ecr.DescribeRepositoriesInput{RepositoryNames: []string{p.name}, RegistryId: p.account})
	if err != nil || len(out.Repositories) == 0 {
		return "", err
	}
	return aws.ToString(out.Repositories[0].RepositoryArn), nil
}

func (p *privateOne) token(ctx context.Context, arn string) (string, error) {
	out, err := p.api.ListTagsForResource(ctx, &ecr.ListTagsForResourceInput{ResourceArn: &arn})
	if err != nil {
		return "", err
	}
	for _, t := range out.Tags {
		if aws.ToString(t.Key) == amazon.TagToken {
			return aws.ToString(t.Value), nil
		}
	}
	return "", nil
}

func (p *privateOne) remove(ctx context.Context) error {
	_, err := p.api.DeleteRepository(ctx, &ecr.DeleteRepositoryInput{RepositoryName: &p.name, RegistryId: p.account})
	return err
}

func (d Deps) publicRepositories(ctx context.Context, r builder.Resource) (repositories, error) {
	access, err := amazon.ParseAccess(r.Where)
	if err != nil {
		return nil, err
	}
	cfg, err := d.Cloud.Config(ctx, access)
	if err != nil {
		return nil, err
	}
	return &publicOne{ecrpublic.NewFromConfig(cfg), r.Name}, nil
}

// publicOne is one repository of ECR Public.
type publicOne struct {
	api  *ecrpublic.Client
	name string
}

func (p *publicOne) find(ctx context.Context) (string, error) {
	out, err := p.api.DescribeRepositories(ctx, &ecrpublic.DescribeRepositoriesInput{RepositoryNames: []string{p.name}})
	if err != nil || len(out.Repositories) == 0 {
		return "", err
	}
	return aws.ToString(out.Repositories[0].RepositoryArn), nil
}

func (p *publicOne) token(ctx context.Context, arn string) (string, error) {
	out, err := p.api.ListTagsForResource(ctx, &ecrpublic.ListTagsForResourceInput{ResourceArn: &arn})
	if err != nil {
		return "", err
	}
	for _, t := range out.Tags {
		if aws.ToString(t.Key) == amazon.TagToken {
			return aws.ToString(t.Value), nil
		}
	}
	return "", nil
}

func (p *publicOne) remove(ctx context.Context) error {
	_, err := p.api.DeleteRepository(ctx, &ecrpublic.DeleteRepositoryInput{RepositoryName: &p.name})
	return err
}
