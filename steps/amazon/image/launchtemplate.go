package image

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"bake/builder"
	"bake/internal/lazyregexp"
	"bake/steps/amazon"
	"bake/templates"
)

// LaunchTemplate is the output `launch_template`: a new version of a launch
// template in which nothing but the AMI is another, in every region that the
// AMI is in or in some.
type LaunchTemplate struct {
	Name        string            `yaml:"name" bake:"main,required" doc:"Name of the launch template, 3 to 128 letters, digits and ()./_-."`
	Description string            `yaml:"description" doc:"Description of the version; default: the AMI's name."`
	Default     bool              `yaml:"default" default:"true" doc:"Make the new version the default one."`
	Keep        int               `yaml:"keep" min:"1" max:"9000" doc:"How many versions to keep. Older ones that bake has made are deleted, unless they are the default or instances run from them."`
	Regions     []string          `yaml:"regions" doc:"Where; default: the region that the AMI was made in."`
	Create      *TemplateBody     `yaml:"create" doc:"What the launch template has besides the AMI if there is none yet; without it, that is an error."`
	Tags        map[string]string `yaml:"tags" doc:"Tags of a launch template that is created."`

	deps Deps
}

// TemplateBody is what a new launch template says of its instances.
type TemplateBody struct {
	Type           string            `yaml:"type" doc:"Instance type."`
	KeyPair        string            `yaml:"key_pair" doc:"Name of a key pair."`
	SecurityGroups []string          `yaml:"security_groups" pattern:"^sg-[0-9a-f]{8,17}$" doc:"Ids of security groups."`
	Profile        string            `yaml:"profile" doc:"Name or ARN of an instance profile."`
	UserData       string            `yaml:"user_data" doc:"User data, as text."`
	Tags           map[string]string `yaml:"tags" doc:"Tags of the instances and their volumes."`
}

// versionMark begins the description of versions that bake has made.
const versionMark = "bake: "

const versionDescriptionMax = 255

var templateName = lazyregexp.New(`^[a-zA-Z0-9().\-/_]{3,128}$`)

// Validate checks the name and the tags.
func (o *LaunchTemplate) Validate(b templates.Block) templates.Diagnostics {
	var ds templates.Diagnostics
	if o.Name != "" && !templateName.MatchString(o.Name) {
		ds = append(ds, b.At("name").Errorf("%q is not the name of a launch template: 3 to 128 letters, digits and ().-/_", o.Name))
	}
	ds = append(ds, checkTags(b.At("tags"), o.Tags)...)
	if o.Create != nil {
		ds = append(ds, checkTags(b.At("create", "tags"), o.Create.Tags)...)
		if n := len(o.Create.UserData); n > 16<<10 {
			ds = append(ds, b.At("create", "user_data").Errorf("the user data has %d bytes: AWS takes at most 16384", n))
		}
	}
	return ds
}

// Accepts says that a launch template starts instances from an AMI.
func (o *LaunchTemplate) Accepts(k builder.ArtifactKind) bool { return k == builder.AMIArtifact }

// Publish makes a version with the AMI, unless the default one has it.
func (o *LaunchTemplate) Publish(ctx context.Context, sc *builder.Scope, in builder.Artifact) (builder.Published, error) {
	at, err := reachOf(sc, *in.AMI)
	if err != nil {
		return builder.Published{}, err
	}
	asked := o.Regions
	if len(asked) == 0 {
		asked = []string{in.AMI.Region}
	}
	regions, err := at.regions(asked)
	if err != nil {
		return builder.Published{}, err
	}
	results := make([]versioned, len(regions))
	var changes atomic.Int64
	errs := each(ctx, regions, func(ctx context.Context, i int, region string) error {
		l, err := o.line(ctx, sc, at.access.In(region), in.AMI.Name)
		if err != nil {
			return err
		}
		results[i], err = l.bring(ctx, at.images[region])
		changes.Add(l.changes)
		if err != nil {
			return l.cloud.Explain(ctx, l.access, fmt.Errorf("launch template %s: %w", o.Name, err))
		}
		return nil
	})
	for _, r := range results {
		if r.made.Token != "" {
			sc.Keep(r.made)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return builder.Published{}, err
	}
	home := results[max(0, slices.Index(regions, in.AMI.Region))]
	return builder.Published{
		Values:    map[string]string{"id": home.id, "name": o.Name, "version": fmt.Sprint(home.version)},
		Summary:   fmt.Sprintf("%s version %d starts %s (%s)", o.Name, home.version, in.AMI.ID, strings.Join(regions, ", ")),
		Unchanged: changes.Load() == 0,
	}, nil
}

// A versioned is a launch template as it is now.
type versioned struct {
	id      string
	version int64
	made    builder.Resource // if it was created
}

// A line is one launch template in one region.
type line struct {
	*LaunchTemplate
	cloud   *amazon.Cloud
	access  amazon.Access
	ec2     *ec2.Client
	sc      *builder.Scope
	image   string // the AMI's name
	changes int64
}

func (o *LaunchTemplate) line(ctx context.Context, sc *builder.Scope, a amazon.Access, image string) (*line, error) {
	cfg, err := o.deps.Cloud.Config(ctx, a)
	if err != nil {
		return nil, err
	}
	return &line{LaunchTemplate: o, cloud: o.deps.Cloud, access: a, ec2: ec2.NewFromConfig(cfg), sc: sc, image: image}, nil
}

func (l *line) bring(ctx context.Context, image string) (versioned, error) {
	lt, err := l.find(ctx)
	if err != nil {
		return versioned{}, err
	}
	if lt == nil {
		return l.create(ctx, image)
	}
	v := versioned{id: aws.ToString(lt.LaunchTemplateId), version: aws.ToInt64(lt.DefaultVersionNumber)}
	if tagOf(lt.Tags, amazon.TagRun) == string(l.sc.Run) { // made by this run before it was killed: it is to be kept
		if v.made, err = l.sc.Create(ctx, l.resource(), func(context.Context, builder.Resource) (string, error) { return v.id, nil }); err != nil {
			return v, err
		}
	}
	versions, err := l.versions(ctx, v.id)
	if err != nil {
		return v, err
	}
	v.version, err = l.version(ctx, lt, versions, image)
	if err != nil {
		return v, err
	}
	if l.Default && aws.ToInt64(lt.DefaultVersionNumber) != v.version {
		if _, err := l.ec2.ModifyLaunchTemplate(ctx, &ec2.ModifyLaunchTemplateInput{LaunchTemplateId: &v.id, DefaultVersion: aws.String(fmt.Sprint(v.version))}); err != nil {
			return v, fmt.Errorf("making version %d the default: %w", v.version, err)
		}
		l.changed("version %d is the default", v.version)
	}
	return v, l.prune(ctx, v, versions)
}

func (l *line) changed(format string, args ...any) {
	l.changes++
	l.sc.Log("%s: launch template %s: %s", l.access.Region, l.Name, fmt.Sprintf(format, args...))
}

// find returns the launch template, nil if there is none.
func (l *line) find(ctx context.Context) (*types.LaunchTemplate, error) {
	out, err := l.ec2.DescribeLaunchTemplates(ctx, &ec2.DescribeLaunchTemplatesInput{Filters: []types.Filter{amazon.Filter("launch-template-name", amazon.Literal(l.Name))}})
	if err != nil {
		return nil, err
	}
	for _, lt := range out.LaunchTemplates {
		if aws.ToString(lt.LaunchTemplateName) == l.Name {
			return &lt, nil
		}
	}
	return nil, nil
}

// versions returns all versions, the newest first.
func (l *line) versions(ctx context.Context, id string) ([]types.LaunchTemplateVersion, error) {
	var all []types.LaunchTemplateVersion
	pages := ec2.NewDescribeLaunchTemplateVersionsPaginator(l.ec2, &ec2.DescribeLaunchTemplateVersionsInput{LaunchTemplateId: &id})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("listing the versions: %w", err)
		}
		all = append(all, page.LaunchTemplateVersions...)
	}
	slices.SortFunc(all, func(a, b types.LaunchTemplateVersion) int {
		return int(aws.ToInt64(b.VersionNumber) - aws.ToInt64(a.VersionNumber))
	})
	return all, nil
}

// version returns the version that has the image: the default one; one that an
// earlier run has made and not come to make the default; or a new one.
func (l *line) version(ctx context.Context, lt *types.LaunchTemplate, all []types.LaunchTemplateVersion, image string) (int64, error) {
	for _, v := range all {
		isDefault := aws.ToBool(v.DefaultVersion)
		ours := strings.HasPrefix(aws.ToString(v.VersionDescription), versionMark)
		if v.LaunchTemplateData != nil && aws.ToString(v.LaunchTemplateData.ImageId) == image && (isDefault || ours && *v.VersionNumber > aws.ToInt64(lt.DefaultVersionNumber)) {
			return *v.VersionNumber, nil
		}
	}
	source := fmt.Sprint(aws.ToInt64(lt.DefaultVersionNumber))
	// A version is no resource of its own that could be left behind: it is
	// looked for above, and the token makes a repeated call the same.
	token := fmt.Sprintf("%x", sha256.Sum256(fmt.Appendf(nil, "%q %q %q %q", l.sc.Run, l.sc.Step, l.access.Where(), source+image)))[:32]
	out, err := l.ec2.CreateLaunchTemplateVersion(ctx, &ec2.CreateLaunchTemplateVersionInput{
		LaunchTemplateId: lt.LaunchTemplateId, SourceVersion: &source, ClientToken: &token,
		VersionDescription: aws.String(l.versionDescription()),
		LaunchTemplateData: &types.RequestLaunchTemplateData{ImageId: &image},
	})
	if err != nil {
		return 0, fmt.Errorf("making a version with %s: %w", image, err)
	}
	n := aws.ToInt64(out.LaunchTemplateVersion.VersionNumber)
	l.changed("version %d starts %s", n, image)
	return n, nil
}

func (l *line) versionDescription() string {
	text := l.Description
	if text == "" {
		text = l.image
	}
	text = versionMark + text
	return text[:min(len(text), versionDescriptionMax)]
}

// prune deletes old versions that bake has made, as far as nothing uses them.
func (l *line) prune(ctx context.Context, v versioned, all []types.LaunchTemplateVersion) error {
	if l.Keep == 0 || len(all) <= l.Keep-1 {
		return nil
	}
	used, err := l.used(ctx, v.id)
	if err != nil {
		return err
	}
	left := 0
	if !slices.ContainsFunc(all, func(o types.LaunchTemplateVersion) bool { return *o.VersionNumber == v.version }) {
		left = 1 // the new one
	}
	var old []string
	for _, o := range all {
		n := fmt.Sprint(*o.VersionNumber)
		stays := *o.VersionNumber == v.version || aws.ToBool(o.DefaultVersion) && !l.Default ||
			used[n] || !strings.HasPrefix(aws.ToString(o.VersionDescription), versionMark)
		if left++; left > l.Keep && !stays {
			old = append(old, n)
		}
	}
	for chunk := range slices.Chunk(old, 200) {
		if _, err := l.ec2.DeleteLaunchTemplateVersions(ctx, &ec2.DeleteLaunchTemplateVersionsInput{LaunchTemplateId: &v.id, Versions: chunk}); err != nil {
			return fmt.Errorf("deleting old versions: %w", err)
		}
		l.changed("deleted the versions %s", strings.Join(chunk, ", "))
	}
	return nil
}

// used returns the versions that instances were started from: AWS tags them.
func (l *line) used(ctx context.Context, id string) (map[string]bool, error) {
	used := map[string]bool{}
	pages := ec2.NewDescribeInstancesPaginator(l.ec2, &ec2.DescribeInstancesInput{Filters: []types.Filter{
		amazon.Filter("tag:aws:ec2launchtemplate:id", id), amazon.Filter("instance-state-name", "pending", "running", "stopping", "stopped"),
	}})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("looking for instances of old versions: %w", err)
		}
		for _, r := range page.Reservations {
			for _, i := range r.Instances {
				used[tagOf(i.Tags, "aws:ec2launchtemplate:version")] = true
			}
		}
	}
	return used, nil
}

func (l *line) resource() builder.Resource {
	return builder.Resource{Kind: TemplateResourceKind, Name: l.Name, Where: l.access.Where()}
}

// create makes the launch template.
func (l *line) create(ctx context.Context, image string) (versioned, error) {
	if l.Create == nil {
		return versioned{}, &amazon.Explained{Err: fmt.Errorf("there is none in %s", l.access.Region), Cure: "create it, or say in create: what it has besides the AMI"}
	}
	r, err := l.sc.Create(ctx, l.resource(), func(ctx context.Context, r builder.Resource) (string, error) {
		tags := map[string]string{amazon.TagRun: string(l.sc.Run), amazon.TagTemplate: l.sc.Plan.Name, amazon.TagBuild: l.sc.Step.Build(), amazon.TagToken: r.Token}
		for k, v := range l.Tags {
			tags[k] = v
		}
		out, err := l.ec2.CreateLaunchTemplate(ctx, &ec2.CreateLaunchTemplateInput{
			LaunchTemplateName: &l.Name, ClientToken: &r.Token, VersionDescription: aws.String(l.versionDescription()), LaunchTemplateData: l.Create.data(image),
			TagSpecifications: []types.TagSpecification{{ResourceType: types.ResourceTypeLaunchTemplate, Tags: tagList(tags)}},
		})
		if err != nil {
			return "", err
		}
		return aws.ToString(out.LaunchTemplate.LaunchTemplateId), nil
	})
	if err != nil {
		return versioned{}, err
	}
	l.changed("created with %s", image)
	return versioned{id: r.ID, version: 1, made: r}, nil
}

// data is the launch template's first version.
func (b *TemplateBody) data(image string) *types.RequestLaunchTemplateData {
	d := &types.RequestLaunchTemplateData{
		ImageId: &image, InstanceType: types.InstanceType(b.Type), SecurityGroupIds: b.SecurityGroups,
		MetadataOptions: &types.LaunchTemplateInstanceMetadataOptionsRequest{HttpTokens: types.LaunchTemplateHttpTokensStateRequired},
	}
	if b.KeyPair != "" {
		d.KeyName = &b.KeyPair
	}
	if strings.HasPrefix(b.Profile, "arn:") {
		d.IamInstanceProfile = &types.LaunchTemplateIamInstanceProfileSpecificationRequest{Arn: &b.Profile}
	} else if b.Profile != "" {
		d.IamInstanceProfile = &types.LaunchTemplateIamInstanceProfileSpecificationRequest{Name: &b.Profile}
	}
	if b.UserData != "" {
		d.UserData = aws.String(base64.StdEncoding.EncodeToString([]byte(b.UserData)))
	}
	if len(b.Tags) > 0 {
		for _, kind := range []types.ResourceType{types.ResourceTypeInstance, types.ResourceTypeVolume} {
			d.TagSpecifications = append(d.TagSpecifications, types.LaunchTemplateTagSpecificationRequest{ResourceType: kind, Tags: tagList(b.Tags)})
		}
	}
	return d
}

// TemplateResourceKind is the kind of launch templates that are created.
const TemplateResourceKind = "launch-template"

// A templateCleaner removes a launch template that a run has created and not
// come to use.
type templateCleaner struct{ cloud *amazon.Cloud }

// Lag is how long a new launch template may not be found.
func (templateCleaner) Lag() time.Duration { return 10 * time.Second }

// Find looks for the launch template by its token.
func (c templateCleaner) Find(ctx context.Context, r builder.Resource) (string, error) {
	client, a, err := cleaner(c).connect(ctx, r)
	if err != nil {
		return "", err
	}
	out, err := client.DescribeLaunchTemplates(ctx, &ec2.DescribeLaunchTemplatesInput{Filters: []types.Filter{amazon.Filter("tag:"+amazon.TagToken, r.Token)}})
	switch {
	case err != nil:
		return "", c.cloud.Explain(ctx, a, err)
	case len(out.LaunchTemplates) == 0:
		return "", builder.ErrNotFound
	}
	return aws.ToString(out.LaunchTemplates[0].LaunchTemplateId), nil
}

// Delete deletes the launch template and all its versions.
func (c templateCleaner) Delete(ctx context.Context, r builder.Resource) error {
	client, a, err := cleaner(c).connect(ctx, r)
	if err != nil {
		return err
	}
	_, err = client.DeleteLaunchTemplate(ctx, &ec2.DeleteLaunchTemplateInput{LaunchTemplateId: &r.ID})
	if amazon.IsCode(err, "InvalidLaunchTemplateId.NotFound") {
		return nil
	}
	return c.cloud.Explain(ctx, a, err)
}
