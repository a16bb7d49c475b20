package ecs_test

import (
	"testing"

	"bake/steps/amazon/ecs"
	"bake/steps/amazon/permit/permittest"
	"bake/templates"
)

func TestAServiceIsMadeDeployedAndTakenBackUnderThePolicyThatIsPrinted(t *testing.T) {
	w := newWorld(t)
	more := patient + "before: [{command: [echo, migrated]}]\n"
	one, two, three := w.output(w.push("v1", good), more), w.output(w.push("v2", good), more), checked(w.output(w.push("v3", bad), more))
	out := ecs.Outputs(w.deps)["ecs"]()
	block, diags := templates.ReadBlock("output", []byte(one))
	if err := diags.Err(); err != nil {
		t.Fatal(err)
	}
	if err := templates.Decode(block, out).Err(); err != nil {
		t.Fatal(err)
	}
	doc := permittest.Document("api", out)
	w.deps.Cloud = permittest.Limit(t, w.sandbox, doc)
	w.mustDeploy(one)
	w.mustDeploy(two)
	_, told, err := w.deploy(three)
	w.wantOutcome(err, told, ecs.RolledBack)
	permittest.Covers(t, w.sandbox, doc)
	permittest.Needed(t, w.sandbox, doc, map[string]string{
		"secretsmanager:DescribeSecret":             "secrets of a definition",
		"secretsmanager:GetSecretValue":             "secrets of a definition, with a key",
		"ssm:GetParameter":                          "parameters of a definition",
		"elasticloadbalancing:DescribeTargetGroups": "a service with load balancers",
		"elasticloadbalancing:DescribeTargetHealth": "a service with load balancers",
		"ec2:DescribeSubnets":                       "the network's check, which this test leaves out",
		"ec2:DescribeSecurityGroups":                "the network's check, which this test leaves out",
		"ecs:DescribeServiceDeployments":            "strategies other than rolling",
		"ecs:DescribeServiceRevisions":              "strategies other than rolling",
		"ecs:DeleteService":                         "a new service that does not come up",
		"ecs:StopTask":                              "a task that runs longer than it may",
	})
}
