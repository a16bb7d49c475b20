package ecs

import (
	"cmp"
	"context"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"

	"bake/builder"
	"bake/steps/amazon"
)

// runOnce runs one task and believes its exit code.
func (d *deployment) runOnce(ctx context.Context, o Once, place string) error {
	revision, container := d.arn, cmp.Or(o.Container, d.want.Container)
	if o.Task != "" {
		td, err := d.revision(ctx, o.Task)
		if err != nil {
			return err
		}
		revision = aws.ToString(td.TaskDefinitionArn)
		c, err := containerNamed(definitionOf(td), o.Container)
		if err != nil {
			return err
		}
		container = aws.ToString(c.Name)
	}
	name := cmp.Or(o.Name, place)
	r, err := d.sc.Create(ctx, d.resource(taskKind, place), func(ctx context.Context, r builder.Resource) (string, error) {
		tags := d.tags(map[string]string{amazon.TagToken: r.Token})
		arns, err := d.start(ctx, o.input(d.Cluster, revision, container, r.Token, d.want.placementOf(d.live), tags))
		return strings.Join(arns, ","), err
	})
	if err != nil {
		return err
	}
	d.story.Log("running %s: %s of %s", name, strings.Join(o.Command, " "), short(revision))
	if err := d.awaitTasks(ctx, d.story, name, strings.Split(r.ID, ","), o.Timeout); err != nil {
		return err
	}
	d.story.Log("%s is done", name)
	d.sc.Keep(r)
	return nil
}
