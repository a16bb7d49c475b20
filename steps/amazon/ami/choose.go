package ami

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/ssm"

	"bake/internal/lazyregexp"
	"bake/steps/amazon"
	"bake/templates"
)

// owners are the accounts of well-known publishers.
func owners() map[string]string {
	return map[string]string{
		"ubuntu": "099720109477", "canonical": "099720109477",
		"debian": "136693071363", "redhat": "309956199498", "rhel": "309956199498",
		"rocky": "792107900819", "almalinux": "764336703387", "fedora": "125523088429",
		"suse": "013907871322", "opensuse": "679593333241", "centos": "125523088429",
		"freebsd": "782442783595", "flatcar": "075585003325", "alpine": "538276064493",
		"bottlerocket": "149721548608", "oracle": "131827586825", "kali": "679593333241",
	}
}

var accountID = lazyregexp.New(`^[0-9]{12}$`)

// aliases are AWS's own names of owners.
func aliases() []string { return []string{"self", "amazon", "aws-marketplace", "aws-backup-vault"} }

// nearestOwner is the owner whose mistyped name it may be, or "".
func nearestOwner(name string) string {
	return templates.Nearest(name, slices.AppendSeq(aliases(), maps.Keys(owners())))
}

// ownerOf is an owner as DescribeImages takes it.
func ownerOf(name string) (string, error) {
	if slices.Contains(aliases(), name) || accountID.MatchString(name) {
		return name, nil
	}
	if id, ok := owners()[strings.ToLower(name)]; ok {
		return id, nil
	}
	return "", fmt.Errorf("owner %q: want an account id (12 digits), self, amazon, aws-marketplace, or one of %s",
		name, strings.Join(slices.Sorted(maps.Keys(owners())), ", "))
}

// ImageError is an image that cannot be used.
type ImageError struct {
	What, Problem, Cure string
}

func (e *ImageError) Error() string { return "choosing " + e.What + ": " + e.Problem }

// Hint says what to do.
func (e *ImageError) Hint() string { return e.Cure }

// find returns the image that the choice means now.
func (c Choice) find(ctx context.Context, cfg aws.Config) (types.Image, error) {
	if c.SSM != "" {
		id, err := parameter(ctx, cfg, c.SSM)
		if err != nil {
			return types.Image{}, err
		}
		c = Choice{ID: id, Architecture: c.Architecture, Deprecated: c.Deprecated}
	}
	in, err := c.input()
	if err != nil {
		return types.Image{}, err
	}
	var images []types.Image
	pages := ec2.NewDescribeImagesPaginator(ec2.NewFromConfig(cfg), in)
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if amazon.IsCode(err, "InvalidAMIID.NotFound", "InvalidAMIID.Malformed", "InvalidAMIID.Unavailable") {
			return types.Image{}, c.notFound(cfg.Region)
		}
		if err != nil {
			return types.Image{}, fmt.Errorf("looking for %s: %w", c.what(), err)
		}
		images = append(images, page.Images...)
	}
	if c.ID != "" && len(images) == 0 {
		return types.Image{}, c.notFound(cfg.Region)
	}
	return c.choose(images, cfg.Region, time.Now())
}

func (c Choice) what() string {
	if c.ID != "" {
		return "AMI " + c.ID
	}
	what := "AMI"
	if c.Name != "" {
		what += " " + c.Name
	}
	return what + " of " + strings.Join(c.Owner, ", ")
}

func (c Choice) notFound(region string) error {
	return &ImageError{What: c.what(), Problem: "there is none in " + region, Cure: "ids are of one region: is it the right one, and is the image shared with this account?"}
}

// parameter reads an id out of SSM. The value is the id, or JSON of it as ECS
// publishes it.
func parameter(ctx context.Context, cfg aws.Config, name string) (string, error) {
	out, err := ssm.NewFromConfig(cfg).GetParameter(ctx, &ssm.GetParameterInput{Name: aws.String(name)})
	if amazon.IsCode(err, "ParameterNotFound") {
		return "", &ImageError{What: "AMI of SSM parameter " + name, Problem: "there is no such parameter in " + cfg.Region,
			Cure: "`aws ssm get-parameters-by-path --path " + parent(name) + "` lists those that there are"}
	}
	if err != nil {
		return "", fmt.Errorf("reading SSM parameter %s: %w", name, err)
	}
	value := aws.ToString(out.Parameter.Value)
	if id := anywhere.FindString(value); id != "" {
		return id, nil
	}
	return "", &ImageError{What: "AMI of SSM parameter " + name, Problem: "its value is not the id of an AMI", Cure: "some parameters have the id below them, like NAME/image_id"}
}

var anywhere = lazyregexp.New(`\bami-[0-9a-f]{8,17}\b`)

func parent(name string) string {
	if i := strings.LastIndex(name, "/"); i > 0 {
		return name[:i]
	}
	return "/"
}

// input is the question to DescribeImages. What is not usable is asked for
// too where it is named by id, so that the answer can say why.
func (c Choice) input() (*ec2.DescribeImagesInput, error) {
	if c.ID != "" {
		return &ec2.DescribeImagesInput{ImageIds: []string{c.ID}, IncludeDeprecated: aws.Bool(true), IncludeDisabled: aws.Bool(true)}, nil
	}
	in := &ec2.DescribeImagesInput{IncludeDeprecated: aws.Bool(c.Deprecated), IncludeDisabled: aws.Bool(false)}
	for _, o := range c.Owner {
		id, err := ownerOf(o)
		if err != nil {
			return nil, err
		}
		in.Owners = append(in.Owners, id)
	}
	in.Filters = append(in.Filters, amazon.Filter("state", "available"))
	if c.Name != "" {
		in.Filters = append(in.Filters, amazon.Filter("name", c.Name))
	}
	if c.Architecture != "" {
		in.Filters = append(in.Filters, amazon.Filter("architecture", architecture(c.Architecture)))
	}
	for _, k := range slices.Sorted(maps.Keys(c.Tags)) {
		in.Filters = append(in.Filters, amazon.Filter("tag:"+k, c.Tags[k]))
	}
	for _, k := range slices.Sorted(maps.Keys(c.Filters)) {
		in.Filters = append(in.Filters, amazon.Filter(k, c.Filters[k]...))
	}
	return in, nil
}

// architecture is a processor in EC2's words.
func architecture(name string) string {
	switch name {
	case "amd64":
		return "x86_64"
	case "aarch64":
		return "arm64"
	}
	return name
}

// choose takes the newest of the images that can be used.
func (c Choice) choose(images []types.Image, region string, now time.Time) (types.Image, error) {
	var good []types.Image
	var why error
	for _, i := range images {
		if err := c.usable(i, now); err != nil {
			why = err
			continue
		}
		good = append(good, i)
	}
	if len(good) == 0 {
		if why != nil {
			return types.Image{}, why
		}
		return types.Image{}, &ImageError{What: c.what(), Problem: "there is none in " + region,
			Cure: "`aws ec2 describe-images --owners ... --filters Name=name,Values=...` shows what there is; deprecated images count only with deprecated: true"}
	}
	if len(good) > 1 && c.ID == "" && !c.Newest {
		var names []string
		for _, i := range good[:min(len(good), 5)] {
			names = append(names, aws.ToString(i.ImageId)+" ("+aws.ToString(i.Name)+")")
		}
		return types.Image{}, &ImageError{What: c.what(), Problem: fmt.Sprintf("%d images fit: %s", len(good), strings.Join(names, ", ")), Cure: "say more, or newest: true to take the newest"}
	}
	// Dates are ISO 8601 in UTC: they sort as text. The id decides between equals.
	return slices.MaxFunc(good, func(a, b types.Image) int {
		return strings.Compare(aws.ToString(a.CreationDate)+aws.ToString(a.ImageId), aws.ToString(b.CreationDate)+aws.ToString(b.ImageId))
	}), nil
}

var errWindows = errors.New("windows")

// usable returns why an image cannot be started from.
func (c Choice) usable(i types.Image, now time.Time) error {
	what := fmt.Sprintf("%s (%s)", aws.ToString(i.ImageId), aws.ToString(i.Name))
	refuse := func(problem, cure string) error { return &ImageError{What: what, Problem: problem, Cure: cure} }
	switch {
	case i.State == types.ImageStateDisabled:
		return refuse("it is disabled", "its owner can enable it: aws ec2 enable-image")
	case i.State == types.ImageStateFailed, i.State == types.ImageStateError, i.State == types.ImageStateInvalid:
		return refuse("it is "+string(i.State)+reasonOf(i.StateReason), "choose another")
	case i.State != "" && i.State != types.ImageStateAvailable:
		return refuse("it is "+string(i.State), "wait until it is available, or choose another")
	case !c.Deprecated && deprecated(i, now):
		return refuse("it is deprecated since "+aws.ToString(i.DeprecationTime), "choose a newer one, or set deprecated: true")
	case strings.EqualFold(string(i.Platform), "windows"), strings.HasPrefix(aws.ToString(i.PlatformDetails), "Windows"):
		return fmt.Errorf("%w: %w", errWindows, refuse("it is a Windows image, and bake works over SSH with a POSIX shell", "choose a Linux or BSD image"))
	case i.RootDeviceType != "" && i.RootDeviceType != types.DeviceTypeEbs:
		return refuse("its root is on an instance store, which cannot be captured", "choose an image whose root is an EBS volume")
	case c.Architecture != "" && string(i.Architecture) != architecture(c.Architecture):
		return refuse("it is for "+string(i.Architecture)+", not "+architecture(c.Architecture), "choose another image or architecture")
	}
	return nil
}

func reasonOf(r *types.StateReason) string {
	if r == nil || aws.ToString(r.Message) == "" {
		return ""
	}
	return ": " + aws.ToString(r.Message)
}

func deprecated(i types.Image, now time.Time) bool {
	if i.DeprecationTime == nil {
		return false
	}
	at, err := time.Parse(time.RFC3339, *i.DeprecationTime)
	return err == nil && !at.After(now)
}
