package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"bake/internal/sandbox/api"
	"bake/internal/sandbox/sandboxtest"
)

const killTemplate = `
name: NAME
source: {scratch: true}
variables: {image: {}}
outputs:
  - ecs:
      cluster: prod
      service: NAME
      image: ${{ var.image }}
      desired_count: 1
      launch_type: FARGATE
      network: {subnets: [subnet-1]}
      verify: {skip: [network]}
      before: BEFORE
      task_definition:
        family: NAME
        requiresCompatibilities: [FARGATE]
        networkMode: awsvpc
        cpu: "256"
        memory: "512"
        containerDefinitions: [{name: api}]
`

// A killer kills bakes at one of their calls to AWS. They are told apart by
// their access keys, and not by their regions: who pushes to or pulls from a
// registry on this machine asks every region whether it is its own.
type killer struct {
	mu sync.Mutex
	at map[string]*victim // by access key
}

type victim struct {
	process *os.Process
	call    int  // the how manyeth
	after   bool // when it has been carried out, before the answer is sent
	seen    [2]int
}

// onCall counts the calls of each victim, and kills.
func (k *killer) onCall(c *api.Call, _ int, done bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	v := k.at[c.AccessKey]
	if v == nil {
		return
	}
	i := 0
	if done {
		i = 1
	}
	v.seen[i]++
	if v.after == done && v.seen[i] == v.call && v.process != nil {
		_ = v.process.Signal(syscall.SIGKILL)
	}
}

// TestKillAtEveryCallOfADeploy kills bake before and after each call of a
// deployment with a migration. Then the run is resumed, or cleaned and done
// again, in turn: the service runs the new revision, nothing was made twice
// and no task is left over.
func TestKillAtEveryCallOfADeploy(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("takes a minute")
	}
	w := newECSWorld(t)
	k := &killer{at: map[string]*victim{}}
	w.sandbox.Faults.OnCall(k.onCall)
	regions := w.sandbox.World.Regions[:8]
	for _, region := range regions {
		_, err := w.client(region).CreateCluster(t.Context(), &sdk.CreateClusterInput{ClusterName: aws.String("prod")})
		if err != nil {
			t.Fatal(err)
		}
	}
	whole := killCase{ecsWorld: w, killer: k, region: regions[0], name: "whole"}
	whole.run(0, false)
	calls := k.at[whole.name].seen[0]
	t.Logf("a deployment makes %d calls", calls)
	if calls < 15 {
		t.Fatalf("only %d calls", calls)
	}
	queue := make(chan killCase, 2*calls)
	for n := 1; n <= calls; n++ {
		queue <- killCase{ecsWorld: w, killer: k, call: n}
		queue <- killCase{ecsWorld: w, killer: k, call: n, after: true}
	}
	close(queue)
	var workers sync.WaitGroup
	for _, region := range regions {
		workers.Go(func() {
			for c := range queue {
				c.region, c.name = region, fmt.Sprintf("killed-%d-%t", c.call, c.after)
				c.run(c.call, c.after)
			}
		})
	}
	workers.Wait()
}

// TestOnlyTheVictimsOwnCallsKillIt deploys in one region while a victim waits
// in another, which the deployment asks for its registry as well. A call that
// is counted for the wrong process kills it before it has a run to resume.
func TestOnlyTheVictimsOwnCallsKillIt(t *testing.T) {
	t.Parallel()
	w := newECSWorld(t)
	k := &killer{at: map[string]*victim{}}
	w.sandbox.Faults.OnCall(k.onCall)
	here, there := w.sandbox.World.Regions[0], w.sandbox.World.Regions[1]
	_, err := w.client(here).CreateCluster(t.Context(), &sdk.CreateClusterInput{ClusterName: aws.String("prod")})
	if err != nil {
		t.Fatal(err)
	}
	sleeper := killCase{ecsWorld: w, killer: k, region: there, name: "sleeper", dir: w.dir}
	k.at[sleeper.name] = &victim{call: 1}
	busy := killCase{ecsWorld: w, killer: k, region: here, name: "busy"}
	busy.run(0, false)
	asked := 0
	for _, c := range w.sandbox.Faults.Calls() {
		if c.Region == there {
			asked++
		}
	}
	if asked == 0 {
		t.Errorf("the deployment in %s asked nothing in %s: the test shows nothing", here, there)
	}
	if v := k.at[sleeper.name]; v.seen != [2]int{} {
		t.Errorf("%d calls of another process were counted", v.seen[0])
	}
	if v := k.at[busy.name]; v.seen[0] < 15 || v.seen[0] != v.seen[1] {
		t.Errorf("of its own %v calls were counted", v.seen)
	}
}

func (w *ecsWorld) client(region string) *sdk.Client {
	return sdk.NewFromConfig(sandboxtest.Config(w.sandbox, region))
}

// A killCase is one service that is deployed twice; bake is killed at a call
// of the second time.
type killCase struct {
	*ecsWorld
	killer       *killer
	region, name string
	call         int
	after        bool
	dir          string
}

func (c killCase) run(call int, after bool) {
	c.dir = filepath.Join(c.ecsWorld.dir, c.name)
	text := func(before string) string {
		return strings.NewReplacer("NAME", c.name, "BEFORE", before).Replace(killTemplate)
	}
	err := os.Mkdir(c.dir, 0o700)
	err = errors.Join(err, os.WriteFile(filepath.Join(c.dir, "first.yaml"), []byte(text("[]")), 0o600))
	err = errors.Join(err, os.WriteFile(filepath.Join(c.dir, "next.yaml"), []byte(text("[{command: [echo, migrated]}]")), 0o600))
	if err != nil {
		c.Error(err)
		return
	}
	if _, ok := c.exec(nil, "ecs", "deploy", "first.yaml", "--var", "image="+c.image("v1")); !ok {
		return
	}
	v := &victim{call: call, after: after}
	killed, ok := c.exec(v, "ecs", "deploy", "next.yaml", "--var", "image="+c.image("v2"))
	switch {
	case !ok, !killed:
	case call%3 == 0:
		_, ok = c.exec(nil, "clean")
		if ok {
			_, ok = c.exec(nil, "ecs", "deploy", "next.yaml", "--var", "image="+c.image("v2"))
		}
	default:
		_, ok = c.exec(nil, "resume", "--var", "image="+c.image("v2"))
	}
	if ok {
		c.wantOnce(killed && call%3 == 0)
	}
}

// exec runs bake in the case's region, for a victim until it is killed. ok is
// false if it failed otherwise.
func (c killCase) exec(v *victim, args ...string) (killed, ok bool) {
	cmd := exec.CommandContext(c.Context(), "bake", args...)
	cmd.Dir = c.dir
	cmd.Env = append(sandboxtest.Env(c.sandbox, c.region), "BAKE_CACHE_DIR="+filepath.Join(c.dir, "cache"), "NO_COLOR=1", "HOME="+c.dir)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	c.killer.mu.Lock()
	if v != nil {
		cmd.Env = append(cmd.Env, "AWS_ACCESS_KEY_ID="+c.name)
		c.killer.at[c.name] = v
	}
	err := cmd.Start()
	if v != nil {
		v.process = cmd.Process
	}
	c.killer.mu.Unlock()
	if err == nil {
		err = cmd.Wait()
	}
	c.killer.mu.Lock()
	if v != nil {
		v.process = nil
	}
	c.killer.mu.Unlock()
	status, _ := cmd.ProcessState.Sys().(syscall.WaitStatus)
	killed = status.Signaled() && status.Signal() == syscall.SIGKILL
	if err != nil && !(killed && v != nil) {
		c.Errorf("%s in %s: bake %s: %v\n%s", c.name, c.region, strings.Join(args, " "), err, out.String())
		return killed, false
	}
	return killed, true
}

// wantOnce wants the service to run its second revision, and nothing twice. A
// migration may have been run again by another run.
func (c killCase) wantOnce(anew bool) {
	client := c.client(c.region)
	wrong := func(format string, args ...any) {
		c.Errorf("%s in %s: "+format, append([]any{c.name, c.region}, args...)...)
	}
	s, err := client.DescribeServices(c.Context(), &sdk.DescribeServicesInput{Cluster: aws.String("prod"), Services: []string{c.name}})
	if err != nil || len(s.Services) != 1 {
		wrong("%v %v", s, err)
		return
	}
	if td := aws.ToString(s.Services[0].TaskDefinition); !strings.HasSuffix(td, "/"+c.name+":2") || s.Services[0].RunningCount != 1 {
		wrong("it runs %d of %s", s.Services[0].RunningCount, td)
	}
	if list, err := client.ListServiceDeployments(c.Context(), &sdk.ListServiceDeploymentsInput{Cluster: aws.String("prod"), Service: &c.name}); err != nil || len(list.ServiceDeployments) != 2 {
		wrong("%d deployments, %v", len(list.ServiceDeployments), err)
	}
	if tds, err := client.ListTaskDefinitions(c.Context(), &sdk.ListTaskDefinitionsInput{FamilyPrefix: aws.String(c.name)}); err != nil || len(tds.TaskDefinitionArns) < 2 {
		wrong("revisions %v, %v", tds, err)
	}
	for status, most := range map[types.DesiredStatus]int{types.DesiredStatusRunning: 0, types.DesiredStatusStopped: 1} {
		if anew && most > 0 {
			most++
		}
		tasks, err := client.ListTasks(c.Context(), &sdk.ListTasksInput{Cluster: aws.String("prod"), Family: &c.name, DesiredStatus: status})
		if err != nil {
			wrong("%v", err)
			continue
		}
		if n := c.migrations(client, tasks.TaskArns); n > most {
			wrong("%d migrations are %s", n, status)
		}
	}
	if _, err := client.DeleteService(c.Context(), &sdk.DeleteServiceInput{Cluster: aws.String("prod"), Service: &c.name, Force: aws.Bool(true)}); err != nil {
		wrong("%v", err)
	}
}

// migrations counts the tasks that were not started by the service.
func (c killCase) migrations(client *sdk.Client, arns []string) int {
	if len(arns) == 0 {
		return 0
	}
	out, err := client.DescribeTasks(c.Context(), &sdk.DescribeTasksInput{Cluster: aws.String("prod"), Tasks: arns})
	if err != nil {
		c.Error(err)
		return 0
	}
	n := 0
	for _, t := range out.Tasks {
		if !strings.HasPrefix(aws.ToString(t.StartedBy), "ecs-svc/") {
			n++
		}
	}
	return n
}
