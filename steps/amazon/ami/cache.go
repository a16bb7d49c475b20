package ami

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"bake/builder"
	"bake/steps/amazon"
	"bake/steps/amazon/image"
)

// Lookup finds the image that an earlier run made of the same key: one of this
// account's own, available, whose tests have passed.
func (s *Build) Lookup(ctx context.Context, sc *builder.Scope, key builder.Digest) (builder.Artifact, error) {
	access, err := accessOf(sc.Plan, sc.Step.Build())
	if err != nil {
		return builder.Artifact{}, err
	}
	cfg, err := s.cloud.Config(ctx, access)
	if err != nil {
		return builder.Artifact{}, err
	}
	client := ec2.NewFromConfig(cfg)
	found, err := readyImage(ctx, client, key)
	if err != nil {
		return builder.Artifact{}, s.cloud.Explain(ctx, access, fmt.Errorf("looking for the AMI of an earlier run: %w", err))
	}
	if found == nil {
		kept, err := image.Kept(ctx, s.cloud, access, sc.Plan, sc.Step.Build())
		if err != nil {
			return builder.Artifact{}, err
		}
		found = &kept
	}
	return builder.Artifact{AMI: artifactOf(*found, access, tagOf(found.Tags, tagUser))}, nil
}

func readyImage(ctx context.Context, client *ec2.Client, key builder.Digest) (*types.Image, error) {
	out, err := client.DescribeImages(ctx, &ec2.DescribeImagesInput{Owners: []string{"self"}, IncludeDeprecated: aws.Bool(true), Filters: []types.Filter{
		amazon.Filter("tag:"+amazon.TagKey, string(key)), amazon.Filter("tag:"+amazon.TagState, stateReady), amazon.Filter("state", "available")}})
	if err != nil {
		return nil, err
	}
	// Copies in the same region carry the same tags: the oldest is what was made.
	images := slices.DeleteFunc(out.Images, func(i types.Image) bool { return i.State != types.ImageStateAvailable })
	if len(images) == 0 {
		return nil, nil
	}
	i := slices.MinFunc(images, func(a, b types.Image) int {
		return strings.Compare(aws.ToString(a.CreationDate)+aws.ToString(a.ImageId), aws.ToString(b.CreationDate)+aws.ToString(b.ImageId))
	})
	return &i, nil
}

// accessOf is the access of a build: its own source's, or that of the build
// that it starts from.
func accessOf(p *builder.Plan, name string) (amazon.Access, error) {
	for b, ok := p.Build(name); ok; b, ok = p.Build(b.Base) {
		if len(b.Pin.Config) > 0 {
			_, access, err := readPin(b.Pin)
			return access, err
		}
	}
	return amazon.Access{}, errors.New("the plan does not say in which region the build is made")
}

// Record marks the image as ready: its tests have passed. Its snapshots are
// marked with it.
func (s *Build) Record(ctx context.Context, _ *builder.Scope, key builder.Digest, a builder.Artifact) error {
	if a.AMI == nil {
		return errors.New("there is no AMI to record")
	}
	access, err := amazon.ParseAccess(a.AMI.Access)
	if err != nil {
		return err
	}
	cfg, err := s.cloud.Config(ctx, access)
	if err != nil {
		return err
	}
	tags := []types.Tag{{Key: aws.String(amazon.TagState), Value: aws.String(stateReady)}, {Key: aws.String(amazon.TagKey), Value: aws.String(string(key))}}
	err = settle(ctx, func() error {
		_, err := ec2.NewFromConfig(cfg).CreateTags(ctx, &ec2.CreateTagsInput{Resources: append([]string{a.AMI.ID}, a.AMI.Snapshots...), Tags: tags})
		return err
	}, "InvalidAMIID.NotFound", "InvalidSnapshot.NotFound")
	if err == nil {
		s.cloud.TagFresh(a.AMI.ID, tags)
	}
	return s.cloud.Explain(ctx, access, err)
}
