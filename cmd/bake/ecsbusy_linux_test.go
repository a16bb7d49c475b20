package main

import (
	"bufio"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/ecs"

	"bake/internal/sandbox/sandboxtest"
)

// sickTask never becomes healthy, and nobody gives up on it soon: a deployment
// of it goes on until somebody ends it.
const sickTask = `    healthCheck: {command: [CMD-SHELL, exit 1], interval: 300, retries: 10, startPeriod: 300}
`

const patientBreaker = `      deployment: {circuit_breaker: {count: 100}}
`

// A bakeProcess is a bake that goes on while the test does something else.
type bakeProcess struct {
	*exec.Cmd
	lines chan string // closed at its end
	told  strings.Builder
}

// begin starts a bake of its own folder.
func (w *ecsWorld) begin(args ...string) *bakeProcess {
	w.Helper()
	p := &bakeProcess{Cmd: exec.CommandContext(w.Context(), "bake", args...), lines: make(chan string, 1000)}
	p.Dir = w.dir
	p.Env = append(sandboxtest.Env(w.sandbox, "eu-west-1"), "BAKE_CACHE_DIR="+filepath.Join(w.dir, "cache"), "NO_COLOR=1", "HOME="+w.dir)
	r, out := io.Pipe()
	p.Stdout, p.Stderr = out, out
	if err := p.Start(); err != nil {
		w.Fatal(err)
	}
	go func() {
		_ = p.Wait() // the exit code is looked at
		out.Close()
	}()
	go func() {
		defer close(p.lines)
		for s := bufio.NewScanner(r); s.Scan(); {
			p.lines <- s.Text()
		}
	}()
	return p
}

// says waits for a line with a word in it; at the process's end it fails.
func (w *ecsWorld) says(p *bakeProcess, word string) string {
	w.Helper()
	for line := range p.lines {
		p.told.WriteString(line + "\n")
		if strings.Contains(line, word) {
			return line
		}
	}
	w.Fatalf("%q was not said:\n%s", word, p.told.String())
	return ""
}

// ends waits for the end and wants an exit code.
func (w *ecsWorld) ends(p *bakeProcess, code int) string {
	w.Helper()
	for line := range p.lines {
		p.told.WriteString(line + "\n")
	}
	if got := p.ProcessState.ExitCode(); got != code {
		w.Errorf("%s: exit code %d, want %d\n%s", strings.Join(p.Args, " "), got, code, p.told.String())
	}
	return p.told.String()
}

// newSickWorld has a service that serves v1, and a template of a second version
// whose deployment goes on until somebody ends it.
func newSickWorld(t *testing.T) (w *ecsWorld, first *bakeProcess) {
	w = newECSWorld(t)
	w.write("api.yaml", apiTemplate+patientBreaker)
	w.write("task.yaml", apiTask)
	w.write("sick.yaml", strings.Replace(apiTemplate, "task.yaml", "sicktask.yaml", 1)+patientBreaker)
	w.write("sicktask.yaml", apiTask+sickTask)
	w.bake(0, "ecs", "clusters", "create", "prod")
	w.bake(0, "ecs", "deploy", "api.yaml", "--var", "image="+w.image("v1"), "-o", "plain")
	first = w.begin("ecs", "deploy", "sick.yaml", "--var", "image="+w.image("v2"), "-o", "plain")
	w.says(first, "api:2        primary")
	return w, first
}

// TestTheSecondOfTwoBakesIsRefusedOrWaits runs two deployments of one service
// at once. The first one's ends when the second is seen to wait.
func TestTheSecondOfTwoBakesIsRefusedOrWaits(t *testing.T) {
	t.Parallel()
	w, first := newSickWorld(t)
	at := []string{"--cluster", "prod", "--service", "api"}
	runs, err := filepath.Glob(filepath.Join(w.dir, ".bake", "runs", "2*"))
	if err != nil || len(runs) != 2 {
		t.Fatalf("runs %v %v", runs, err)
	}
	_, errs := w.bake(1, "ecs", "deploy", "api.yaml", "--var", "image="+w.image("v2"), "-o", "plain", "--busy", "refuse")
	w.wants(errs, "service api is being deployed by somebody else: deployment ecs-svc/", " of api:2, since ", " UTC, registered by bake's run "+filepath.Base(runs[1]), "`bake ecs wait --cluster prod --service api` follows it")

	second := w.begin(append([]string{"ecs", "deploy", "--image", w.image("bad"), "--env", "LOG=text", "--busy", "wait", "-o", "plain"}, at...)...)
	w.says(second, "waiting: service api is being deployed by somebody else: deployment ecs-svc/")
	out, _ := w.bake(0, append([]string{"ecs", "stop"}, at...)...)
	w.wants(out, "of service api goes back")
	w.wants(w.ends(first, 3), "was rolled back", "serving now: api:1 (2 of 2 running)")
	// It builds on what serves after the waiting, not on what it saw at first:
	// without the sick one's health check the bad image ends as soon as it begins.
	told := w.ends(second, 3)
	w.wants(told, "is over", "taskDefinition: ", "task-definition/api:1 -> ", "container api exited with 3", "serving now: api:1 (2 of 2 running)")
}

// TestAKilledDeployerLocksNobodyOut kills bake in the middle of a deployment
// that does not end by itself. The next one says what holds it up, and takes its
// place if it is told to.
func TestAKilledDeployerLocksNobodyOut(t *testing.T) {
	t.Parallel()
	w, first := newSickWorld(t)
	if err := first.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	w.ends(first, -1)
	w.write("hasty.yaml", apiTemplate+patientBreaker+"      busy_timeout: 2s\n")
	waits := w.begin("ecs", "deploy", "hasty.yaml", "--var", "image="+w.image("v2"), "-o", "plain")
	w.says(waits, "waiting: service api")
	w.wants(w.ends(waits, 1), "it was not over after 2s", "`bake ecs stop --cluster prod --service api` ends it", "`busy: replace`")
	out, errs := w.bake(0, "ecs", "deploy", "api.yaml", "--var", "image="+w.image("v2"), "-o", "plain", "--busy", "replace")
	w.wants(out+errs, "this one takes its place", "(2 of 2 running)")
	client := sdk.NewFromConfig(sandboxtest.Config(w.sandbox, "eu-west-1"))
	tasks, err := client.ListTasks(t.Context(), &sdk.ListTasksInput{Cluster: aws.String("prod")})
	if err != nil || len(tasks.TaskArns) != 2 {
		t.Errorf("tasks at the end: %v %v", tasks, err)
	}
}
