package ecs

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsecs "github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"bake/steps/amazon"
)

// Tags of what this package makes, besides those of package amazon.
const (
	tagHash = "bake:hash" // on revisions: hash of the normalised definition
	tagLeft = "bake:left" // on services: revisions that a rollback has left, which no later one goes back to
	tagGood = "bake:good" // on services: the last revision that was deployed successfully, FAMILY:NUMBER
)

// clone copies a definition so deep that changes of the copy's containers do
// not reach the original.
func clone(d *Definition) *Definition {
	out := *d
	out.ContainerDefinitions = slices.Clone(d.ContainerDefinitions)
	out.Tags = slices.Clone(d.Tags)
	return &out
}

// register returns the ARN of a revision that says what def says: one that is
// there already (the service's own, or the newest of the family), or a new one.
// RegisterTaskDefinition takes no client token: it is sent once, and after a
// lost answer the newest revision is looked at before it is sent again.
func (c *Client) register(ctx context.Context, def *Definition, live *types.TaskDefinition, tags map[string]string) (arn string, made bool, err error) {
	family := aws.ToString(def.Family)
	if live != nil && aws.ToString(live.Family) == family && live.Status == types.TaskDefinitionStatusActive && identical(definitionOf(live), def) {
		return aws.ToString(live.TaskDefinitionArn), false, nil
	}
	const attempts = 5
	for n := 1; ; n++ {
		newest, err := c.newest(ctx, family)
		if err != nil {
			return "", false, err
		}
		if newest != nil && identical(definitionOf(newest), def) {
			return aws.ToString(newest.TaskDefinitionArn), n > 1, nil
		}
		in := clone(def)
		in.Tags = tagList(tags, map[string]string{tagHash: hash(def)})
		out, err := c.ecs.RegisterTaskDefinition(ctx, in, once)
		if err == nil {
			return aws.ToString(out.TaskDefinition.TaskDefinitionArn), true, nil
		}
		if n == attempts || ctx.Err() != nil || !amazon.IsUnsure(err) {
			return "", false, fmt.Errorf("registering task definition %s: %w", family, c.explain(ctx, err))
		}
		pause(ctx, n)
	}
}

// pause waits longer after each failed attempt.
func pause(ctx context.Context, attempt int) {
	select {
	case <-ctx.Done():
	case <-time.After(time.Duration(attempt) * 300 * time.Millisecond):
	}
}

// newest is the newest active revision of a family; nil if there is none.
func (c *Client) newest(ctx context.Context, family string) (*types.TaskDefinition, error) {
	out, err := c.ecs.DescribeTaskDefinition(ctx, &awsecs.DescribeTaskDefinitionInput{TaskDefinition: &family})
	if amazon.IsCode(err, "ClientException") { // AWS's word for "there is no such family"
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("task definition %s: %w", family, c.explain(ctx, err))
	}
	return out.TaskDefinition, nil
}

// tagList makes AWS's list of tags; later maps win.
func tagList(all ...map[string]string) []types.Tag {
	merged := map[string]string{}
	for _, m := range all {
		maps.Copy(merged, m)
	}
	var out []types.Tag
	for _, k := range slices.Sorted(maps.Keys(merged)) {
		out = append(out, types.Tag{Key: aws.String(k), Value: aws.String(merged[k])})
	}
	return out
}

func tagValue(tags []types.Tag, key string) string {
	for _, t := range tags {
		if aws.ToString(t.Key) == key {
			return aws.ToString(t.Value)
		}
	}
	return ""
}
