package ecs_test

import (
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/ecs"

	"bake/internal/sandbox/api"
	"bake/internal/sandbox/ecs"
)

func TestAServiceComesBackAfterARestart(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ecs.Deps{})
	w.cluster()
	w.serve("web", w.define("web", w.push("v1", "sleep", "600"), nil), 1, nil)
	w.deployed("web")
	data, err := w.control.Save()
	w.check(err)
	again, err := ecs.New(&api.World{Dir: t.TempDir(), Account: "123456789012", Now: time.Now}, ecs.Deps{})
	w.check(err)
	defer again.Close()
	w.check(again.Load(data))
	w.ecs = w.client(again)
	w.await("a new task", func() (bool, string) { return w.service("web").RunningCount == 1, w.events("web") })
	stopped, err := w.ecs.ListTasks(t.Context(), &sdk.ListTasksInput{Cluster: aws.String("prod"), DesiredStatus: "STOPPED"})
	w.check(err)
	if len(stopped.TaskArns) != 1 {
		t.Errorf("%d tasks are told to have stopped, want the one of before", len(stopped.TaskArns))
	}
}
