package image

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"bake/builder"
	"bake/internal/lazyregexp"
	"bake/steps/amazon"
	"bake/templates"
)

// Parameter is the output `ssm_parameter`: the AMI's id under a name in the SSM
// Parameter Store, in every region that the AMI is in. Launch templates and
// CloudFormation read it there.
type Parameter struct {
	Name        string            `yaml:"name" bake:"main,required" doc:"Name of the parameter: /images/web/${{ var.version }}."`
	Promote     templates.Strings `yaml:"promote" doc:"More parameters, set when name is set in all regions: /images/web/latest."`
	Description string            `yaml:"description" doc:"Description of the parameter, at most 1024 characters."`
	Tags        map[string]string `yaml:"tags" doc:"Tags of the parameter."`
	Regions     []string          `yaml:"regions" doc:"Where to set it; default: every region that the AMI is in."`

	deps Deps
}

// parameterName is a name as SSM takes it (PutParameter: Name).
var parameterName = lazyregexp.New(`^/?[a-zA-Z0-9_.-]+(/[a-zA-Z0-9_.-]+)*$`)

const (
	parameterNameMax        = 1011
	parameterDescriptionMax = 1024
	imageType               = "aws:ec2:image"
)

// Validate checks the names.
func (o *Parameter) Validate(b templates.Block) templates.Diagnostics {
	var ds templates.Diagnostics
	check := func(name string, at templates.Block) {
		first, _, _ := strings.Cut(strings.ToLower(strings.TrimPrefix(name, "/")), "/")
		switch {
		case name == "":
		case !parameterName.MatchString(name) || len(name) > parameterNameMax:
			ds = append(ds, at.Errorf("%q is not the name of an SSM parameter", name))
		case strings.Contains(name[1:], "/") && name[0] != '/':
			d := at.Errorf("the SSM parameter %q has a path, which has to begin with /", name)
			d.Hint = "/" + name
			ds = append(ds, d)
		case strings.HasPrefix(first, "aws") || strings.HasPrefix(first, "ssm"):
			ds = append(ds, at.Errorf("the SSM parameter %q: names that begin with aws or ssm are AWS's own", name))
		}
	}
	check(o.Name, b.At("name"))
	for i, name := range o.Promote {
		check(name, b.At("promote", fmt.Sprint(i)))
	}
	if len(o.Description) > parameterDescriptionMax {
		ds = append(ds, b.At("description").Errorf("the description is longer than %d characters", parameterDescriptionMax))
	}
	return append(ds, checkTags(b.At("tags"), o.Tags)...)
}

// Accepts says that only an AMI has an id to set.
func (o *Parameter) Accepts(k builder.ArtifactKind) bool { return k == builder.AMIArtifact }

// Publish sets the parameters whose value is another: first the one name in all
// regions, then those that are promoted.
func (o *Parameter) Publish(ctx context.Context, sc *builder.Scope, in builder.Artifact) (builder.Published, error) {
	at, err := reachOf(sc, *in.AMI)
	if err != nil {
		return builder.Published{}, err
	}
	regions, err := at.regions(o.Regions)
	if err != nil {
		return builder.Published{}, err
	}
	versions := make([]int64, len(regions))
	var changes atomic.Int64
	for round, names := range [][]string{{o.Name}, o.Promote} {
		errs := each(ctx, regions, func(ctx context.Context, i int, region string) error {
			shelf, err := o.shelf(ctx, sc, at.access.In(region))
			if err != nil {
				return err
			}
			for _, name := range names {
				version, changed, err := shelf.set(ctx, name, at.images[region])
				if err != nil {
					return shelf.cloud.Explain(ctx, shelf.access, fmt.Errorf("setting SSM parameter %s: %w", name, err))
				}
				if changed {
					changes.Add(1)
				}
				if round == 0 {
					versions[i] = version
				}
			}
			return nil
		})
		if err := errors.Join(errs...); err != nil {
			return builder.Published{}, err
		}
	}
	home := max(0, slices.Index(regions, in.AMI.Region))
	return builder.Published{
		Values:    map[string]string{"name": o.Name, "version": fmt.Sprint(versions[home]), "value": at.images[regions[home]]},
		Summary:   fmt.Sprintf("%s = %s in %s", strings.Join(append([]string{o.Name}, o.Promote...), ", "), at.images[regions[home]], strings.Join(regions, ", ")),
		Unchanged: changes.Load() == 0,
	}, nil
}

// A shelf is the Parameter Store of one region.
type shelf struct {
	*Parameter
	cloud  *amazon.Cloud
	access amazon.Access
	ssm    *ssm.Client
	sc     *builder.Scope
}

func (o *Parameter) shelf(ctx context.Context, sc *builder.Scope, a amazon.Access) (*shelf, error) {
	cfg, err := o.deps.Cloud.Config(ctx, a)
	if err != nil {
		return nil, err
	}
	return &shelf{Parameter: o, cloud: o.deps.Cloud, access: a, ssm: ssm.NewFromConfig(cfg), sc: sc}, nil
}

// set gives a parameter its value, if it has another, and returns its version.
func (s *shelf) set(ctx context.Context, name, id string) (int64, bool, error) {
	have, err := s.ssm.GetParameter(ctx, &ssm.GetParameterInput{Name: &name})
	missing := amazon.IsCode(err, "ParameterNotFound")
	switch {
	case err != nil && !missing:
		return 0, false, err
	case err == nil && aws.ToString(have.Parameter.Value) == id:
		tagged, err := s.tag(ctx, name)
		return have.Parameter.Version, tagged, err
	}
	in := &ssm.PutParameterInput{Name: &name, Value: &id, Type: types.ParameterTypeString, DataType: aws.String(imageType)}
	if s.Description != "" {
		in.Description = &s.Description
	}
	if missing { // tags can be given at birth only
		in.Tags = s.tags()
	} else {
		in.Overwrite = aws.Bool(true)
	}
	out, err := s.ssm.PutParameter(ctx, in)
	if amazon.IsCode(err, "ParameterAlreadyExists") { // an answer was lost, or somebody was quicker
		in.Tags, in.Overwrite = nil, aws.Bool(true)
		out, err = s.ssm.PutParameter(ctx, in)
	}
	if err != nil {
		return 0, false, err
	}
	s.sc.Log("%s: %s is %s", s.access.Region, name, id)
	if err := s.accepted(ctx, name, id); err != nil {
		return 0, true, err
	}
	if missing {
		return out.Version, true, nil
	}
	_, err = s.tag(ctx, name)
	return out.Version, true, err
}

// acceptedWithin is how long SSM may take to look at an image's id: it answers
// PutParameter before it has.
const acceptedWithin = time.Minute

// accepted waits until the parameter has the value: SSM drops one that is not
// the id of an image which the account can use, and tells nobody.
func (s *shelf) accepted(ctx context.Context, name, id string) error {
	start, pause := time.Now(), 100*time.Millisecond
	for {
		have, err := s.ssm.GetParameter(ctx, &ssm.GetParameterInput{Name: &name})
		switch {
		case err == nil && aws.ToString(have.Parameter.Value) == id:
			return nil
		case err != nil && !amazon.IsCode(err, "ParameterNotFound"):
			return err
		case time.Since(start) > acceptedWithin:
			return &amazon.Explained{Err: fmt.Errorf("SSM has not taken %s as the id of an image", id), Cure: "the caller needs ec2:DescribeImages, and the image must be available to the account"}
		}
		if err := sleep(ctx, pause); err != nil {
			return err
		}
		pause = min(2*pause, 5*time.Second)
	}
}

func (s *shelf) tags() []types.Tag {
	tags := maps.Clone(s.Tags)
	if tags == nil {
		tags = map[string]string{}
	}
	tags[amazon.TagTemplate], tags[amazon.TagBuild] = s.sc.Plan.Name, s.sc.Step.Build()
	tags[TagTags] = withNote(s.Tags)[TagTags]
	if tags[TagTags] == "" {
		delete(tags, TagTags)
	}
	var out []types.Tag
	for _, k := range slices.Sorted(maps.Keys(tags)) {
		out = append(out, types.Tag{Key: aws.String(k), Value: aws.String(tags[k])})
	}
	return out
}

// tag makes the tags of a parameter that exists those of the template.
func (s *shelf) tag(ctx context.Context, name string) (bool, error) {
	out, err := s.ssm.ListTagsForResource(ctx, &ssm.ListTagsForResourceInput{ResourceType: types.ResourceTypeForTaggingParameter, ResourceId: &name})
	if err != nil {
		return false, err
	}
	have := map[string]string{}
	for _, t := range out.TagList {
		have[aws.ToString(t.Key)] = aws.ToString(t.Value)
	}
	var add []types.Tag
	wanted := map[string]bool{}
	for _, t := range s.tags() {
		wanted[*t.Key] = true
		if is, ok := have[*t.Key]; !ok || !newWording(s.sc.Plan, *t.Value).matches(is) {
			add = append(add, t)
		}
	}
	var remove []string
	for k := range have {
		if !wanted[k] && (noted(have[TagTags], k) || k == TagTags) {
			remove = append(remove, k)
		}
	}
	if len(add) > 0 {
		if _, err := s.ssm.AddTagsToResource(ctx, &ssm.AddTagsToResourceInput{ResourceType: types.ResourceTypeForTaggingParameter, ResourceId: &name, Tags: add}); err != nil {
			return false, err
		}
	}
	if len(remove) > 0 {
		slices.Sort(remove)
		if _, err := s.ssm.RemoveTagsFromResource(ctx, &ssm.RemoveTagsFromResourceInput{ResourceType: types.ResourceTypeForTaggingParameter, ResourceId: &name, TagKeys: remove}); err != nil {
			return false, err
		}
	}
	return len(add)+len(remove) > 0, nil
}
