package publish

import (
	"context"
	"fmt"
	"strings"

	"bake/builder"
	"bake/internal/registry"
	"bake/templates"
)

// Registry pushes the image, or an index over all its platforms, to a registry.
type Registry struct {
	Repository  string            `yaml:"repository" bake:"main,required" doc:"Where to push to, HOST/PATH; a tag may stand behind it. Without a host it is Docker Hub."`
	Tags        templates.Strings `yaml:"tags" doc:"Tags the image gets, latest if none is given here or in the repository."`
	Insecure    bool              `yaml:"insecure" doc:"Allow plain HTTP. To this machine it is always allowed."`
	Immutable   bool              `yaml:"immutable" doc:"Fail, before anything is uploaded, if a tag exists with other content."`
	Platforms   []string          `yaml:"platforms" doc:"Push only these of the image's platforms."`
	Compression string            `yaml:"compression" enum:"gzip|zstd|none" default:"gzip" doc:"How layers are compressed that are not compressed yet; not every engine reads zstd."`
	MountFrom   templates.Strings `yaml:"mount_from" doc:"Repositories of the same registry that may have layers already, beside that of the base image."`
	Annotations map[string]string `yaml:"annotations" doc:"More annotations for the image's manifest."`
	Force       bool              `yaml:"index" doc:"Push an index even for a single platform."`

	deps Deps
}

// Validate checks the names as far as they are known.
func (o *Registry) Validate(b templates.Block) templates.Diagnostics {
	var out templates.Diagnostics
	if o.Repository != "" {
		ref, err := registry.ParseRepository(o.Repository, o.Insecure)
		if err != nil {
			out = append(out, b.At("repository").Errorf("%v", err))
		} else if ref.Digest != "" {
			out = append(out, b.At("repository").Errorf("%s names a digest; a push makes one", o.Repository))
		}
	}
	for i, p := range o.Platforms {
		if _, err := builder.ParsePlatform(p); err != nil && p != "" {
			out = append(out, b.At("platforms", fmt.Sprint(i)).Errorf("%v", err))
		}
	}
	for i, t := range o.Tags {
		if strings.ContainsAny(t, ":/ ") {
			d := b.At("tags", fmt.Sprint(i)).Errorf("%q is not a tag", t)
			d.Hint = "only the part behind the colon; the name stands in `repository`"
			out = append(out, d)
		}
	}
	return out
}

// Accepts says that only container images can be pushed.
func (o *Registry) Accepts(k builder.ArtifactKind) bool { return k == builder.ImageArtifact }

// Publish pushes what is not there yet.
func (o *Registry) Publish(ctx context.Context, sc *builder.Scope, in builder.Artifact) (builder.Published, error) {
	to, err := registry.ParseRepository(o.Repository, o.Insecure)
	if err != nil {
		return builder.Published{}, err
	}
	images, err := registry.Variants(ctx, sc.Image, *in.Image, o.Platforms)
	if err != nil {
		return builder.Published{}, err
	}
	for _, v := range images {
		for k, value := range o.Annotations {
			v.Annotations[k] = value
		}
	}
	push := registry.Push{
		To: to, Tags: o.Tags, Immutable: o.Immutable, Index: o.Force,
		Compression: registry.Compression(o.Compression), MountFrom: registry.MountFrom(*in.Image, o.Insecure, o.MountFrom...),
		Progress: sc.Progress,
	}
	if len(o.Platforms) == 0 && len(o.Annotations) == 0 {
		if push.Document, err = o.deps.Registry.Index(ctx, *in.Image); err != nil {
			return builder.Published{}, err
		}
	}
	if push.Document == nil && (len(images) > 1 || o.Force) {
		push.Annotations = images[0].Annotations
	}
	if to.Tag == "" && len(o.Tags) == 0 {
		push.Tags = []string{"latest"}
	}
	pushed, err := o.deps.Registry.Push(ctx, push, images...)
	if err != nil {
		return builder.Published{}, err
	}
	return o.published(to, push, pushed), nil
}

func (o *Registry) published(to registry.Reference, push registry.Push, p registry.Pushed) builder.Published {
	tags := push.Tags
	if to.Tag != "" {
		tags = append([]string{to.Tag}, tags...)
	}
	verb := "pushed"
	if p.Unchanged {
		verb = "already at"
	}
	name := to.WithTag(tags[0]).String()
	return builder.Published{
		Values: map[string]string{
			"ref":        to.WithTag("").WithDigest(p.Digest).String(),
			"digest":     p.Digest,
			"repository": to.Name(),
			"tag":        tags[0],
			"tags":       strings.Join(tags, ","),
			"name":       name,
		},
		Summary:   fmt.Sprintf("%s %s (%s)", verb, name, short(p.Digest)),
		Unchanged: p.Unchanged,
	}
}
