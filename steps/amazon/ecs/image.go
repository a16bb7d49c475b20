package ecs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"bake/builder"
	"bake/internal/registry"
)

// setImages sets the images that the template names, and the one that an
// earlier output pushed or that a registry holds already (bake release), by
// digest.
func (d *deployment) setImages(ctx context.Context, outputs map[string]map[string]string) error {
	images := maps.Clone(d.out.Images)
	if images == nil {
		images = map[string]string{}
	}
	for name, c := range d.out.Others {
		if c.Image != "" {
			images[name] = c.Image
		}
	}
	image := cmp.Or(d.out.image(outputs, d.cfg.Region), d.built.Ref)
	if image == "" && len(images) == 0 && d.built.ID != "" {
		d.story.Log("the image that was built is pushed nowhere, so that it is not what is deployed: an ecr or registry output before this one does that")
	}
	if image != "" {
		c, err := containerNamed(d.def, d.out.Container)
		if err != nil {
			return err
		}
		if name := aws.ToString(c.Name); images[name] == "" {
			images[name] = image
		}
	}
	for _, name := range slices.Sorted(maps.Keys(images)) {
		c, err := containerNamed(d.def, name)
		if err != nil {
			return err
		}
		image, err := d.byDigest(ctx, images[name])
		if err != nil {
			return fmt.Errorf("image of container %s: %w", name, err)
		}
		c.Image = &image
	}
	for _, c := range d.def.ContainerDefinitions {
		if aws.ToString(c.Image) == "" {
			return &missingError{what: fmt.Sprintf("container %s has no image", aws.ToString(c.Name)),
				hint: "name one with `image`, or push one with an ecr or registry output before this one"}
		}
	}
	return nil
}

// image is the image of the output's own container: what the template names,
// else what the ecr or registry output before pushed; of several the one in
// the service's region.
func (o *Output) image(outputs map[string]map[string]string, region string) string {
	if o.Image != "" {
		return o.Image
	}
	if o.Container != "" && o.Images[o.Container] != "" {
		return ""
	}
	for _, name := range slices.Sorted(maps.Keys(outputs)) {
		if ref := outputs[name]["ref"]; strings.Contains(ref, ".ecr."+region+".") {
			return ref
		}
	}
	for _, kind := range []string{"ecr", "registry"} {
		if ref := outputs[kind]["ref"]; ref != "" {
			return ref
		}
	}
	return ""
}

// byDigest turns a tag into a digest, so that every task of a revision runs
// the same image, also the one that starts next year.
func (d *deployment) byDigest(ctx context.Context, image string) (string, error) {
	if strings.Contains(image, "@sha256:") || d.out.Digest != nil && !*d.out.Digest || d.deps.Registry == nil {
		return image, nil
	}
	ref, err := registry.ParseReference(image, false)
	if err != nil {
		return "", err
	}
	found, err := d.deps.Registry.Find(ctx, ref, registry.Pull{Platform: platformOf(d.def)})
	if _, wrong := errors.AsType[*registry.PlatformError](err); wrong {
		return "", err
	}
	if err != nil {
		d.story.Log("%s stays a tag: its digest cannot be asked for from here: %v", image, err)
		return image, nil
	}
	return ref.WithTag("").WithDigest(found.Digest).String(), nil
}

// platformOf is what the definition's tasks run on.
func platformOf(d *Definition) builder.Platform {
	p := builder.Platform{OS: "linux", Arch: "amd64"}
	if r := d.RuntimePlatform; r != nil {
		if r.CpuArchitecture == types.CPUArchitectureArm64 {
			p.Arch = "arm64"
		}
		if strings.HasPrefix(string(r.OperatingSystemFamily), "WINDOWS") {
			p.OS = "windows"
		}
	}
	return p
}
