package ecs

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// A Preview is what a deployment would change.
type Preview struct {
	Cluster string       `json:"cluster"`
	Service string       `json:"service"`
	New     bool         `json:"new,omitempty"` // the service would be made
	Task    []Difference `json:"task_definition,omitempty"`
	Fields  []Difference `json:"fields,omitempty"` // of the service
}

// Empty reports whether the deployment would change nothing.
func (p Preview) Empty() bool { return !p.New && len(p.Task)+len(p.Fields) == 0 }

// Preview compares what the output wants with what there is. It reads only.
// outputs is what earlier outputs published; story is told what could not be
// looked at.
func (o *Output) Preview(ctx context.Context, story Story, outputs map[string]map[string]string) (Preview, error) {
	d, err := o.look(ctx, story, outputs)
	if err != nil {
		return Preview{}, err
	}
	p := Preview{Cluster: short(d.Cluster), Service: o.Service, New: d.live == nil}
	running := new(Definition)
	if d.runs != nil {
		running = definitionOf(d.runs)
	}
	p.Task = differences(running, d.def)
	if d.live == nil {
		return p, nil
	}
	keep := d.want.Desired != nil && !o.Override && d.scales(ctx, o.Service)
	revision := aws.ToString(d.live.TaskDefinition)
	if d.as != "" {
		revision = d.as
	}
	p.Fields = d.want.update(d.live, revision, keep).Changes
	return p, nil
}

func (o *Output) look(ctx context.Context, story Story, outputs map[string]map[string]string) (*deployment, error) {
	d, err := o.begin(ctx, story)
	if err != nil {
		return nil, err
	}
	return d, d.prepare(ctx, outputs)
}

// Verify looks at everything that the deployment needs. It reads only.
func (o *Output) Verify(ctx context.Context, story Story, outputs map[string]map[string]string) ([]Check, error) {
	d, err := o.look(ctx, story, outputs)
	if err != nil {
		return nil, err
	}
	return d.checks(ctx)
}

// Render returns the calls that the deployment would make, in AWS's words: the
// task definition that would be registered, and the service as it would be made.
func (o *Output) Render(ctx context.Context, story Story, outputs map[string]map[string]string) (map[string]any, error) {
	d, err := o.look(ctx, story, outputs)
	if err != nil {
		return nil, err
	}
	out := map[string]any{"taskDefinition": tree(*d.def)}
	if o.Service != "" {
		in := d.want.creation(o.Service, d.Cluster, aws.ToString(d.def.Family))
		out["service"] = tree(*in)
	}
	return out, nil
}

// Definition is a task definition in AWS's words, as it was registered.
func (c *Client) Definition(ctx context.Context, name string) (any, error) {
	td, err := c.revision(ctx, name)
	if err != nil {
		return nil, err
	}
	return tree(*definitionOf(td)), nil
}
