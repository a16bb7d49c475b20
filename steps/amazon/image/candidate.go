package image

import (
	"fmt"
	"maps"

	"github.com/aws/aws-sdk-go-v2/aws"

	"bake/builder"
)

// Kind is the output's key in a template.
const Kind = "ami"

// A CandidateSpec is what the image that a build makes is to be, as far as it
// has to be said when it is created (CreateImage): publishing it then has
// nothing left to change.
type CandidateSpec struct {
	// Name is what the image is called. Where another image has the name
	// already, and IfExists is not IfExistsFail, create it as
	// TemporaryName(Name, token): the output gives it its name.
	Name        string
	Description string
	// Tags are those of the image, SnapshotTags those of its snapshots, both
	// whole but for what amazon's tags.go names.
	Tags         map[string]string
	SnapshotTags map[string]string
	// Encrypt and KMSKey are what the volumes that become the image should be
	// launched with, so that no second copy is needed; nil and "": as they are.
	Encrypt *bool
	KMSKey  string
	// BootMode and ENA are what the image is to support, if the machine can be
	// brought to it before it is captured; else the image is registered anew when
	// it is published.
	BootMode string
	ENA      *bool
	IfExists string
	// Derived says that no output names the image.
	Derived bool
}

// The values of `if_exists`.
const (
	IfExistsFail    = "fail"
	IfExistsReplace = "replace"
	IfExistsKeep    = "keep"
)

// Candidate returns what the image that the build makes is to be: what its
// first `ami` output says of the AMI in the source's region, or, if there is
// none that is sure to run, a name made of the template's.
func Candidate(p *builder.Plan, build string) (CandidateSpec, error) {
	b, ok := p.Build(build)
	if !ok {
		return CandidateSpec{}, fmt.Errorf("naming the image: the plan has no build %q", build)
	}
	for _, s := range b.Steps {
		if s.Phase != builder.Publish || s.Kind != Kind || s.If != "" {
			continue
		}
		out, err := outputOf(s)
		if err != nil {
			return CandidateSpec{}, err
		}
		return out.candidate(p, build), nil
	}
	return (&AMI{IfExists: IfExistsFail}).candidate(p, build), nil
}

// candidate is what the output says at the image's birth. What is not known
// before the output runs (a sensitive variable's value) is left for it.
func (o *AMI) candidate(p *builder.Plan, build string) CandidateSpec {
	name := o.Name
	if name == "" {
		name = derivedName(p, build)
	}
	encrypt := o.Encrypt
	if o.KMSKey != "" { // a key says it all; without, the image would be copied to encrypt it
		encrypt = aws.Bool(true)
	}
	return CandidateSpec{
		Name: name, Description: o.Description, Derived: o.Name == "",
		Tags: o.imageTags(name), SnapshotTags: o.snapshotTags(name),
		Encrypt: encrypt, KMSKey: o.KMSKey, BootMode: o.BootMode, ENA: o.ENA, IfExists: o.IfExists,
	}
}

// derivedName is unique enough without anybody's word: template, build, time.
func derivedName(p *builder.Plan, build string) string {
	name := p.Name
	if build != p.Name {
		name += "-" + build
	}
	when := p.Run["timestamp"]
	if when == "" {
		when = p.Created.UTC().Format("20060102-150405")
	}
	when = cleanName("-" + when)
	name = cleanName(name)
	return name[:min(len(name), nameMax-len(when))] + when
}

// imageTags are the AMI's tags by the template, and the note of which they
// are. The console shows the tag Name.
func (o *AMI) imageTags(name string) map[string]string {
	tags := map[string]string{"Name": name}
	maps.Copy(tags, known(o.Tags))
	return withNote(tags, o.asked()...)
}

// snapshotTags are the tags of its snapshots.
func (o *AMI) snapshotTags(name string) map[string]string {
	tags := map[string]string{"Name": name}
	maps.Copy(tags, known(o.Tags))
	maps.Copy(tags, known(o.SnapshotTags))
	return withNote(tags)
}

// What the note of the template's tags also remembers, as if they were tags:
// that the template has asked for it. What others have set is left alone.
const (
	notedDescription = "aws:description"
	notedDeprecation = "aws:deprecation"
	notedProtection  = "aws:protection"
)

// asked is what the template says of the image for the note.
func (o *AMI) asked() []string {
	var all []string
	if o.Description != "" {
		all = append(all, notedDescription)
	}
	if o.DeprecateAfter > 0 || o.DeprecateAt != "" {
		all = append(all, notedDeprecation)
	}
	if o.Protection.Enabled {
		all = append(all, notedProtection)
	}
	return all
}

// known drops tags whose value is not known yet; a tag may be empty only if
// the template says so, which does no harm to leave to the output.
func known(tags map[string]string) map[string]string {
	out := make(map[string]string, len(tags))
	for k, v := range tags {
		if v != "" {
			out[k] = v
		}
	}
	return out
}
