package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os/exec"
	"strings"
	"time"
)

// What the states of an AMI build take on AWS, and in the sandbox at pace 1. No
// tool can make an image in less than the first three. Packer waits for the end
// of the machine besides, before it removes its security group; bake has ended
// it by then, while its snapshot was being taken.
const (
	bootTime      = 20 * time.Second
	stopTime      = 10 * time.Second
	snapshotTime  = 64 * time.Second // of 8 GiB
	terminateTime = 10 * time.Second

	least  = bootTime + stopTime + snapshotTime
	states = least + terminateTime
)

// amazonCases bake AMIs in the sandbox, whose states take realistic time. What
// is left of a run without them is the tool's own.
func amazonCases(l *lab) []benchmark {
	a := &amazon{lab: l}
	one, ten := a.work(1, true), a.work(10, false)
	return []benchmark{
		{"Amazon", "AMI, 1 script and 1 file", one.contestants()},
		{"Amazon", "AMI, 10 scripts", ten.contestants()},
	}
}

// amazon is a sandbox that its cases share.
type amazon struct {
	*lab
	url string
}

func (a *amazon) up(ctx context.Context) error {
	return a.once("a sandbox whose states take time", func() (err error) {
		if _, err = a.file("page", "a page\n"); err != nil {
			return err
		}
		a.url, err = a.sandbox(ctx, "--pace", fmt.Sprint(a.pace))
		return err
	})
}

// amiWork is what is done on the machine before its image is made.
type amiWork struct {
	*amazon
	name    string
	scripts int
	file    bool
}

func (a *amazon) work(scripts int, file bool) *amiWork {
	return &amiWork{amazon: a, name: fmt.Sprint("ami-", scripts), scripts: scripts, file: file}
}

func (w *amiWork) contestants() []contestant {
	// Packer gives up after one look if it is told the delay alone.
	const patient = "AWS_MAX_ATTEMPTS=600"
	byDefault := w.packer("packer, its own polling", patient)
	byDefault.once, byDefault.note = true, "one run"
	return []contestant{w.bakes(), w.packer("packer, polls each second", patient, "AWS_POLL_DELAY_SECONDS=1"), byDefault}
}

// bakes is bake; each run makes an image of its own.
func (w *amiWork) bakes() contestant {
	file := w.name + ".yaml"
	return contestant{tool: "bake", setup: w.up, cloud: w.scaled(least), calls: w.calls,
		before: func(ctx context.Context) error {
			var b strings.Builder
			b.WriteString("name: bench\nsource:\n  ami: {owner: amazon, name: al2023-ami-2023.*-x86_64, newest: true, region: " + benchRegion + "}\nsteps:\n")
			for i := range w.scripts {
				fmt.Fprintf(&b, "  - run: echo step %d\n", i)
			}
			if w.file {
				b.WriteString("  - copy: {from: page, to: /page}\n")
			}
			fmt.Fprintf(&b, "outputs:\n  - ami: {name: bench-%d}\n", w.fresh())
			return w.begin(ctx, file, b.String())
		},
		command: func() *exec.Cmd { return w.cmd(w.bake, file, "--no-cache", "--sandbox="+w.url) }}
}

// packer is the same for packer, with more environment.
func (w *amiWork) packer(tool string, env ...string) contestant {
	file := w.name + ".json"
	return contestant{tool: tool, needs: "packer", setup: w.up, cloud: w.scaled(states), calls: w.calls,
		before: func(ctx context.Context) error {
			text, err := json.Marshal(map[string]any{"builders": []any{w.builder()}, "provisioners": w.provisioners()})
			if err != nil {
				return err
			}
			return w.begin(ctx, file, string(text))
		},
		command: func() *exec.Cmd {
			cmd := w.cmd("packer", "build", "-color=false", file)
			cmd.Env = append(append(cmd.Env, sandboxKeys()...), env...)
			return cmd
		}}
}

func (w *amiWork) builder() map[string]any {
	return map[string]any{
		"type": "amazon-ebs", "region": benchRegion, "custom_endpoint_ec2": w.url, "skip_metadata_api_check": true,
		"ami_name": fmt.Sprint("bench-", w.fresh()), "instance_type": "t3.micro", "ssh_username": "ec2-user",
		"source_ami_filter": map[string]any{"owners": []string{"amazon"}, "most_recent": true, "filters": map[string]any{"name": "al2023-ami-2023.*-x86_64"}},
	}
}

func (w *amiWork) provisioners() []map[string]any {
	var list []map[string]any
	for i := range w.scripts {
		list = append(list, map[string]any{"type": "shell", "inline": []string{fmt.Sprint("echo step ", i)}})
	}
	if w.file {
		list = append(list, map[string]any{"type": "file", "source": w.path("page"), "destination": "/page"})
	}
	return list
}

// begin writes a run's template, and has the sandbox forget the calls before it.
func (w *amiWork) begin(ctx context.Context, file, text string) error {
	if _, err := w.lab.file(file, text); err != nil {
		return err
	}
	r, err := w.control(ctx, http.MethodDelete)
	if err == nil {
		err = r.Body.Close()
	}
	return err
}

// calls is how many calls the sandbox had since begin.
func (a *amazon) calls(ctx context.Context) (int, error) {
	r, err := a.control(ctx, http.MethodGet)
	if err != nil {
		return 0, err
	}
	defer r.Body.Close()
	var told struct {
		Counts map[string]int `json:"counts"`
	}
	if err := json.NewDecoder(r.Body).Decode(&told); err != nil {
		return 0, fmt.Errorf("counting calls: %w", err)
	}
	sum := 0
	for _, n := range told.Counts {
		sum += n
	}
	return sum, nil
}

func (a *amazon) control(ctx context.Context, method string) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, method, a.url+"/_sandbox/calls", nil)
	if err != nil {
		return nil, err
	}
	return http.DefaultClient.Do(r)
}

// scaled is a time of AWS in the sandbox.
func (a *amazon) scaled(d time.Duration) time.Duration { return time.Duration(float64(d) * a.pace) }
