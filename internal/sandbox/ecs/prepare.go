package ecs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"

	"golang.org/x/sync/errgroup"

	"bake/builder"
	"bake/internal/registry"
	"bake/internal/sandbox/agent"
	"bake/internal/sandbox/api"
	"bake/internal/sandbox/ecs/wire"
	"bake/internal/sandbox/epoch"
)

// prepare makes everything that the task's containers need before they start:
// secrets, log streams, images.
func (x *runner) prepare() error {
	if err := x.assumeRoles(); err != nil {
		return err
	}
	for i := range x.def.ContainerDefinitions {
		b, err := x.newBox(i)
		if err != nil {
			return err
		}
		x.t.boxes = append(x.t.boxes, b)
	}
	x.c.mu.Lock()
	x.t.PullStartedAt = epoch.At(x.c.now())
	x.c.mu.Unlock()
	if err := x.pause(takesPull); err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(x.ctx)
	for _, b := range x.t.boxes {
		g.Go(func() error { return x.pull(ctx, b) })
	}
	err := g.Wait()
	x.c.mu.Lock()
	x.t.PullStoppedAt = epoch.At(x.c.now())
	x.c.mu.Unlock()
	return err
}

// assumeRoles reports roles that ECS cannot assume for the task.
func (x *runner) assumeRoles() error {
	if x.c.deps.Roles == nil {
		return nil
	}
	execution, own := x.def.ExecutionRoleArn, x.def.TaskRoleArn
	if o := x.t.Overrides; o.ExecutionRoleArn != "" {
		execution = o.ExecutionRoleArn
	}
	if o := x.t.Overrides; o.TaskRoleArn != "" {
		own = o.TaskRoleArn
	}
	for _, arn := range []string{execution, own} {
		if arn == "" {
			continue
		}
		if exists, trusts := x.c.deps.Roles.Trusts(arn, "ecs-tasks.amazonaws.com"); !exists || !trusts {
			return &startError{task: fmt.Sprintf("ECS was unable to assume the role '%s' that was provided for this task. Please verify that the role being passed has the proper trust relationship and permissions and that your IAM user has permissions to pass this role.", arn)}
		}
	}
	return nil
}

// pull finds and unpacks a container's image.
func (x *runner) pull(ctx context.Context, b *box) error {
	platform := builder.Platform{OS: "linux", Arch: runtime.GOARCH}
	if p := x.def.RuntimePlatform; p != nil && p.CpuArchitecture != "" {
		platform.Arch = map[string]string{"X86_64": "amd64", "ARM64": "arm64"}[p.CpuArchitecture]
	}
	img, err := x.c.deps.Images.Image(ctx, x.r.Account, x.r.Region, b.def.Image, platform)
	if err == nil {
		b.image, err = x.c.agent.Unpack(ctx, img)
	}
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return x.pullError(b, platform, err)
	}
	x.c.mu.Lock()
	b.shown().ImageDigest = b.image.Digest
	x.c.mu.Unlock()
	return nil
}

// pullError says in AWS's words why an image cannot be pulled.
func (x *runner) pullError(b *box, p builder.Platform, err error) error {
	text := fmt.Sprintf("pull image manifest has been retried 1 time(s): failed to resolve ref %s: %v", b.def.Image, err)
	switch {
	case errors.Is(err, builder.ErrNotFound):
		text = fmt.Sprintf("pull image manifest has been retried 1 time(s): failed to resolve ref %s: %s: not found", b.def.Image, b.def.Image)
	case isPlatform(err):
		text = fmt.Sprintf("pull image manifest has been retried 1 time(s): image Manifest does not contain descriptor matching platform '%s'", p)
	}
	return x.containerError(b, "CannotPullContainerError: "+text)
}

func isPlatform(err error) bool {
	_, ok := errors.AsType[*registry.PlatformError](err)
	return ok
}

// containerError is about one container. On Fargate the task's reason says it;
// on EC2 only the container's does.
func (x *runner) containerError(b *box, reason string) *startError {
	if x.t.LaunchType == "FARGATE" {
		return &startError{task: reason, container: b.def.Name, reason: reason}
	}
	return &startError{task: "Task failed to start", container: b.def.Name, reason: reason}
}

// resourceError is about what is needed before any container.
func resourceError(format string, args ...any) *startError {
	return &startError{task: "ResourceInitializationError: " + fmt.Sprintf(format, args...)}
}

// environment is what a container's definition, its secrets, the task's
// overrides and ECS itself set, the later over the earlier.
func (x *runner) environment(d *wire.ContainerDefinition) ([]string, error) {
	env := []string{"AWS_REGION=" + x.r.Region, "AWS_DEFAULT_REGION=" + x.r.Region, "AWS_EXECUTION_ENV=AWS_ECS_" + x.t.LaunchType}
	for _, e := range d.Environment {
		env = append(env, e.Name+"="+e.Value)
	}
	for _, s := range d.Secrets {
		value, err := x.secret(s.ValueFrom)
		if err != nil {
			return nil, err
		}
		env = append(env, s.Name+"="+value)
	}
	for _, e := range x.t.override(d.Name).Environment {
		env = append(env, e.Name+"="+e.Value)
	}
	return env, nil
}

// secret reads a value from where valueFrom says: a secret's ARN, with
// ":json-key:stage:version" after it if need be, or a parameter's ARN or name.
func (x *runner) secret(valueFrom string) (string, error) {
	if strings.HasPrefix(valueFrom, "arn:") && strings.Contains(valueFrom, ":secretsmanager:") {
		return x.managedSecret(valueFrom)
	}
	region := x.r.Region
	if f := strings.SplitN(valueFrom, ":", 6); len(f) == 6 {
		region = f[3]
	}
	if x.c.deps.Parameters == nil {
		return "", resourceError("unable to pull secrets or registry auth: unable to retrieve secrets from ssm: the sandbox has no Systems Manager")
	}
	value, err := x.c.deps.Parameters.Value(x.r.Account, region, valueFrom)
	if err != nil {
		return "", resourceError("unable to pull secrets or registry auth: execution resource retrieval failed: unable to retrieve secrets from ssm: service call has been retried 1 time(s): %s", said(err))
	}
	return value, nil
}

func (x *runner) managedSecret(valueFrom string) (string, error) {
	if x.c.deps.Secrets == nil {
		return "", resourceError("unable to pull secrets or registry auth: unable to retrieve secret from asm: the sandbox has no Secrets Manager")
	}
	f := strings.Split(valueFrom, ":")
	value, err := x.c.deps.Secrets.Value(x.r.Account, f[3], valueFrom)
	if err == nil {
		return value, nil
	}
	const retried = "unable to pull secrets or registry auth: execution resource retrieval failed: unable to retrieve secret from asm: service call has been retried 1 time(s): "
	if _, ok := errors.AsType[*api.Error](err); ok {
		return "", resourceError(retried+"failed to fetch secret %s from secrets manager: %s", strings.Join(f[:min(7, len(f))], ":"), said(err))
	}
	return "", resourceError(retried+"%s", said(err))
}

// said is an error in the words of the service that it came from.
func said(err error) string {
	if e, ok := errors.AsType[*api.Error](err); ok {
		return e.Code + ": " + e.Message
	}
	return err.Error()
}

// mounts are a container's volumes, and those of others that it takes.
func (x *runner) mounts(d *wire.ContainerDefinition) ([]agent.Mount, error) {
	var all []agent.Mount
	for _, m := range d.MountPoints {
		dir, err := x.volume(m.SourceVolume)
		if err != nil {
			return nil, err
		}
		all = append(all, agent.Mount{From: dir, To: m.ContainerPath, ReadOnly: m.ReadOnly != nil && *m.ReadOnly})
	}
	for _, from := range d.VolumesFrom {
		for i := range x.def.ContainerDefinitions {
			other := &x.def.ContainerDefinitions[i]
			if other.Name != from.SourceContainer || other.Name == d.Name {
				continue
			}
			more, err := x.mounts(other)
			if err != nil {
				return nil, err
			}
			for _, m := range more {
				m.ReadOnly = m.ReadOnly || from.ReadOnly != nil && *from.ReadOnly
				all = append(all, m)
			}
		}
	}
	return all, nil
}

// volume returns the directory of one of the task's volumes.
func (x *runner) volume(name string) (string, error) {
	for _, v := range x.def.Volumes {
		if v.Name != name {
			continue
		}
		if v.Host != nil && v.Host.SourcePath != "" {
			if _, err := os.Stat(v.Host.SourcePath); err == nil {
				return v.Host.SourcePath, nil
			}
		}
		return x.c.agent.Volume(x.volumeID(v))
	}
	return "", fmt.Errorf("unknown volume %q", name)
}

// ephemeral reports whether a volume goes with its task.
func ephemeral(v wire.Volume) bool {
	d := v.DockerVolumeConfiguration
	return v.EfsVolumeConfiguration == nil && v.S3filesVolumeConfiguration == nil &&
		(d == nil || d.Scope != "shared") && (v.Host == nil || v.Host.SourcePath == "")
}

// volumeID is a volume's name among all of the agent's.
func (x *runner) volumeID(v wire.Volume) string {
	safe := strings.NewReplacer("/", "_", ":", "_", ".", "_")
	switch {
	case v.EfsVolumeConfiguration != nil:
		return "efs-" + safe.Replace(v.EfsVolumeConfiguration.FileSystemId+v.EfsVolumeConfiguration.RootDirectory)
	case !ephemeral(v) && v.Host != nil && v.Host.SourcePath != "":
		return "host-" + safe.Replace(x.cl.ClusterName+v.Host.SourcePath)
	case !ephemeral(v):
		return "shared-" + safe.Replace(x.cl.ClusterName+"-"+v.Name)
	}
	return x.t.id() + "-" + safe.Replace(v.Name)
}
