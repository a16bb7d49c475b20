package ecs_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"bake/internal/sandbox/ecs"
)

// web answers on a port with the task's host name and what is in page.
const web = "mkdir -p /www; echo $PAGE $(hostname) >/www/index.html; exec httpd -f -p $PORT -h /www"

func env(pairs ...string) []types.KeyValuePair {
	var all []types.KeyValuePair
	for i := 0; i < len(pairs); i += 2 {
		all = append(all, types.KeyValuePair{Name: &pairs[i], Value: &pairs[i+1]})
	}
	return all
}

func address(t types.Task) string {
	for _, d := range t.Attachments[0].Details {
		if *d.Name == "privateIPv4Address" {
			return *d.Value
		}
	}
	return ""
}

func (w *world) running(arn string) types.Task {
	w.t.Helper()
	w.await("the task to run", func() (bool, string) {
		t := w.task(arn)
		return *t.LastStatus == "RUNNING", *t.LastStatus + " " + aws.ToString(t.StoppedReason) + " " + aws.ToString(t.Containers[0].Reason)
	})
	return w.task(arn)
}

// page gets a URL once it answers.
func (w *world) page(url string) string {
	w.t.Helper()
	var body string
	w.await(url, func() (bool, string) {
		resp, err := http.Get(url)
		if err != nil {
			return false, err.Error()
		}
		defer resp.Body.Close()
		data, err := io.ReadAll(resp.Body)
		body = string(data)
		return err == nil && resp.StatusCode == http.StatusOK, resp.Status
	})
	return body
}

func TestTasksHaveAddressesOfTheirOwnAndTheirContainersShareOne(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ecs.Deps{})
	w.cluster()
	td := w.define("web", w.push("web", "sh", "-c", web), func(in *sdk.RegisterTaskDefinitionInput) {
		in.ContainerDefinitions[0].Environment = env("PORT", "8080", "PAGE", "one")
		in.ContainerDefinitions[0].PortMappings = []types.PortMapping{{ContainerPort: aws.Int32(8080)}}
		in.ContainerDefinitions = append(in.ContainerDefinitions, types.ContainerDefinition{
			Name: aws.String("side"), Image: in.ContainerDefinitions[0].Image, Essential: aws.Bool(false), LogConfiguration: in.ContainerDefinitions[0].LogConfiguration,
			Command: []string{"sh", "-c", "while ! wget -q -O - http://127.0.0.1:8080/; do sleep 0.05; done; sleep 600"}})
	})
	one, two := w.running(w.run(td, nil)), w.running(w.run(td, nil))
	if a, b := address(one), address(two); a == b || !strings.HasPrefix(a, "127.") {
		t.Fatalf("addresses %s and %s", a, b)
	}
	for _, task := range []types.Task{one, two} {
		if got := w.page(fmt.Sprintf("http://%s:8080/", address(task))); !strings.HasPrefix(got, "one ip-127-") {
			t.Errorf("it answers %q", got)
		}
		w.await("the other container to reach it", func() (bool, string) {
			said := w.said("web", "side", *task.TaskArn)
			return strings.Contains(said, "one ip-127-"), said
		})
	}
}

func TestBridgeModeMapsPorts(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ecs.Deps{})
	w.cluster()
	_, err := w.ecs.RegisterContainerInstance(t.Context(), &sdk.RegisterContainerInstanceInput{Cluster: aws.String("prod")})
	w.check(err)
	td := w.define("bridge", w.push("web", "sh", "-c", web), func(in *sdk.RegisterTaskDefinitionInput) {
		in.NetworkMode, in.RequiresCompatibilities = types.NetworkModeBridge, nil
		in.ContainerDefinitions[0].Environment = env("PORT", "8080", "PAGE", "two")
		in.ContainerDefinitions[0].PortMappings = []types.PortMapping{{ContainerPort: aws.Int32(8080)}}
	})
	arn := w.run(td, func(in *sdk.RunTaskInput) { in.LaunchType, in.NetworkConfiguration = types.LaunchTypeEc2, nil })
	bound := w.running(arn).Containers[0].NetworkBindings
	if len(bound) != 1 || *bound[0].ContainerPort != 8080 {
		t.Fatalf("bindings %v", bound)
	}
	if got := w.page(fmt.Sprintf("http://127.0.0.1:%d/", *bound[0].HostPort)); !strings.HasPrefix(got, "two ") {
		t.Errorf("it answers %q", got)
	}
}

func TestWithoutAnInstanceThereIsNoRoom(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ecs.Deps{})
	w.cluster()
	td := w.define("ec2", w.push("v1", "sleep", "60"), func(in *sdk.RegisterTaskDefinitionInput) {
		in.NetworkMode, in.RequiresCompatibilities = types.NetworkModeBridge, nil
	})
	out, err := w.ecs.RunTask(t.Context(), &sdk.RunTaskInput{Cluster: aws.String("prod"), TaskDefinition: &td})
	w.check(err)
	if len(out.Tasks) != 0 || len(out.Failures) != 1 || !strings.Contains(*out.Failures[0].Reason, "No Container Instances") {
		t.Errorf("RunTask answered %d tasks, failures %v", len(out.Tasks), out.Failures)
	}
	w.serve("ec2", td, 1, func(in *sdk.CreateServiceInput) { in.LaunchType, in.NetworkConfiguration = types.LaunchTypeEc2, nil })
	w.await("the event", func() (bool, string) {
		events := w.events("ec2")
		return strings.Contains(events, "was unable to place a task because no container instance met all of its requirements."), events
	})
	_, err = w.ecs.RegisterContainerInstance(t.Context(), &sdk.RegisterContainerInstanceInput{Cluster: aws.String("prod")})
	w.check(err)
	if d := w.deployed("ec2"); d.Status != types.ServiceDeploymentStatusSuccessful {
		t.Errorf("with an instance: %s", d.Status)
	}
}
