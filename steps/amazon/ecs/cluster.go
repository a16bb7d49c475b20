package ecs

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsecs "github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"bake/steps/amazon"
)

// A Cluster is a place for services.
type Cluster struct {
	Name      string            `json:"name"`
	ARN       string            `json:"arn"`
	Status    string            `json:"status"`
	Services  int32             `json:"services"`
	Running   int32             `json:"running"`
	Pending   int32             `json:"pending"`
	Instances int32             `json:"instances"`
	Providers []string          `json:"capacity_providers,omitempty"`
	Tags      map[string]string `json:"tags,omitempty"`
}

// Clusters lists the clusters of the region by name.
func (c *Client) Clusters(ctx context.Context) ([]Cluster, error) {
	var arns []string
	for p := awsecs.NewListClustersPaginator(c.ecs, nil); p.HasMorePages(); {
		page, err := p.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("listing clusters: %w", c.explain(ctx, err))
		}
		arns = append(arns, page.ClusterArns...)
	}
	return c.clusters(ctx, arns)
}

// DescribeCluster returns one cluster.
func (c *Client) DescribeCluster(ctx context.Context) (Cluster, error) {
	all, err := c.clusters(ctx, []string{c.Cluster})
	if err == nil && len(all) == 0 {
		err = c.noCluster(nil)
	}
	if err != nil {
		return Cluster{}, err
	}
	return all[0], nil
}

func (c *Client) clusters(ctx context.Context, names []string) ([]Cluster, error) {
	all := []Cluster{}
	for batch := range slices.Chunk(names, 100) {
		out, err := c.ecs.DescribeClusters(ctx, &awsecs.DescribeClustersInput{Clusters: batch, Include: []types.ClusterField{types.ClusterFieldTags}})
		if err != nil {
			return nil, fmt.Errorf("describing clusters: %w", c.explain(ctx, err))
		}
		for _, k := range out.Clusters {
			if aws.ToString(k.Status) != "INACTIVE" {
				all = append(all, clusterOf(k))
			}
		}
	}
	slices.SortFunc(all, func(a, b Cluster) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

func clusterOf(k types.Cluster) Cluster {
	c := Cluster{Name: aws.ToString(k.ClusterName), ARN: aws.ToString(k.ClusterArn), Status: aws.ToString(k.Status), Services: k.ActiveServicesCount,
		Running: k.RunningTasksCount, Pending: k.PendingTasksCount, Instances: k.RegisteredContainerInstancesCount, Providers: k.CapacityProviders}
	for _, t := range k.Tags {
		if c.Tags == nil {
			c.Tags = map[string]string{}
		}
		c.Tags[aws.ToString(t.Key)] = aws.ToString(t.Value)
	}
	return c
}

// CreateCluster makes the cluster, with Fargate's capacity providers unless
// others are named. A cluster that exists already stays as it is.
func (c *Client) CreateCluster(ctx context.Context, providers []string, tags map[string]string) (Cluster, error) {
	if len(providers) == 0 {
		providers = []string{"FARGATE", "FARGATE_SPOT"}
	}
	out, err := c.ecs.CreateCluster(ctx, &awsecs.CreateClusterInput{ClusterName: &c.Cluster, CapacityProviders: providers, Tags: tagList(tags)})
	if err != nil {
		return Cluster{}, fmt.Errorf("making cluster %s: %w", c.Cluster, c.explain(ctx, err))
	}
	return clusterOf(*out.Cluster), nil
}

// DestroyCluster deletes the cluster and waits until it is INACTIVE. With
// services in it, it is refused, unless they shall be deleted too.
func (c *Client) DestroyCluster(ctx context.Context, story Story, services bool) error {
	if services {
		all, err := c.Services(ctx)
		if err != nil {
			return err
		}
		for _, s := range all {
			story.Log("deleting service %s", s.Service)
			if err := c.DestroyService(ctx, s.Service); err != nil {
				return err
			}
		}
	}
	_, err := c.ecs.DeleteCluster(ctx, &awsecs.DeleteClusterInput{Cluster: &c.Cluster})
	switch {
	case amazon.IsCode(err, "ClusterNotFoundException"):
		return c.noCluster(err)
	case amazon.IsCode(err, "ClusterContainsServicesException"):
		return &missingError{what: fmt.Sprintf("cluster %s still has services", short(c.Cluster)), hint: "with --services they are deleted too", err: err}
	case amazon.IsCode(err, "ClusterContainsTasksException"):
		return &missingError{what: fmt.Sprintf("cluster %s still runs tasks", short(c.Cluster)), hint: "`bake ecs tasks stop` stops them", err: err}
	case err != nil:
		return fmt.Errorf("deleting cluster %s: %w", short(c.Cluster), c.explain(ctx, err))
	}
	for {
		left, err := c.clusters(ctx, []string{c.Cluster})
		if err != nil || len(left) == 0 {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(period):
		}
	}
}

// Services lists the services of the cluster by name.
func (c *Client) Services(ctx context.Context) ([]Status, error) {
	var arns []string
	for p := awsecs.NewListServicesPaginator(c.ecs, &awsecs.ListServicesInput{Cluster: &c.Cluster, MaxResults: aws.Int32(100)}); p.HasMorePages(); {
		page, err := p.NextPage(ctx)
		if amazon.IsCode(err, "ClusterNotFoundException") {
			return nil, c.noCluster(err)
		}
		if err != nil {
			return nil, fmt.Errorf("services of cluster %s: %w", short(c.Cluster), c.explain(ctx, err))
		}
		arns = append(arns, page.ServiceArns...)
	}
	all := []Status{}
	for batch := range slices.Chunk(arns, 10) { // as many as DescribeServices takes
		out, err := c.ecs.DescribeServices(ctx, &awsecs.DescribeServicesInput{Cluster: &c.Cluster, Services: batch, Include: []types.ServiceField{types.ServiceFieldTags}})
		if err != nil {
			return nil, fmt.Errorf("services of cluster %s: %w", short(c.Cluster), c.explain(ctx, err))
		}
		for _, s := range out.Services {
			all = append(all, c.statusOf(&s))
		}
	}
	slices.SortFunc(all, func(a, b Status) int { return strings.Compare(a.Service, b.Service) })
	return all, nil
}

// DestroyService deletes a service with its tasks and waits until they have stopped.
func (c *Client) DestroyService(ctx context.Context, name string) error {
	live, err := c.mustService(ctx, name)
	if err != nil {
		return err
	}
	return c.deleteService(ctx, live)
}
