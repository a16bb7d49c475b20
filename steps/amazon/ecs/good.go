package ecs

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsecs "github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"bake/steps/amazon"
)

// record notes on the service that its revision is good, and the template's
// tags, where they differ.
func (d *deployment) record(ctx context.Context, live *types.Service) error {
	if d.out.Wait == 0 || live == nil {
		return nil
	}
	want := map[string]string{tagGood: short(aws.ToString(live.TaskDefinition))}
	if left := d.leftNow(live); left != tagValue(live.Tags, tagLeft) {
		want[tagLeft] = left
	}
	for k, v := range d.out.Tags {
		want[k] = v
	}
	var differ []types.Tag
	for _, t := range tagList(want) {
		if tagValue(live.Tags, *t.Key) != *t.Value {
			differ = append(differ, t)
		}
	}
	if len(differ) == 0 {
		return nil
	}
	_, err := d.ecs.TagResource(ctx, &awsecs.TagResourceInput{ResourceArn: live.ServiceArn, Tags: differ})
	if amazon.IsCode(err, "AccessDeniedException") {
		d.story.Log("the service cannot be tagged, so that a rollback has to look for the last good revision: %v", err)
		return nil
	}
	if err != nil {
		return fmt.Errorf("tagging service %s: %w", d.out.Service, d.explain(ctx, err))
	}
	return nil
}

// leftNow is the list of revisions that rollbacks have left: the one that this
// one has left is added, and the one that runs now is taken out.
func (d *deployment) leftNow(live *types.Service) string {
	const most = 8 // a tag's value holds 256 characters
	now := short(aws.ToString(live.TaskDefinition))
	left := strings.Fields(tagValue(live.Tags, tagLeft))
	if d.out.Revision == "good" && d.runs != nil {
		left = append(left, short(aws.ToString(d.runs.TaskDefinitionArn)))
	}
	left = slices.DeleteFunc(left, func(r string) bool { return r == now })
	return strings.Join(left[max(0, len(left)-most):], " ")
}

// lastGood is the revision to go back to: the one that was deployed
// successfully before the one that the service runs, FAMILY:NUMBER or ARN. It
// is what bake noted on the service, else the newest successful deployment in
// the service's history (90 days).
func (c *Client) lastGood(ctx context.Context, live *types.Service) (string, error) {
	if live == nil {
		return "", fmt.Errorf("there is no service whose last good revision could be looked up")
	}
	now := short(aws.ToString(live.TaskDefinition))
	if good := tagValue(live.Tags, tagGood); good != "" && good != now && c.usable(ctx, good) {
		return good, nil
	}
	history, err := c.successful(ctx, live)
	if err != nil {
		return "", err
	}
	left := strings.Fields(tagValue(live.Tags, tagLeft))
	for _, revision := range history {
		if short(revision) != now && !slices.Contains(left, short(revision)) && c.usable(ctx, revision) {
			return revision, nil
		}
	}
	return "", &missingError{what: fmt.Sprintf("service %s has no other revision that was deployed successfully", aws.ToString(live.ServiceName)),
		hint: "`bake ecs revisions` lists what there is; name one with --revision"}
}

// usable reports whether tasks of a revision can be started.
func (c *Client) usable(ctx context.Context, revision string) bool {
	td, err := c.revision(ctx, revision)
	return err == nil && td.Status == types.TaskDefinitionStatusActive
}

// successful lists the task definitions of the service's successful
// deployments, newest first, each once.
func (c *Client) successful(ctx context.Context, live *types.Service) ([]string, error) {
	out, err := c.ecs.ListServiceDeployments(ctx, &awsecs.ListServiceDeploymentsInput{
		Cluster: live.ClusterArn, Service: live.ServiceArn, Status: []types.ServiceDeploymentStatus{types.ServiceDeploymentStatusSuccessful}})
	if err != nil {
		return nil, fmt.Errorf("deployments of service %s: %w", aws.ToString(live.ServiceName), c.explain(ctx, err))
	}
	slices.SortFunc(out.ServiceDeployments, func(a, b types.ServiceDeploymentBrief) int {
		return cmp.Compare(aws.ToTime(b.CreatedAt).UnixNano(), aws.ToTime(a.CreatedAt).UnixNano())
	})
	var arns []string
	for _, b := range out.ServiceDeployments {
		if arn := aws.ToString(b.TargetServiceRevisionArn); arn != "" && !slices.Contains(arns, arn) {
			arns = append(arns, arn)
		}
	}
	return c.definitionsOf(ctx, arns)
}

// definitionsOf are the task definitions of service revisions, in order
// (DescribeServiceRevisions, 20 at a time).
func (c *Client) definitionsOf(ctx context.Context, revisions []string) ([]string, error) {
	found := map[string]string{}
	for batch := range slices.Chunk(revisions, 20) {
		out, err := c.ecs.DescribeServiceRevisions(ctx, &awsecs.DescribeServiceRevisionsInput{ServiceRevisionArns: batch})
		if err != nil {
			return nil, fmt.Errorf("describing service revisions: %w", c.explain(ctx, err))
		}
		for _, r := range out.ServiceRevisions {
			found[aws.ToString(r.ServiceRevisionArn)] = aws.ToString(r.TaskDefinition)
		}
	}
	var all []string
	for _, r := range revisions {
		if td := found[r]; td != "" && !slices.Contains(all, td) {
			all = append(all, td)
		}
	}
	return all, nil
}
