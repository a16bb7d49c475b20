package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"bake/internal/sandbox"
	"bake/internal/sandbox/api"
)

// A standing is what `bake sandbox` is asked for.
type standing struct {
	sandbox.Options
	faults faultsFlag
	region string
	calls  bool
	images []string // NAME=ROOTFS
}

func (a *app) sandboxCommand() *cobra.Command {
	var s standing
	cmd := &cobra.Command{
		Use:        "sandbox",
		SuggestFor: []string{"localstack", "moto"},
		Short:      "Run a local AWS, for bake, the AWS CLI, packer and other clients",
		Long: `Run a local AWS until Ctrl-C: EC2 with machines that really run, ECR with a real
registry, ECS with tasks that really run, IAM, STS, SSM, KMS, Secrets Manager and
CloudWatch Logs, answered on loopback in AWS's own protocols. It prints what other
clients need in their environment. Any access key does; one of twelve digits is an
account of that number.

For bake alone there is --sandbox, which needs no second terminal.

A FAULT is a kind (error, throttle, drop, lost, slow or hidden) and which calls it
befalls: KIND[,service=S][,action=A][,region=R][,after=N][,times=N][,code=C][,delay=D].`,
		Example: `  bake sandbox                                   in memory, on a free port
  bake sandbox --addr 127.0.0.1:4566 --dir .bake/sandbox
  bake sandbox --image debian-12=rootfs.tar      with an AMI of one's own
  bake sandbox --pace 0.1                        states take a tenth of AWS's time
  bake sandbox --fault lost,action=RunInstances    the first answer of RunInstances is lost
  bake sandbox --fault throttle,service=ec2,after=10,times=3
  bake sandbox --fault hidden,times=2            what is new is not seen by the first two reads

  bake build web.yaml --sandbox=http://127.0.0.1:4566
  aws --endpoint-url http://127.0.0.1:4566 ec2 describe-images --owners self
  curl http://127.0.0.1:4566/_sandbox/calls      what was called, how often`,
		Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, args []string) error { return a.stand(cmd.Context(), s) },
	}
	f := cmd.Flags()
	f.StringVar(&s.Addr, "addr", "127.0.0.1:0", "listen on this `ADDRESS` of loopback; port 0: a free one")
	f.StringVar(&s.Dir, "dir", "", "keep everything in `FOLDER` for the next start (default: forget it)")
	f.Float64Var(&s.Pace, "pace", 0, "how long states take, a `FACTOR`: 1 as on AWS, 0.1 a tenth, 0 no time")
	f.StringVar(&s.Account, "account", sandbox.DefaultAccount, "`ACCOUNT` of callers with any key")
	f.StringVar(&s.region, "region", "us-east-1", "`REGION` in the printed environment")
	f.Var(&s.faults, "fault", "let calls go wrong: a `FAULT` as above (repeatable)")
	f.StringArrayVar(&s.images, "image", nil, "register a root filesystem, a tar or a folder, as an AMI of --region: `NAME=ROOTFS` (repeatable)")
	f.BoolVar(&s.calls, "calls", false, "tell every call on stderr")
	a.outputFlag(cmd, "text|json")
	return cmd
}

// stand runs a sandbox until it is interrupted, which is how it ends well.
func (a *app) stand(parent context.Context, s standing) error {
	if len(s.Account) != 12 || strings.Trim(s.Account, "0123456789") != "" {
		return usagef("like 123456789012", "--account %q is not twelve digits", s.Account)
	}
	ctx, stop := interruptible(parent, func() {})
	defer stop()
	s.Options.Faults, s.Options.Log = s.faults, log.New(a.stderr, "sandbox: ", 0)
	if s.calls {
		s.Options.Calls = func(e api.Entry) {
			fmt.Fprintf(a.stderr, "%s %s:%s %s %s\n", e.Region, e.Service, e.Action, e.Code, e.Duration.Round(time.Millisecond))
		}
	}
	running, err := sandbox.Start(ctx, s.Options)
	if err != nil {
		return err
	}
	if err := a.registerImages(ctx, running, s); err != nil {
		return errors.Join(err, running.Close())
	}
	if err := a.tellSandbox(running.URL, s); err != nil {
		return errors.Join(err, running.Close())
	}
	<-ctx.Done()
	fmt.Fprintln(a.stderr, "stopping the sandbox")
	return running.Close()
}

// registerImages makes AMIs of the user's root filesystems.
func (a *app) registerImages(ctx context.Context, running *sandbox.Sandbox, s standing) error {
	for _, text := range s.images {
		name, path, ok := strings.Cut(text, "=")
		if !ok {
			return usagef("write --image debian-12=rootfs.tar", "--image %s is not NAME=ROOTFS", text)
		}
		path, err := filepath.Abs(path)
		if err != nil {
			return err
		}
		if _, err := os.Stat(path); err != nil {
			return usagef("", "--image %s: %w", name, err)
		}
		id, err := running.RegisterImage(ctx, s.region, name, path)
		if err != nil {
			return err
		}
		fmt.Fprintf(a.stderr, "%s is %s in %s\n", name, id, s.region)
	}
	return nil
}

// sandboxEnv is the environment in which AWS's clients use a sandbox.
func sandboxEnv(url, region string) [][2]string {
	return [][2]string{{"AWS_ENDPOINT_URL", url}, {"AWS_ACCESS_KEY_ID", "sandbox"}, {"AWS_SECRET_ACCESS_KEY", "sandbox"},
		{"AWS_REGION", region}, {"AWS_DEFAULT_REGION", region}, {"AWS_EC2_METADATA_DISABLED", "true"}}
}

func (a *app) tellSandbox(url string, s standing) error {
	if a.flags.output == "json" {
		env := map[string]string{}
		for _, kv := range sandboxEnv(url, s.region) {
			env[kv[0]] = kv[1]
		}
		return json.NewEncoder(a.stdout).Encode(struct {
			Endpoint string            `json:"endpoint"`
			Account  string            `json:"account"`
			Env      map[string]string `json:"env"`
		}{url, s.Account, env})
	}
	for _, kv := range sandboxEnv(url, s.region) {
		fmt.Fprintf(a.stdout, "export %s=%s\n", kv[0], kv[1])
	}
	fmt.Fprintf(a.stderr, "the sandbox listens on %s; Ctrl-C ends it\n", url)
	fmt.Fprintf(a.stderr, "clients that do not know AWS_ENDPOINT_URL: aws --endpoint-url %s ...\n", url)
	return nil
}

// faultsFlag reads faults as they are typed.
type faultsFlag []api.Fault

func (f *faultsFlag) String() string { return "" }
func (f *faultsFlag) Type() string   { return "fault" }

// Set reads KIND,name=value,...
func (f *faultsFlag) Set(text string) error {
	words := strings.Split(text, ",")
	fault := api.Fault{Kind: api.Kind(words[0])}
	for _, word := range words[1:] {
		name, value, _ := strings.Cut(word, "=")
		var err error
		switch name {
		case "service":
			fault.Service = value
		case "action":
			fault.Action = value
		case "region":
			fault.Region = value
		case "code":
			fault.Code = value
		case "message":
			fault.Message = value
		case "after":
			fault.After, err = strconv.Atoi(value)
		case "times":
			fault.Times, err = strconv.Atoi(value)
		case "status":
			fault.Status, err = strconv.Atoi(value)
		case "delay":
			var d time.Duration
			d, err = time.ParseDuration(value)
			fault.Delay = api.Duration(d)
		default:
			err = fmt.Errorf("a fault has no %q", name)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", word, err)
		}
	}
	if err := fault.Check(); err != nil {
		return err
	}
	*f = append(*f, fault)
	return nil
}
