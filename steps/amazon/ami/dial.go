package ami

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"bake/builder"
	"bake/steps/amazon"
	"bake/steps/amazon/launch"
	"bake/steps/ssh"
)

// Dial connects to the machine, waits until it is ready for the first step,
// and sets its dead-man timer.
func (s *Build) Dial(ctx context.Context, sc *builder.Scope, m builder.Machine) (builder.Communicator, error) {
	boot := bootOf(m)
	comm, err := s.connect(ctx, sc, m, s.timeout())
	if err != nil {
		return nil, err
	}
	if access, err := amazon.ParseAccess(m.Where); err == nil && !boot.From.IsZero() {
		s.cloud.Took(access, boot)
	}
	if err := s.ready(ctx, sc, comm); err != nil {
		return nil, errors.Join(err, comm.Close())
	}
	return &machine{Communicator: comm, build: s, m: m}, nil
}

// A machine is the connection to an instance.
type machine struct {
	*ssh.Communicator
	build *Build
	m     builder.Machine
}

// Reboot restarts the machine and sets its dead-man timer again: timers do not
// survive.
func (c *machine) Reboot(ctx context.Context, sc *builder.Scope, command string, wait time.Duration) error {
	if err := c.Communicator.Reboot(ctx, sc, command, wait); err != nil {
		return err
	}
	return c.build.arm(ctx, c.Communicator)
}

// Run adds to a lost connection, and to a command that was ended as those of a
// machine that goes down are, what has become of the instance.
func (c *machine) Run(ctx context.Context, cmd builder.Command) error {
	err := c.Communicator.Run(ctx, cmd)
	if err == nil || ctx.Err() != nil {
		return err
	}
	_, lost := errors.AsType[*ssh.LostError](err)
	if !lost && !hungUp(err) {
		return err
	}
	if died := c.build.fate(ctx, c.m); died != nil {
		return fmt.Errorf("%w: %w", died, err)
	}
	return err
}

// hungUp reports whether a command was ended by what a machine that goes down
// ends its processes with: SIGHUP and SIGTERM, whose status a shell gives as
// 129 and 143.
func hungUp(err error) bool {
	exit, ok := errors.AsType[*builder.ExitError](err)
	return ok && (exit.Code == 129 || exit.Code == 143)
}

// downTime is how long AWS may take to notice that a machine goes down.
const downTime = 5 * time.Second

// fate returns why the instance is not there any more, if so.
func (s *Build) fate(ctx context.Context, m builder.Machine) error {
	access, err := amazon.ParseAccess(m.Where)
	if err != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	began := time.Now()
	i, err := s.cloud.WaitInstance(ctx, access, m.ID, func(i types.Instance) (bool, error) {
		return launch.Alive(i) != nil || time.Since(began) > downTime, nil
	})
	if err != nil {
		return nil
	}
	return launch.Alive(i)
}

// Gone reports whether the instance has ended, or is about to (builder.Mortal).
func (s *Build) Gone(ctx context.Context, sc *builder.Scope, m builder.Machine) (bool, error) {
	access, err := amazon.ParseAccess(m.Where)
	if err != nil {
		return false, err
	}
	if captured(sc, m) {
		return false, nil // its image is being made, and that is all that is wanted of it
	}
	_, err = instanceCleaner{connector{s.cloud}}.there(ctx, access, amazon.Filter("instance-id", m.ID))
	if errors.Is(err, builder.ErrNotFound) {
		return true, nil
	}
	return false, s.cloud.Explain(ctx, access, err)
}

// connect logs in. The wait ends at once when the instance dies meanwhile.
func (s *Build) connect(ctx context.Context, sc *builder.Scope, m builder.Machine, patience time.Duration) (*ssh.Communicator, error) {
	access, err := amazon.ParseAccess(m.Where)
	if err != nil {
		return nil, err
	}
	config, err := s.config(ctx, sc, m, access)
	if err != nil {
		return nil, err
	}
	config.Patience = patience
	ctx, cancel := context.WithCancelCause(ctx)
	watching := make(chan struct{})
	go func() {
		defer close(watching)
		err := s.cloud.GuardInstance(ctx, access, m.ID, bootOf(m), launch.Alive)
		if died, ok := errors.AsType[*launch.Died](err); ok {
			cancel(died)
		}
	}()
	comm, err := s.login(ctx, sc, config)
	died := context.Cause(ctx)
	cancel(nil)
	<-watching
	if err != nil && died != nil {
		return nil, died
	}
	return comm, err
}

// bootOf is the wait for a machine to let somebody in. It is known when it began
// if the machine was started just now.
func bootOf(m builder.Machine) amazon.Wait {
	w := amazon.Wait{Name: "boot " + m.Detail[detailType]}
	if at, err := time.Parse(time.RFC3339Nano, m.Detail[detailStarted]); err == nil && time.Since(at) < justNow {
		w.From = at
	}
	return w
}

// justNow is how long after its start nobody has connected to a machine before.
const justNow = 10 * time.Second

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}

// login connects. A machine that does not take the host key that bake gave it
// is verified by what it writes to its console, which comes over AWS's API.
func (s *Build) login(ctx context.Context, sc *builder.Scope, c ssh.Config) (*ssh.Communicator, error) {
	comm, err := ssh.Connect(ctx, c)
	wrong, ok := errors.AsType[*ssh.HostKeyError](err)
	if !ok || len(s.SSH.HostKey) > 0 || c.HostKeys.Console || wrong.Addr != c.Addr() {
		return comm, err
	}
	sc.Log("the machine has another host key than bake gave it: looking for it in its console output")
	c.HostKeys = ssh.HostKeys{Console: true}
	return ssh.Connect(ctx, c)
}

// config says how to reach the machine, from what Open noted.
func (s *Build) config(ctx context.Context, sc *builder.Scope, m builder.Machine, access amazon.Access) (ssh.Config, error) {
	cfg, err := s.cloud.Config(ctx, access)
	if err != nil {
		return ssh.Config{}, err
	}
	from := ssh.Source{Host: m.Detail[detailAddress], Port: s.SSH.Port, User: m.Detail[detailUser], Key: s.SSH.Key, Password: s.SSH.Password,
		Agent: &s.SSH.Agent, HostKey: s.SSH.HostKey, KnownHosts: s.SSH.Known, Config: s.SSH.Config, Jump: s.SSH.Jump, Proxy: s.SSH.Proxy,
		Sudo: s.SSH.Sudo, TTY: s.SSH.TTY, ForwardKeys: s.SSH.Forward}
	if from.Sudo == nil && from.User != "root" {
		from.Sudo = &ssh.Enabled{On: true}
	}
	c := from.Settings(sc.Dir, sc.Log)
	c.Fresh = true
	c.Dial, c.Prepare = s.way(cfg, m, string(sc.Run)), s.pushKey(cfg, m, sc)
	c.ProxyCommand = s.proxyCommand(ctx, access, m)
	c.Console = func(ctx context.Context) (string, error) { return console(ctx, ec2.NewFromConfig(cfg), m.ID) }
	work, err := openWorkfiles(sc, m.Detail[detailKeys])
	if err != nil {
		return c, err
	}
	if s.Machine.KeyPair == nil && s.SSH.Password == "" || len(s.SSH.Key) == 0 && !s.SSH.Agent && s.SSH.Password == "" {
		c.Auth.Keys = []ssh.Key{{File: work.path(loginKey)}}
		if _, err := os.Stat(work.path(loginKey)); err != nil {
			return c, fmt.Errorf("logging in to %s: bake's key for it is not on this machine any more: %w", m.ID, err)
		}
	}
	if len(s.SSH.HostKey) == 0 {
		c.HostKeys, err = s.hostKeys(work)
	}
	return c, err
}

// hostKeys pins the key that bake gave the machine. A machine that was given
// none tells its own on the console.
func (s *Build) hostKeys(work workfiles) (ssh.HostKeys, error) {
	if u := s.Machine.UserData; u != nil && !u.Merge {
		return ssh.HostKeys{Console: true}, nil
	}
	_, public, err := work.key(hostKey)
	return ssh.HostKeys{Pinned: []string{public}}, err
}

// console returns what the instance has written to its console so far. The
// newest output is asked for where the type has it.
func console(ctx context.Context, client *ec2.Client, id string) (string, error) {
	out, err := client.GetConsoleOutput(ctx, &ec2.GetConsoleOutputInput{InstanceId: &id, Latest: aws.Bool(true)})
	if amazon.IsCode(err, "UnsupportedOperation", "InvalidParameterCombination", "InvalidParameterValue") {
		out, err = client.GetConsoleOutput(ctx, &ec2.GetConsoleOutputInput{InstanceId: &id})
	}
	if err != nil {
		return "", err
	}
	text, err := base64.StdEncoding.DecodeString(aws.ToString(out.Output))
	if err != nil {
		return "", fmt.Errorf("reading the console output of %s: %w", id, err)
	}
	return string(text), nil
}

// readyScript waits for cloud-init, whose last stage may still install and
// restart things, and tells how it went. Old versions cannot wait: the file is
// what they leave when they are done.
const readyScript = `command -v cloud-init >/dev/null 2>&1 || exit 0
cloud-init status --wait >/dev/null 2>&1
case $? in
0) ;;
2) echo "cloud-init finished with warnings: $(cloud-init status --long 2>&1 | tr '\n' ' ')" ;;
*)
	if cloud-init status 2>/dev/null | grep -q error; then
		echo "cloud-init failed: $(cloud-init status --long 2>&1 | tr '\n' ' ')"
		exit 3
	fi
	while [ ! -e /var/lib/cloud/instance/boot-finished ] && [ -d /run/cloud-init ]; do sleep 1; done ;;
esac
`

// ready waits for cloud-init and sets the dead-man timer.
func (s *Build) ready(ctx context.Context, sc *builder.Scope, comm *ssh.Communicator) error {
	ctx, cancel := context.WithTimeoutCause(ctx, s.timeout(), fmt.Errorf("the machine is not ready after %s: cloud-init does not end", s.timeout()))
	defer cancel()
	script := s.armScript()
	if s.SSH.CloudInit != "ignore" {
		script = readyScript + script
	}
	var said strings.Builder
	err := comm.Run(ctx, builder.Command{Script: script, Shell: []string{"/bin/sh"}, Stdout: &said})
	text := strings.TrimSpace(said.String())
	var exit *builder.ExitError
	switch {
	case errors.As(err, &exit) && exit.Code == 3 && s.SSH.CloudInit != "require":
		sc.Log("%s", text)
		return s.arm(ctx, comm)
	case err != nil && text != "":
		return fmt.Errorf("waiting for the machine to be ready: %w: %s", err, text)
	case err != nil:
		return fmt.Errorf("waiting for the machine to be ready: %w", err)
	case text != "":
		sc.Log("%s", text)
	}
	return nil
}

// armScript sets the dead-man timer anew: bake is here. A machine without
// shutdown has none.
func (s *Build) armScript() string {
	return "if command -v shutdown >/dev/null 2>&1; then " + deadMan(s.lifetime()) + " >/dev/null 2>&1 || true; fi\n"
}

func (s *Build) arm(ctx context.Context, comm *ssh.Communicator) error {
	return comm.Run(ctx, builder.Command{Script: s.armScript(), Shell: []string{"/bin/sh"}})
}
