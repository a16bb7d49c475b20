package ecs

import (
	"slices"
	"strconv"
	"strings"

	"bake/internal/lazyregexp"
	"bake/internal/sandbox/api"
	"bake/internal/sandbox/ecs/wire"
	"bake/internal/sandbox/epoch"
)

func (c *T) registerTaskDefinition(call *api.Call, r *region, in *wire.RegisterTaskDefinitionInput) (*wire.RegisterTaskDefinitionOutput, error) {
	if err := checkTaskDefinition(in); err != nil {
		return nil, err
	}
	f := r.Families[in.Family]
	if f == nil {
		f = &family{Revisions: map[int32]*revision{}}
		r.Families[in.Family] = f
	}
	f.Last++ // a number is never used again, not even after it was deleted
	td := fillTaskDefinition(in)
	td.Family, td.Revision, td.Status = in.Family, f.Last, "ACTIVE"
	td.TaskDefinitionArn = r.arn("task-definition/" + in.Family + ":" + strconv.Itoa(int(f.Last)))
	td.RegisteredAt, td.RegisteredBy = epoch.At(c.now()), call.Caller
	if td.RegisteredBy == "" {
		td.RegisteredBy = "arn:aws:iam::" + call.Account + ":root"
	}
	rev := &revision{TaskDefinition: td, Tags: orEmpty(in.Tags)}
	f.Revisions[f.Last] = rev
	return &wire.RegisterTaskDefinitionOutput{TaskDefinition: &rev.TaskDefinition, Tags: rev.Tags}, nil
}

// taskDefinition finds a revision by "family", "family:revision" or ARN; the
// family alone is its newest that is ACTIVE.
func (r *region) taskDefinition(name string) (*revision, error) {
	notFound := api.Errorf("ClientException", "Unable to describe task definition.")
	name = strings.TrimPrefix(name, r.arn("task-definition/"))
	if name == "" {
		return nil, api.Errorf("InvalidParameterException", "Task definition must be specified.")
	}
	if strings.HasPrefix(name, "arn:") {
		return nil, notFound
	}
	fam, number, hasNumber := strings.Cut(name, ":")
	f := r.Families[fam]
	if f == nil {
		return nil, notFound
	}
	if hasNumber {
		n, err := strconv.ParseInt(number, 10, 32)
		if err != nil {
			return nil, api.Errorf("ClientException", "Invalid revision number. Number: %s", number)
		}
		if rev := f.Revisions[int32(n)]; rev != nil {
			return rev, nil
		}
		return nil, notFound
	}
	var newest *revision
	for _, rev := range f.Revisions {
		if rev.Status == "ACTIVE" && (newest == nil || rev.Revision > newest.Revision) {
			newest = rev
		}
	}
	if newest == nil {
		return nil, notFound
	}
	return newest, nil
}

// runnable finds a revision that new tasks and services may use.
func (r *region) runnable(name string) (*revision, error) {
	rev, err := r.taskDefinition(name)
	if err != nil {
		return nil, api.Errorf("ClientException", "TaskDefinition not found.")
	}
	if rev.Status != "ACTIVE" {
		return nil, api.Errorf("ClientException", "TaskDefinition is inactive")
	}
	return rev, nil
}

func (c *T) describeTaskDefinition(call *api.Call, r *region, in *wire.DescribeTaskDefinitionInput) (*wire.DescribeTaskDefinitionOutput, error) {
	rev, err := r.taskDefinition(in.TaskDefinition)
	if err != nil {
		return nil, err
	}
	if call.Hidden(rev.TaskDefinitionArn) {
		return nil, api.Errorf("ClientException", "Unable to describe task definition.")
	}
	out := &wire.DescribeTaskDefinitionOutput{TaskDefinition: &rev.TaskDefinition}
	if slices.Contains(in.Include, "TAGS") {
		out.Tags = orEmpty(rev.Tags)
	}
	return out, nil
}

func (c *T) deregisterTaskDefinition(call *api.Call, r *region, in *wire.DeregisterTaskDefinitionInput) (*wire.DeregisterTaskDefinitionOutput, error) {
	if in.TaskDefinition == "" || !strings.Contains(strings.TrimPrefix(in.TaskDefinition, r.arn("")), ":") {
		return nil, api.Errorf("ClientException", "The revision of the task definition must be specified.")
	}
	rev, err := r.taskDefinition(in.TaskDefinition)
	if err != nil {
		return nil, api.Errorf("ClientException", "The specified task definition does not exist. Specify a valid account, family, revision and try again.")
	}
	if rev.Status == "ACTIVE" {
		rev.Status, rev.DeregisteredAt = "INACTIVE", epoch.At(c.now())
	}
	return &wire.DeregisterTaskDefinitionOutput{TaskDefinition: &rev.TaskDefinition}, nil
}

func (c *T) deleteTaskDefinitions(call *api.Call, r *region, in *wire.DeleteTaskDefinitionsInput) (*wire.DeleteTaskDefinitionsOutput, error) {
	if len(in.TaskDefinitions) == 0 || len(in.TaskDefinitions) > 10 {
		return nil, api.Errorf("InvalidParameterException", "You can specify up to 10 task definitions.")
	}
	out := &wire.DeleteTaskDefinitionsOutput{TaskDefinitions: []wire.TaskDefinition{}, Failures: []wire.Failure{}}
	for _, name := range in.TaskDefinitions {
		rev, err := r.taskDefinition(name)
		if err != nil {
			out.Failures = append(out.Failures, wire.Failure{Arn: name, Reason: "TASK_DEFINITION_NOT_FOUND"})
			continue
		}
		if rev.Status == "ACTIVE" {
			out.Failures = append(out.Failures, wire.Failure{Arn: rev.TaskDefinitionArn, Reason: "TASK_DEFINITION_ACTIVE", Detail: "The specified task definition is still in ACTIVE status. Please deregister the target and try again."})
			continue
		}
		rev.Status, rev.DeleteRequestedAt = "DELETE_IN_PROGRESS", epoch.At(c.now())
		out.TaskDefinitions = append(out.TaskDefinitions, rev.TaskDefinition)
		if !r.inUse(rev.TaskDefinitionArn) {
			delete(r.Families[rev.Family].Revisions, rev.Revision)
		}
	}
	return out, nil
}

// inUse reports whether a task or a service's deployment refers to a revision.
func (r *region) inUse(arn string) bool {
	for _, cl := range r.Clusters {
		for _, t := range cl.Tasks {
			if t.TaskDefinitionArn == arn && t.phase() != phaseStopped {
				return true
			}
		}
		for _, s := range cl.Services {
			if s.Status != "INACTIVE" && slices.ContainsFunc(s.Rollouts, func(d *rollout) bool { return d.TaskDefinition == arn }) {
				return true
			}
		}
	}
	return false
}

func (c *T) listTaskDefinitions(call *api.Call, r *region, in *wire.ListTaskDefinitionsInput) (*wire.ListTaskDefinitionsOutput, error) {
	status := in.Status
	if status == "" {
		status = "ACTIVE"
	}
	var found []*revision
	for name, f := range r.Families {
		if in.FamilyPrefix != "" && name != in.FamilyPrefix { // whole names only, whatever the member is called
			continue
		}
		for _, rev := range f.Revisions {
			if rev.Status == status && !call.Hidden(rev.TaskDefinitionArn) {
				found = append(found, rev)
			}
		}
	}
	slices.SortFunc(found, func(a, b *revision) int {
		order := strings.Compare(a.Family, b.Family)
		if order == 0 {
			order = int(a.Revision - b.Revision)
		}
		if in.Sort == "DESC" {
			return -order
		}
		return order
	})
	arns := make([]string, len(found))
	for i, rev := range found {
		arns[i] = rev.TaskDefinitionArn
	}
	part, next, err := page(arns, in.MaxResults, in.NextToken)
	return &wire.ListTaskDefinitionsOutput{TaskDefinitionArns: part, NextToken: next}, err
}

func (c *T) listTaskDefinitionFamilies(call *api.Call, r *region, in *wire.ListTaskDefinitionFamiliesInput) (*wire.ListTaskDefinitionFamiliesOutput, error) {
	var names []string
	for name, f := range r.Families {
		active := false
		for _, rev := range f.Revisions {
			active = active || rev.Status == "ACTIVE"
		}
		want := in.Status == "ALL" || in.Status == "INACTIVE" && !active || (in.Status == "ACTIVE" || in.Status == "") && active
		if want && strings.HasPrefix(name, in.FamilyPrefix) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	part, next, err := page(names, in.MaxResults, in.NextToken)
	return &wire.ListTaskDefinitionFamiliesOutput{Families: part, NextToken: next}, err
}

var familyName = lazyregexp.New(`^[A-Za-z0-9_-]{1,255}$`)
