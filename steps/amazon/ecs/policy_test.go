package ecs_test

import (
	"slices"
	"testing"

	"bake/steps/amazon/ecs"
	"bake/steps/amazon/permit/permittest"
)

func TestThePolicyGrowsWithTasksAndTheDefaultRole(t *testing.T) {
	plain := &ecs.Output{Cluster: "prod", Service: "api"}
	full := &ecs.Output{Cluster: "prod", Service: "api", ExecRole: "default", Before: []ecs.Once{{Command: []string{"migrate"}}}}
	base := permittest.Document("web", plain).Actions()
	more := slices.DeleteFunc(permittest.Document("web", full).Actions(), func(a string) bool { return slices.Contains(base, a) })
	if want := []string{"ecs:RunTask", "ecs:StopTask", "iam:AttachRolePolicy", "iam:CreateRole"}; !slices.Equal(more, want) {
		t.Errorf("%v, want %v", more, want)
	}
}
