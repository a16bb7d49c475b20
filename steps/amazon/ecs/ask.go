package ecs

import (
	"context"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	awsecs "github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"bake/steps/amazon"
)

// describeService returns a service by name or ARN; nil if there is none, or
// only one that was deleted. A missing cluster is an error.
func (c *Client) describeService(ctx context.Context, name string) (*types.Service, error) {
	out, err := c.ecs.DescribeServices(ctx, &awsecs.DescribeServicesInput{Cluster: &c.Cluster, Services: []string{name}, Include: []types.ServiceField{types.ServiceFieldTags}})
	if amazon.IsCode(err, "ClusterNotFoundException") {
		return nil, c.noCluster(err)
	}
	if err != nil {
		return nil, fmt.Errorf("service %s: %w", short(name), c.explain(ctx, err))
	}
	for _, s := range out.Services {
		if aws.ToString(s.Status) != "INACTIVE" {
			return &s, nil
		}
	}
	return nil, nil
}

// mustService is describeService for a service that has to be there.
func (c *Client) mustService(ctx context.Context, name string) (*types.Service, error) {
	s, err := c.describeService(ctx, name)
	if err == nil && s == nil {
		err = c.noService(name, nil)
	}
	return s, err
}

func (c *Client) noService(name string, err error) error {
	return &missingError{what: fmt.Sprintf("cluster %s has no service %s", short(c.Cluster), short(name)), hint: fmt.Sprintf("`bake ecs services --cluster %s` lists them", short(c.Cluster)), err: err}
}

func (c *Client) noCluster(err error) error {
	return &missingError{what: fmt.Sprintf("there is no cluster %s in %s", short(c.Cluster), c.cfg.Region), hint: "`bake ecs clusters` lists them, `bake ecs clusters create NAME` makes one", err: err}
}

// A missingError is something that the user named and that does not exist.
type missingError struct {
	what, hint string
	err        error
}

func (e *missingError) Error() string { return e.what }
func (e *missingError) Unwrap() error { return e.err }
func (e *missingError) Hint() string  { return e.hint }

// defaultSubnets puts the subnets of the default VPC, one in each availability
// zone, in the place of the word default.
func (c *Client) defaultSubnets(ctx context.Context, n *Network) (*Network, error) {
	if n == nil || len(n.Subnets) != 1 || n.Subnets[0] != "default" {
		return n, nil
	}
	out, err := c.ec2.DescribeSubnets(ctx, &ec2.DescribeSubnetsInput{Filters: []ec2types.Filter{amazon.Filter("default-for-az", "true")}})
	if err != nil {
		return nil, fmt.Errorf("subnets of the default VPC: %w", c.explain(ctx, err))
	}
	if len(out.Subnets) == 0 {
		return nil, &missingError{what: "there is no default VPC in " + c.cfg.Region, hint: "name subnets in `network: {subnets: [...]}`"}
	}
	found := *n
	found.Subnets = nil
	for _, s := range out.Subnets {
		found.Subnets = append(found.Subnets, aws.ToString(s.SubnetId))
	}
	slices.Sort(found.Subnets)
	return &found, nil
}

// taskARNs lists the tasks of a service, or of the cluster if service is
// empty, that shall be RUNNING or STOPPED (ListTasks, all pages).
func (c *Client) taskARNs(ctx context.Context, service string, status types.DesiredStatus) ([]string, error) {
	in := &awsecs.ListTasksInput{Cluster: &c.Cluster, DesiredStatus: status, ServiceName: text(service)}
	var arns []string
	for p := awsecs.NewListTasksPaginator(c.ecs, in); p.HasMorePages(); {
		page, err := p.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		arns = append(arns, page.TaskArns...)
	}
	return arns, nil
}

// describeTasks describes tasks of the cluster, 100 at a time.
func (c *Client) describeTasks(ctx context.Context, arns []string) ([]types.Task, error) {
	var all []types.Task
	for len(arns) > 0 {
		n := min(len(arns), 100)
		out, err := c.ecs.DescribeTasks(ctx, &awsecs.DescribeTasksInput{Cluster: &c.Cluster, Tasks: arns[:n], Include: []types.TaskField{types.TaskFieldTags}})
		if err != nil {
			return nil, fmt.Errorf("describing tasks: %w", c.explain(ctx, err))
		}
		all, arns = append(all, out.Tasks...), arns[n:]
	}
	return all, nil
}

// imagesOf are the images of a revision, by container; nil if it cannot be described.
func (c *Client) imagesOf(ctx context.Context, revision string) map[string]string {
	td, err := c.revision(ctx, revision)
	if err != nil {
		return nil
	}
	images := map[string]string{}
	for _, cd := range td.ContainerDefinitions {
		images[aws.ToString(cd.Name)] = aws.ToString(cd.Image)
	}
	return images
}
