package ecr

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sync/errgroup"

	"bake/builder"
	"bake/internal/registry"
)

// maxLayer is how many bytes a layer may have, and in ECR Public
// (docs.aws.amazon.com/AmazonECR/latest/userguide/service-quotas.html).
const (
	maxLayer       = 52_000 << 20
	maxPublicLayer = 10_000 << 20
)

// Publish makes the image exist in all repositories under all tags. Nothing is
// uploaded anywhere before all of them have been looked at: the repository is
// there, its settings are right, and no immutable tag names something else.
func (o *Output) Publish(ctx context.Context, sc *builder.Scope, in builder.Artifact) (builder.Published, error) {
	targets, err := o.targets(ctx)
	if err != nil {
		return builder.Published{}, err
	}
	images, document, err := o.images(ctx, sc, *in.Image)
	if err != nil {
		return builder.Published{}, err
	}
	o.warnZstd(sc)
	for _, phase := range []func(context.Context, *target) error{
		func(ctx context.Context, t *target) error { return o.prepare(ctx, sc, t) },
		func(ctx context.Context, t *target) error { return o.begin(ctx, sc, t, *in.Image, images, document) },
		func(ctx context.Context, t *target) error { return o.upload(ctx, sc, t) },
		func(ctx context.Context, t *target) error { return o.check(ctx, sc, t) },
	} {
		if err := each(ctx, targets, phase); err != nil {
			return builder.Published{}, err
		}
	}
	if o.Keep != nil {
		if err := o.retain(ctx, sc, targets); err != nil {
			return builder.Published{}, err
		}
	}
	return published(targets), nil
}

// each does one thing for all targets at once. The first error of any counts.
func each(ctx context.Context, targets []*target, do func(context.Context, *target) error) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, t := range targets {
		g.Go(func() error { return do(ctx, t) })
	}
	return g.Wait()
}

// images opens the image, and its index if a registry has it already.
func (o *Output) images(ctx context.Context, sc *builder.Scope, in builder.Image) ([]registry.Variant, *registry.Document, error) {
	images, err := registry.Variants(ctx, sc.Image, in, o.Platforms)
	if err != nil {
		return nil, nil, err
	}
	for _, v := range images {
		for k, value := range o.Annotations {
			v.Annotations[k] = value
		}
	}
	if len(o.Platforms) > 0 || len(o.Annotations) > 0 {
		return images, nil, nil
	}
	document, err := o.deps.Registry.Index(ctx, in)
	return images, document, err
}

// prepare makes sure of the repository.
func (o *Output) prepare(ctx context.Context, sc *builder.Scope, t *target) error {
	if err := t.connect(ctx, o); err != nil {
		return err
	}
	var err error
	if t.public {
		err = t.ensurePublic(ctx, sc, o.Create)
	} else {
		err = t.ensure(ctx, sc, o.Create)
	}
	return o.deps.Cloud.Explain(ctx, t.access, err)
}

// begin looks at the tags, and at what is known of the layers.
func (o *Output) begin(ctx context.Context, sc *builder.Scope, t *target, img builder.Image, images []registry.Variant, document *registry.Document) error {
	to, err := registry.ParseRepository(t.repo.uri, false)
	if err != nil {
		return err
	}
	t.tags = o.pushTags()
	push := registry.Push{
		To: to, Tags: t.tags, Fixed: t.repo.fixed, Index: o.Force, Document: document, MaxLayer: maxLayer,
		Compression: registry.Compression(o.Compression), MountFrom: registry.MountFrom(img, false, o.mountFrom(t)...),
		Progress: sc.Progress,
	}
	if t.public {
		push.MaxLayer = maxPublicLayer
	}
	if document == nil && (len(images) > 1 || o.Force) {
		push.Annotations = images[0].Annotations
	}
	t.push, err = o.client(t, to).Begin(ctx, push, images...)
	return o.explain(ctx, t, err)
}

// client is the registry client with the credentials of the target.
func (o *Output) client(t *target, to registry.Reference) *registry.Client {
	return o.deps.Registry.WithKeychain(onlyAt{host: to.Host(), auth: o.deps.Tokens.at(t.place), next: registry.UserKeychain{}})
}

// mountFrom gives the names of repositories the registry's host.
func (o *Output) mountFrom(t *target) []string {
	var all []string
	host := strings.TrimSuffix(t.repo.uri, t.repo.name)
	for _, name := range o.MountFrom {
		if _, _, whole := splitName(name); !whole {
			name = host + name
		}
		all = append(all, name)
	}
	return all
}

func (o *Output) upload(ctx context.Context, sc *builder.Scope, t *target) error {
	var err error
	if t.pushed, err = t.push.Finish(ctx); err != nil {
		return o.explain(ctx, t, err)
	}
	if !t.first {
		sc.Log("%s", t.summary())
	}
	return nil
}

// check waits for what ECR does with a pushed image.
func (o *Output) check(ctx context.Context, sc *builder.Scope, t *target) error {
	g, ctx := errgroup.WithContext(ctx)
	if o.Scan != nil && o.Scan.Wait {
		g.Go(func() error { return o.deps.Cloud.Explain(ctx, t.access, o.Scan.await(ctx, sc, t)) })
	}
	if o.Replication != nil && o.Replication.Wait {
		g.Go(func() error { return o.deps.Cloud.Explain(ctx, t.access, o.Replication.await(ctx, sc, t)) })
	}
	return g.Wait()
}

// ref is the image by its digest.
func (t *target) ref() string { return t.repo.uri + "@" + t.pushed.Digest }

func (t *target) summary() string {
	verb := "pushed"
	if t.pushed.Unchanged {
		verb = "already at"
	}
	return fmt.Sprintf("%s %s:%s (%s)", verb, t.repo.uri, t.tags[0], short(t.pushed.Digest))
}

// published is what later outputs and the report see: the first target, and
// the references in all of them.
func published(targets []*target) builder.Published {
	t := targets[0]
	out := builder.Published{Summary: t.summary(), Unchanged: true, Values: map[string]string{
		"ref": t.ref(), "digest": t.pushed.Digest, "uri": t.repo.uri, "repository": t.repo.name, "registry": t.repo.registry,
		"arn": t.repo.arn, "region": t.access.Region, "tag": t.tags[0], "tags": strings.Join(t.tags, ","), "name": t.repo.uri + ":" + t.tags[0],
	}}
	var refs []string
	for _, t := range targets {
		refs = append(refs, t.ref())
		out.Unchanged = out.Unchanged && t.pushed.Unchanged && len(t.notes) == 0
		t.scan.report(out.Values)
	}
	out.Values["refs"] = strings.Join(refs, ",")
	if n := len(targets); n > 1 {
		out.Summary += fmt.Sprintf(" and %d more", n-1)
	}
	if text := t.scan.String(); text != "" {
		out.Summary += ", " + text
	}
	return out
}

// warnZstd tells of services that cannot take the layers.
func (o *Output) warnZstd(sc *builder.Scope) {
	if o.Compression != "zstd" {
		return
	}
	if name := onInstances(sc); name != "" {
		sc.Log("warning: zstd: %s runs on EC2 instances, whose Docker engine must be 23.0 or newer to read it; Fargate does from platform 1.4.0", name)
	}
}

// onInstances names the service of this build that EC2 instances run.
func onInstances(sc *builder.Scope) string {
	if sc.Plan == nil {
		return ""
	}
	b, _ := sc.Plan.Build(sc.Step.Build())
	for _, s := range b.Steps {
		var config struct {
			LaunchType string `json:"launch_type"`
		}
		if s.Kind != "ecs" || json.Unmarshal(s.Config, &config) != nil {
			continue
		}
		if config.LaunchType == "EC2" || config.LaunchType == "EXTERNAL" {
			return s.Name
		}
	}
	return ""
}

// short is a digest as people read it.
func short(digest string) string {
	algorithm, hex, ok := strings.Cut(digest, ":")
	if !ok || len(hex) < 12 {
		return digest
	}
	return algorithm + ":" + hex[:12]
}

// lateError is why a wait ended, in the user's words.
func lateError(ctx context.Context, what string) error {
	if errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
		return fmt.Errorf("timed out waiting for %s", what)
	}
	return context.Cause(ctx)
}
