package ecs_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bake/internal/need"
	"bake/internal/registrytest"
	"bake/internal/sandbox/sandboxtest"
)

// TestTheAWSCLIDrivesAll goes the way of a release by hand: role, cluster,
// definition, service, a broken version that is rolled back, a task, its logs.
func TestTheAWSCLIDrivesAll(t *testing.T) {
	t.Parallel()
	need.Root(t)
	s := sandboxtest.Start(t)
	aws := func(args ...string) string {
		t.Helper()
		return sandboxtest.CLI(t, s, "eu-west-1", args...)
	}
	images := &world{t: t, registry: registrytest.Memory(t), base: registrytest.Busybox(t, applets)}
	file := func(name, text string) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return "file://" + path
	}
	trust := file("trust.json", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ecs-tasks.amazonaws.com"},"Action":"sts:AssumeRole"}]}`)
	aws("iam", "create-role", "--role-name", "exec", "--assume-role-policy-document", trust)
	aws("logs", "create-log-group", "--log-group-name", "/ecs/web")
	aws("ecs", "create-cluster", "--cluster-name", "prod")
	register := func(image, command string) {
		t.Helper()
		def := map[string]any{"family": "web", "networkMode": "awsvpc", "cpu": "256", "memory": "512", "requiresCompatibilities": []string{"FARGATE"},
			"executionRoleArn": "arn:aws:iam::" + sandboxtest.Account + ":role/exec",
			"containerDefinitions": []any{map[string]any{"name": "app", "image": image, "command": []string{"sh", "-c", command},
				"logConfiguration": map[string]any{"logDriver": "awslogs", "options": map[string]string{"awslogs-group": "/ecs/web", "awslogs-region": "eu-west-1", "awslogs-stream-prefix": "ecs"}}}}}
		data, err := json.Marshal(def)
		if err != nil {
			t.Fatal(err)
		}
		aws("ecs", "register-task-definition", "--cli-input-json", file("td.json", string(data)))
	}
	// until asks by itself before a waiter of the CLI does, which sleeps for
	// many seconds if its first look is too early.
	until := func(want string, args ...string) {
		t.Helper()
		images.await(want, func() (bool, string) {
			out := aws(args...)
			return strings.Contains(out, want), out
		})
	}
	describe := []string{"ecs", "describe-services", "--cluster", "prod", "--services", "web"}
	image := images.push("v1", "true")
	register(image, "echo serving; sleep 600")
	const vpc = "awsvpcConfiguration={subnets=[subnet-1]}"
	aws("ecs", "create-service", "--cluster", "prod", "--service-name", "web", "--task-definition", "web", "--desired-count", "1", "--launch-type", "FARGATE",
		"--network-configuration", vpc, "--deployment-configuration", "deploymentCircuitBreaker={enable=true,rollback=true}")
	until("steady state", describe...)
	aws("ecs", "wait", "services-stable", "--cluster", "prod", "--services", "web")
	register(image, "echo cannot reach the database; exit 9")
	aws("ecs", "update-service", "--cluster", "prod", "--service", "web", "--task-definition", "web:2")
	until("rolling back to deployment", describe...)
	until(`"rolloutState": "COMPLETED"`, describe...)
	aws("ecs", "wait", "services-stable", "--cluster", "prod", "--services", "web") // on the old revision: why this waiter lies
	if out := aws("ecs", "describe-services", "--cluster", "prod", "--services", "web", "--query", "services[0].taskDefinition"); !strings.Contains(out, "web:1") {
		t.Errorf("what serves now: %s", out)
	}
	if out := aws("logs", "filter-log-events", "--log-group-name", "/ecs/web", "--filter-pattern", "database"); strings.Count(out, "cannot reach the database") < 3 {
		t.Errorf("the log of the failed tasks: %s", out)
	}

	var run struct{ Tasks []struct{ TaskArn string } }
	if err := json.Unmarshal([]byte(aws("ecs", "run-task", "--cluster", "prod", "--task-definition", "web:1", "--launch-type", "FARGATE", "--network-configuration", vpc)), &run); err != nil {
		t.Fatal(err)
	}
	arn := run.Tasks[0].TaskArn
	until(`"lastStatus": "RUNNING"`, "ecs", "describe-tasks", "--cluster", "prod", "--tasks", arn)
	aws("ecs", "wait", "tasks-running", "--cluster", "prod", "--tasks", arn)
	stream := "ecs/app/" + arn[strings.LastIndex(arn, "/")+1:]
	until("serving", "logs", "get-log-events", "--log-group-name", "/ecs/web", "--log-stream-name", stream)
	aws("ecs", "stop-task", "--cluster", "prod", "--task", arn, "--reason", "seen enough")
	until(`"stoppedAt"`, "ecs", "describe-tasks", "--cluster", "prod", "--tasks", arn)
	aws("ecs", "wait", "tasks-stopped", "--cluster", "prod", "--tasks", arn)
	if out := aws("ecs", "describe-tasks", "--cluster", "prod", "--tasks", arn); !strings.Contains(out, "seen enough") || !strings.Contains(out, `"exitCode": 143`) {
		t.Errorf("the stopped task: %s", out)
	}
	aws("ecs", "delete-service", "--cluster", "prod", "--service", "web", "--force")
	until("INACTIVE", describe...)
	aws("ecs", "wait", "services-inactive", "--cluster", "prod", "--services", "web")
	aws("ecs", "delete-cluster", "--cluster", "prod")
}
