package publish

import (
	"context"
	"fmt"
	"path/filepath"

	"bake/builder"
	"bake/internal/imagefile"
	"bake/internal/registry"
	"bake/templates"
)

// Archive writes the image to a file or directory.
type Archive struct {
	Path        string            `yaml:"path" bake:"main,required" doc:"File to write, or directory for oci-dir; relative to the template."`
	Format      string            `yaml:"format" enum:"oci|oci-dir|docker|rootfs" default:"oci" doc:"oci is a tar of an OCI layout, oci-dir the layout as a directory, docker what docker load reads, rootfs the files alone."`
	Compression string            `yaml:"compression" enum:"none|gzip|zstd" doc:"Of the layers for oci and oci-dir (as they are if not given), of the whole file for docker and rootfs (none if not given)."`
	Tags        templates.Strings `yaml:"tags" doc:"Names in the archive: tags for oci and oci-dir (latest if not given), NAME:TAG for docker."`
	Platforms   []string          `yaml:"platforms" doc:"Write only these of the image's platforms."`

	deps Deps
}

// Validate wants whole names where docker wants them.
func (o *Archive) Validate(b templates.Block) templates.Diagnostics {
	var out templates.Diagnostics
	for i, t := range o.Tags {
		if t == "" {
			continue
		}
		ref := t
		if o.Format != "docker" {
			ref = "x:" + t
		}
		if _, err := registry.ParseReference(ref, false); err != nil {
			if _, whole := registry.ParseReference(t, false); whole != nil {
				out = append(out, b.At("tags", fmt.Sprint(i)).Errorf("%v", err))
			}
		}
	}
	for i, p := range o.Platforms {
		if _, err := builder.ParsePlatform(p); err != nil && p != "" {
			out = append(out, b.At("platforms", fmt.Sprint(i)).Errorf("%v", err))
		}
	}
	return out
}

// Accepts says that only container images can be written.
func (o *Archive) Accepts(k builder.ArtifactKind) bool { return k == builder.ImageArtifact }

// Publish writes the file, unless it holds the image already.
func (o *Archive) Publish(ctx context.Context, sc *builder.Scope, in builder.Artifact) (builder.Published, error) {
	images, err := registry.Variants(ctx, sc.Image, *in.Image, o.Platforms)
	if err != nil {
		return builder.Published{}, err
	}
	path := o.Path
	if !filepath.IsAbs(path) {
		path = filepath.Join(sc.Dir, path)
	}
	file := imagefile.File{
		Path: path, Format: imagefile.Format(o.Format), Compression: registry.Compression(o.Compression),
		Tags: o.tags(), Annotations: in.Image.Annotations,
		Progress: func(done int64, id string) {
			sc.Progress(builder.Progress{ID: id, Verb: "packing", Done: done, Unit: "B"})
		},
	}
	w, err := imagefile.Write(ctx, file, images...)
	if err != nil {
		return builder.Published{}, err
	}
	verb := "wrote"
	if w.Unchanged {
		verb = "already at"
	}
	return builder.Published{
		Values:    map[string]string{"path": path, "digest": w.Digest, "format": o.Format, "size": fmt.Sprint(w.Size)},
		Summary:   fmt.Sprintf("%s %s (%s, %s)", verb, o.Path, o.Format, short(w.Digest)),
		Unchanged: w.Unchanged,
	}, nil
}

// tags gives names without a tag the usual one, for docker.
func (o *Archive) tags() []string {
	if o.Format != "docker" {
		return o.Tags
	}
	out := make([]string, 0, len(o.Tags))
	for _, t := range o.Tags {
		ref, err := registry.ParseReference(t, false)
		if err == nil {
			t = ref.String()
		}
		out = append(out, t)
	}
	return out
}
