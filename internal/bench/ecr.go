package main

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
)

// ecrCases push the image of pushCases through ECR's token to a repository of
// the sandbox's ECR, which bake makes: in the time are the calls for that. The
// peers get the repository and the token before.
func ecrCases(l *lab) []benchmark {
	var cases []benchmark
	for _, again := range []bool{false, true} {
		name := fmt.Sprintf("%d MiB, first, to ECR in the sandbox", l.size>>20)
		if again {
			name = fmt.Sprintf("%d MiB, again, to ECR in the sandbox", l.size>>20)
		}
		p := &ecrPusher{pusher: &pusher{lab: l, again: again}}
		cases = append(cases, benchmark{pushSection, name, []contestant{p.bakeECR(), p.skopeoECR()}})
	}
	return cases
}

// An ecrPusher pushes to a new repository for each run, or to the same again.
type ecrPusher struct {
	*pusher
	url        string // of the sandbox
	repository string
	password   string
	uri        string
}

// ready starts the sandbox of the case, whose states take no time.
func (p *ecrPusher) ready(ctx context.Context) (err error) {
	if p.url == "" {
		p.url, err = p.sandbox(ctx)
	}
	return err
}

// ecrReady gives each run a repository of its own; "again" pushes once before.
func (p *ecrPusher) ecrReady(c contestant, fresh func(context.Context) error) contestant {
	setup := c.setup
	c.setup = func(ctx context.Context) error {
		if err := setup(ctx); err != nil {
			return err
		}
		if err := p.ready(ctx); err != nil || !p.again {
			return err
		}
		if err := fresh(ctx); err != nil {
			return err
		}
		return p.do(ctx, c.command())
	}
	if !p.again {
		c.before = fresh
	}
	return c
}

func (p *ecrPusher) bakeECR() contestant {
	const file = "push-ecr.yaml"
	return p.ecrReady(contestant{tool: "bake, own store",
		setup:   p.storeImage,
		command: func() *exec.Cmd { return p.cmd(p.bake, file, "--engine", "embedded", "--sandbox="+p.url) },
	}, func(context.Context) error {
		p.repository = fmt.Sprint("bench-", p.fresh())
		text := "name: bench\nsource: {scratch: true}\nsteps:\n" + copies() +
			"outputs:\n  - ecr: {repository: " + p.repository + ", region: " + benchRegion + ", create: true}\n"
		_, err := p.file(file, text)
		return err
	})
}

func (p *ecrPusher) skopeoECR() contestant {
	return p.ecrReady(contestant{tool: "skopeo, oci:", needs: "skopeo", setup: p.layout,
		command: func() *exec.Cmd {
			return p.cmd("skopeo", "copy", "-q", "--dest-tls-verify=false", "--dest-creds", "AWS:"+p.password, "oci:"+p.path("layout")+":latest", "docker://"+p.uri+":latest")
		}}, p.peerRepository)
}

// peerRepository makes a repository and a token with the AWS CLI.
func (p *ecrPusher) peerRepository(ctx context.Context) error {
	p.repository = fmt.Sprint("bench-", p.fresh())
	uri, err := p.aws(ctx, "ecr", "create-repository", "--repository-name", p.repository, "--query", "repository.repositoryUri", "--output", "text")
	if err != nil {
		return err
	}
	p.uri = uri
	p.password, err = p.aws(ctx, "ecr", "get-login-password")
	return err
}

func (p *ecrPusher) aws(ctx context.Context, args ...string) (string, error) {
	cmd := p.cmd("aws", append([]string{"--endpoint-url", p.url, "--region", benchRegion}, args...)...)
	cmd.Env = append(cmd.Env, sandboxKeys()...)
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("aws %s: %w", strings.Join(args, " "), err)
	}
	return strings.TrimSpace(string(out)), ctx.Err()
}
