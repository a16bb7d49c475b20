package ecs_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/applicationautoscaling"
	scaling "github.com/aws/aws-sdk-go-v2/service/applicationautoscaling/types"
	sdk "github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"bake/builder"
	"bake/internal/sandbox/sandboxtest"
	"bake/steps/amazon"
	"bake/steps/amazon/ecs"
)

// client opens the library on the world's cluster.
func (w *world) client() *ecs.Client {
	w.Helper()
	c, err := ecs.Open(w.Context(), w.deps, amazon.Access{Region: w.region}, "prod")
	w.check(err)
	return c
}

func TestAServiceThatScalesByItselfKeepsItsNumber(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.mustDeploy(w.output(w.push("v1", good), ""))
	_, err := applicationautoscaling.NewFromConfig(sandboxtest.Config(w.sandbox, w.region)).RegisterScalableTarget(t.Context(), &applicationautoscaling.RegisterScalableTargetInput{
		ServiceNamespace: scaling.ServiceNamespaceEcs, ScalableDimension: scaling.ScalableDimensionECSServiceDesiredCount, ResourceId: aws.String("service/prod/api"), MinCapacity: aws.Int32(1), MaxCapacity: aws.Int32(5)})
	w.check(err)
	_, err = w.ecs.UpdateService(t.Context(), &sdk.UpdateServiceInput{Cluster: aws.String("prod"), Service: aws.String("api"), DesiredCount: aws.Int32(3)})
	w.check(err)
	w.mustDeploy(w.output(w.push("v2", good), ""))
	if s := w.service("api"); s.DesiredCount != 3 || s.RunningCount != 3 {
		t.Errorf("%d of %d run", s.RunningCount, s.DesiredCount)
	}
	w.mustDeploy(w.output(w.push("v2", good), "override_autoscaling: true\n"))
	if s := w.service("api"); s.DesiredCount != 2 || s.RunningCount != 2 {
		t.Errorf("asked for 2: %d of %d run", s.RunningCount, s.DesiredCount)
	}
}

func TestTasksBehindALoadBalancerAreDeployedAndTheirHealthShown(t *testing.T) {
	t.Parallel()
	w := newPacedWorld(t, 0.03)
	s := w.surroundings()
	serve := "echo ok >index.html; exec busybox httpd -f -p 8080"
	config := func(tag string) string {
		return strings.NewReplacer("subnet-1", s.subnet, "- name: api\n", "- name: api\n      portMappings: [{containerPort: 8080}]\n").Replace(
			w.output(w.push(tag, serve), "load_balancers: [{target_group: '"+s.group+"', port: 8080}]\n"))
	}
	w.mustDeploy(config("v1"))
	_, told, err := w.deploy(config("v2"))
	if err != nil || !strings.Contains(told, "target ") || !strings.Contains(told, ":8080 is ") {
		t.Errorf("the targets' health is not told: %v\n%s", err, told)
	}
	status, err := w.client().Status(t.Context(), "api")
	w.check(err)
	healthy := 0
	for _, h := range status.Targets {
		if h.TargetGroup == "api" && h.State == "healthy" {
			healthy++
		}
	}
	if healthy != 2 {
		t.Errorf("targets: %+v", status.Targets)
	}
}

// TestAnImageThatARegistryHoldsIsDeployed: bake release hands it on; no output
// before pushed it.
func TestAnImageThatARegistryHoldsIsDeployed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	image := w.push("v1", good)
	config := strings.Replace(w.output(image, ""), "image: "+image+"\n", "", 1)
	r := newRun("given")
	p, err := w.doWith(t.Context(), r, config, &builder.Image{ID: "sha256:1", Ref: image})
	if err != nil || !strings.HasPrefix(p.Values["image"], w.registry+"/api@sha256:") {
		t.Fatalf("%v %v\n%s", p.Values, err, r.story)
	}
	r = newRun("built")
	if p, err = w.doWith(t.Context(), r, config, &builder.Image{ID: "sha256:2"}); err == nil || !strings.Contains(r.story.String()+err.Error(), "the image that was built is pushed nowhere") {
		t.Errorf("an image that is pushed nowhere: %v %v\n%s", p.Values, err, r.story)
	}
}

func TestSeveralContainersGetTheirImages(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	two := strings.NewReplacer("- name: api\n", "- name: proxy\n      essential: false\n    - name: api\n", "image: "+w.registry+"/api:v1\n", "images: {api: '"+w.push("v1", good)+"', proxy: '"+w.push("proxy", good)+"'}\n").Replace(w.output(w.registry+"/api:v1", ""))
	w.mustDeploy(two)
	tasks, err := w.client().Tasks(t.Context(), "api")
	w.check(err)
	if len(tasks) != 2 || len(tasks[0].Containers) != 2 {
		t.Fatalf("tasks %+v", tasks)
	}
	for _, c := range tasks[0].Containers {
		if !strings.Contains(c.Image, "@sha256:") {
			t.Errorf("container %s runs %s", c.Name, c.Image)
		}
	}
	if tasks[0].Containers[0].Image == tasks[0].Containers[1].Image {
		t.Error("both run the same image")
	}
}

// The rows of libcloud's driver that have no command of their own above.

func TestTasksOfAnyClusterAndStateAreListedStoppedAndRead(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.mustDeploy(w.output(w.push("v1", good), ""))
	c := w.client()
	tasks, err := c.Tasks(t.Context(), "api")
	w.check(err)
	if len(tasks) != 2 || tasks[0].Status != "RUNNING" || tasks[0].Address == "" || tasks[0].Group != "service:api" {
		t.Fatalf("tasks %+v", tasks)
	}
	w.check(c.Stop(t.Context(), []string{tasks[0].ID[:10]}, "leaks memory"))
	all, err := c.AllTasks(t.Context(), "api")
	w.check(err)
	found := false
	for _, task := range all {
		if task.ID == tasks[0].ID {
			found = task.Status == "STOPPED" && strings.Contains(task.Reason, "leaks memory")
		}
	}
	if !found {
		t.Errorf("the stopped task is not told of: %+v", all)
	}
	var lines []string
	w.check(c.Logs(t.Context(), ecs.LogQuery{Service: "api", Container: "api"}, func(l ecs.LogLine) { lines = append(lines, l.Text) }))
	if len(lines) < 2 || lines[0] != "serving v1" {
		t.Errorf("logs %q", lines)
	}
	if _, err := c.Tasks(t.Context(), "nowhere"); err == nil || err.Error() != "cluster prod has no service nowhere" {
		t.Errorf("tasks of a service that is not there: %v", err)
	}
	if _, err := c.Task(t.Context(), "nothing"); err == nil || !strings.Contains(err.Error(), "cluster prod has no task nothing") {
		t.Errorf("a task that is not there: %v", err)
	}
}

// TestFailuresOfRunTaskAreErrors: libcloud ignores failures[].
func TestFailuresOfRunTaskAreErrors(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, told, err := w.deploy("region: " + w.region + "\ncluster: prod\nlaunch_type: EC2\nverify: {skip: [all]}\nbefore: [{command: [echo, hi]}]\n" +
		"task_definition: {family: batch, containerDefinitions: [{name: batch, image: '" + w.push("v1", good) + "', memory: 64}]}\n")
	if err == nil || !strings.Contains(err.Error(), "container instances") && !strings.Contains(err.Error(), "cannot be placed") {
		t.Errorf("%v\n%s", err, told)
	}
}

func TestAWrongPlatformIsRefusedBeforeAnythingChanges(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, told, err := w.deploy(w.output(w.push("v1", good), "platform: linux/arm64\n"))
	if err == nil || !strings.Contains(err.Error(), "is not made for linux/arm64") || w.revisions("api") != 0 {
		t.Errorf("%v\n%s", err, told)
	}
}

func TestAServiceThatExistsBecomesATemplateThatChangesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.mustDeploy(w.output(w.push("v1", good), ""))
	files, err := w.client().Init(t.Context(), "api", "api.task.json")
	w.check(err)
	for _, want := range []string{"service: api", "cluster: prod", "subnets: [subnet-1]", "task_definition: api.task.json", "circuit_breaker: {enable: true, rollback: true}"} {
		if !strings.Contains(files.Template, want) {
			t.Errorf("%q is not in:\n%s", want, files.Template)
		}
	}
	if !strings.Contains(files.TaskDefinition, `"family": "api"`) || strings.Contains(files.TaskDefinition, "revision") {
		t.Errorf("task definition:\n%s", files.TaskDefinition)
	}
}

func TestDestroyingWaitsAndWhatIsNotThereIsNamed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.mustDeploy(w.output(w.push("v1", good), ""))
	c := w.client()
	if err := c.DestroyCluster(t.Context(), quiet{}, false); err == nil || !strings.Contains(err.Error(), "still has services") {
		t.Errorf("a cluster with services: %v", err)
	}
	w.check(c.DestroyService(t.Context(), "api"))
	running, err := c.Tasks(t.Context(), "", types.DesiredStatusRunning)
	w.check(err)
	if len(running) != 0 {
		t.Errorf("tasks are left: %+v", running)
	}
	w.check(c.DestroyCluster(t.Context(), quiet{}, false))
	_, err = c.Status(t.Context(), "api")
	var hinted interface{ Hint() string }
	if err == nil || !errors.As(err, &hinted) {
		t.Errorf("a service of no cluster: %v", err)
	}
}
