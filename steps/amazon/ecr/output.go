package ecr

import (
	"fmt"
	"strings"
	"time"

	"bake/builder"
	"bake/internal/lazyregexp"
	"bake/steps/amazon"
	"bake/templates"
)

// Output pushes the image, or an index over all its platforms, to
// repositories of ECR and keeps them as the template says.
type Output struct {
	Repository    string            `yaml:"repository" bake:"main,required" doc:"Name of the repository, like team/api, or its whole address; a tag may stand behind it."`
	Tags          templates.Strings `yaml:"tags" doc:"Tags the image gets, latest if none is given here or in the repository."`
	amazon.Access                   // where and as whom
	Account       string            `yaml:"account" pattern:"^[0-9]{12}$" doc:"Account of the registry, if it is not the caller's."`
	Regions       templates.Strings `yaml:"regions" doc:"All regions the image is pushed to, at once; the first is the one that later outputs see."`
	Also          []Destination     `yaml:"also" doc:"More places for the same image: other accounts, regions or names."`
	Public        bool              `yaml:"public" doc:"Push to ECR Public (public.ecr.aws)."`

	Create      *Create           `yaml:"create" doc:"Make the repository if it is missing; what is named here is kept so on every run."`
	Platforms   []string          `yaml:"platforms" doc:"Push only these of the image's platforms."`
	Compression string            `yaml:"compression" enum:"gzip|zstd|none" default:"gzip" doc:"How layers are compressed that are not compressed yet; not every engine reads zstd."`
	MountFrom   templates.Strings `yaml:"mount_from" doc:"Repositories of the same registry that may have layers already, beside that of the base image."`
	Annotations map[string]string `yaml:"annotations" doc:"More annotations for the image's manifest."`
	Force       bool              `yaml:"index" doc:"Push an index even for a single platform."`

	Scan        *Scan        `yaml:"scan" doc:"Wait for the image's scan, and fail if it finds too much."`
	Replication *Replication `yaml:"replication" doc:"Wait until ECR has copied the image to the regions and accounts that its registry replicates to."`
	Keep        *Keep        `yaml:"keep" doc:"How many images stay; older ones are deleted, except those that a task definition in use names."`

	deps Deps
}

// A Destination is one more place for the image. What it does not say is as
// in the output.
type Destination struct {
	Repository    string `yaml:"repository" doc:"Name of the repository there."`
	Account       string `yaml:"account" pattern:"^[0-9]{12}$" doc:"Account of the registry, if it is not the caller's."`
	amazon.Access        // where and as whom
}

// A Scan says what is asked of the scan of an image.
type Scan struct {
	Wait        bool              `yaml:"wait" bake:"main" default:"true" doc:"Wait until the scan is done."`
	FailOn      string            `yaml:"fail_on" enum:"informational|low|medium|high|critical" doc:"Fail if a finding is as severe as this, or more."`
	Ignore      templates.Strings `yaml:"ignore" doc:"Findings that do not count, like CVE-2024-1234; * stands for any characters."`
	OnlyFixable bool              `yaml:"only_fixable" doc:"Count only findings for which there is a fixed version."`
	Unsupported string            `yaml:"unsupported" enum:"warn|fail" default:"warn" doc:"What an image means that ECR cannot scan."`
	Timeout     time.Duration     `yaml:"timeout" default:"10m" min:"1s" doc:"How long to wait."`
}

// A Replication says how to wait for ECR's copies.
type Replication struct {
	Wait    bool          `yaml:"wait" bake:"main" default:"true" doc:"Wait until the image is there."`
	Timeout time.Duration `yaml:"timeout" default:"30m" min:"1s" doc:"How long to wait."`
}

// Keep says which images stay in the repository.
type Keep struct {
	Tagged    int           `yaml:"tagged" bake:"main" min:"1" doc:"How many tagged images stay, the newest; all if not given."`
	Untagged  time.Duration `yaml:"untagged_older_than" default:"24h" min:"0s" doc:"Untagged images older than this go."`
	Tags      string        `yaml:"tags" default:"*" doc:"Only images all of whose tags fit this pattern are deleted; * stands for any characters."`
	UsedIn    []string      `yaml:"used_in" doc:"More regions whose ECS clusters may use the images; those pushed to are looked at anyway."`
	DryRun    bool          `yaml:"dry_run" doc:"Only tell what would be deleted."`
	NoECS     bool          `yaml:"ignore_ecs" doc:"Do not ask ECS what is in use."`
	Protected []string      `yaml:"protect" doc:"Tags that stay whatever their age; * stands for any characters."`
}

// Accepts says that only container images can be pushed.
func (o *Output) Accepts(k builder.ArtifactKind) bool { return k == builder.ImageArtifact }

// repositoryName is what ECR takes (CreateRepository).
var repositoryName = lazyregexp.New(`^(?:[a-z0-9]+(?:[._-][a-z0-9]+)*/)*[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*$`)

var tagForm = lazyregexp.New(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$`)

// Validate checks names and what excludes each other, as far as they are known.
func (o *Output) Validate(b templates.Block) templates.Diagnostics {
	var out templates.Diagnostics
	out = append(out, o.validateName(b)...)
	for i, p := range o.Platforms {
		if _, err := builder.ParsePlatform(p); err != nil && p != "" {
			out = append(out, b.At("platforms", fmt.Sprint(i)).Errorf("%v", err))
		}
	}
	for i, t := range o.Tags {
		if t != "" && !tagForm.MatchString(t) {
			d := b.At("tags", fmt.Sprint(i)).Errorf("%q is not a tag", t)
			d.Hint = "letters, digits, and _ . - inside, at most 128; the name stands in `repository`"
			out = append(out, d)
		}
	}
	for i, d := range o.Also {
		if d.Repository != "" && !repositoryName.MatchString(d.Repository) {
			out = append(out, b.At("also", fmt.Sprint(i), "repository").Errorf("%q is not the name of a repository", d.Repository))
		}
	}
	return append(out, o.validatePublic(b)...)
}

func (o *Output) validateName(b templates.Block) templates.Diagnostics {
	if o.Repository == "" {
		return nil
	}
	at := b.At("repository")
	host, path, hasHost := splitName(o.Repository)
	path, tag := cutTag(path)
	if tag != "" && !tagForm.MatchString(tag) || strings.Contains(o.Repository, "@") {
		return templates.Diagnostics{at.Errorf("%q is not a repository and a tag", o.Repository)}
	}
	if !hasHost && strings.ContainsAny(strings.SplitN(path, "/", 2)[0], ".:") && strings.Contains(path, "/") {
		d := at.Errorf("%q is not in ECR", o.Repository)
		d.Hint = "an address there begins like 123456789012.dkr.ecr.eu-west-1.amazonaws.com/; the output `registry` pushes elsewhere"
		return templates.Diagnostics{d}
	}
	if len(path) < 2 || len(path) > 256 || !repositoryName.MatchString(path) {
		d := at.Errorf("%q is not the name of a repository", path)
		d.Hint = "2 to 256 lower case letters, digits, and single . _ - / inside"
		return templates.Diagnostics{d}
	}
	switch {
	case host.Region != "" && o.Region != "" && host.Region != o.Region:
		return templates.Diagnostics{b.At("region").Errorf("the repository says %s, region says %s", host.Region, o.Region)}
	case host.Account != "" && o.Account != "" && host.Account != o.Account:
		return templates.Diagnostics{b.At("account").Errorf("the repository says %s, account says %s", host.Account, o.Account)}
	case hasHost && !host.Public && len(o.Regions) > 0:
		d := b.At("regions").Errorf("the repository's address names one region, regions names others")
		d.Hint = "write the repository without its host"
		return templates.Diagnostics{d}
	case host.Region != "" && o.Public:
		return templates.Diagnostics{b.At("public").Errorf("%s is a private registry", o.Repository)}
	}
	return nil
}

// validatePublic refuses what ECR Public does not have.
func (o *Output) validatePublic(b templates.Block) templates.Diagnostics {
	if !o.isPublic() {
		return nil
	}
	var out templates.Diagnostics
	for _, f := range []struct {
		key string
		set bool
	}{
		{"scan", o.Scan != nil}, {"replication", o.Replication != nil}, {"regions", len(o.Regions) > 0},
		{"account", o.Account != ""}, {"also", len(o.Also) > 0}, {"region", o.Region != ""},
	} {
		if f.set {
			out = append(out, b.At(f.key).Errorf("ECR Public has no %s", f.key))
		}
	}
	if c := o.Create; c != nil {
		for _, f := range []struct {
			key string
			set bool
		}{
			{"scan_on_push", c.ScanOnPush != nil}, {"immutable", c.Immutable != nil},
			{"encryption", c.Encryption != nil}, {"lifecycle", c.Lifecycle != nil},
		} {
			if f.set {
				out = append(out, b.At("create", f.key).Errorf("ECR Public has no %s", f.key))
			}
		}
	}
	return out
}

func (o *Output) isPublic() bool {
	host, _, _ := splitName(o.Repository)
	return o.Public || host.Public
}

// cutTag splits NAME:TAG.
func cutTag(path string) (name, tag string) {
	name, tag, _ = strings.Cut(path, ":")
	return name, tag
}
