package ami

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

var now = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func img(id, date string, change ...func(*types.Image)) types.Image {
	i := types.Image{ImageId: aws.String(id), Name: aws.String("n-" + id), CreationDate: aws.String(date), State: "available", RootDeviceType: "ebs", Architecture: "x86_64"}
	for _, c := range change {
		c(&i)
	}
	return i
}

func TestTheNewestImageThatCanBeUsedIsChosen(t *testing.T) {
	deprecated := func(i *types.Image) { i.DeprecationTime = aws.String("2026-11-01T00:00:00.000Z") }
	later := func(i *types.Image) { i.DeprecationTime = aws.String("2027-11-01T00:00:00.000Z") }
	state := func(s types.ImageState) func(*types.Image) {
		return func(i *types.Image) { i.State = s; i.StateReason = &types.StateReason{Message: aws.String("because")} }
	}
	windows := func(i *types.Image) { i.Platform = "windows" }
	store := func(i *types.Image) { i.RootDeviceType = "instance-store" }
	old, mid, young := "2026-01-01T00:00:00.000Z", "2026-05-01T00:00:00.000Z", "2026-10-01T00:00:00.000Z"
	search := Choice{Name: "n-*", Owner: []string{"self"}, Newest: true}
	for _, c := range []struct {
		name   string
		choice Choice
		images []types.Image
		want   string // id, or part of the error
	}{
		{"the newest", search, []types.Image{img("ami-1", mid), img("ami-2", young), img("ami-3", old)}, "ami-2"},
		{"the id decides between equals", search, []types.Image{img("ami-2", mid), img("ami-1", mid)}, "ami-2"},
		{"not one that is deprecated", search, []types.Image{img("ami-1", old), img("ami-2", young, deprecated)}, "ami-1"},
		{"unless asked", Choice{Name: "n-*", Newest: true, Deprecated: true}, []types.Image{img("ami-1", old), img("ami-2", young, deprecated)}, "ami-2"},
		{"one that will be deprecated", search, []types.Image{img("ami-1", old, later)}, "ami-1"},
		{"not one that failed", search, []types.Image{img("ami-1", old), img("ami-2", young, state("failed"))}, "ami-1"},
		{"a deprecated id", Choice{ID: "ami-1"}, []types.Image{img("ami-1", old, deprecated)}, "deprecated since"},
		{"a disabled id", Choice{ID: "ami-1"}, []types.Image{img("ami-1", old, state("disabled"))}, "is disabled"},
		{"a failed id says why", Choice{ID: "ami-1"}, []types.Image{img("ami-1", old, state("failed"))}, "failed: because"},
		{"a pending id", Choice{ID: "ami-1"}, []types.Image{img("ami-1", old, state("pending"))}, "is pending"},
		{"windows", Choice{ID: "ami-1"}, []types.Image{img("ami-1", old, windows)}, "Windows image"},
		{"an instance store", Choice{ID: "ami-1"}, []types.Image{img("ami-1", old, store)}, "instance store"},
		{"another architecture", Choice{ID: "ami-1", Architecture: "aarch64"}, []types.Image{img("ami-1", old)}, "is for x86_64, not arm64"},
		{"none", search, nil, "there is none in eu-west-1"},
		{"several where one is wanted", Choice{Name: "n-*"}, []types.Image{img("ami-1", old), img("ami-2", mid)}, "2 images fit"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := c.choice.choose(c.images, "eu-west-1", now)
			if err != nil {
				var wrong *ImageError
				if !errors.As(err, &wrong) || wrong.Hint() == "" || !strings.Contains(err.Error(), c.want) {
					t.Errorf("error %v, want %q and a hint", err, c.want)
				}
				return
			}
			if *got.ImageId != c.want {
				t.Errorf("got %s, want %s", *got.ImageId, c.want)
			}
		})
	}
}

func TestASearchAsksForWhatCanBeUsed(t *testing.T) {
	in, err := Choice{Name: "debian-12-*", Owner: []string{"debian", "self"}, Architecture: "arm64", Tags: map[string]string{"a": "b"}}.input()
	if err != nil {
		t.Fatal(err)
	}
	if in.Owners[0] != "136693071363" || in.Owners[1] != "self" || *in.IncludeDeprecated || *in.IncludeDisabled {
		t.Errorf("%+v", in)
	}
	var filters []string
	for _, f := range in.Filters {
		filters = append(filters, *f.Name+"="+strings.Join(f.Values, ","))
	}
	if got := strings.Join(filters, " "); got != "state=available name=debian-12-* architecture=arm64 tag:a=b" {
		t.Errorf("filters %s", got)
	}
	if _, err := (Choice{Name: "x", Owner: []string{"123"}}).input(); err == nil {
		t.Error("an owner of three digits was accepted")
	}
}

func TestTheImageTellsWhoLogsIn(t *testing.T) {
	for _, c := range []struct{ name, owner, want string }{
		{"al2023-ami-2023.9.20251117.1-kernel-6.1-x86_64", "137112412989", "ec2-user"},
		{"ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-amd64-server-20251101", "099720109477", "ubuntu"},
		{"copy of ubuntu-noble", "111122223333", "ubuntu"},
		{"debian-12-amd64-20251112-2294", "136693071363", "admin"},
		{"Rocky-9-EC2-Base-9.4", "792107900819", "rocky"},
		{"AlmaLinux OS 9.4 x86_64", "764336703387", "ec2-user"},
		{"RHEL-9.4_HVM-20251101", "309956199498", "ec2-user"},
		{"Fedora-Cloud-Base-AmazonEC2", "125523088429", "fedora"},
		{"CentOS Stream 9 x86_64", "125523088429", "ec2-user"},
		{"CentOS 7.9", "125523088429", "centos"},
		{"Flatcar-stable-1", "075585003325", "core"},
		{"bitnami-nginx-1.2-r04-linux-debian-12-x86_64", "979382823631", "bitnami"},
		{"suse-sles-15-sp6", "013907871322", "ec2-user"},
		{"alpine-3.20-x86_64-bios-cloudinit", "538276064493", "alpine"},
		{"mine", "111122223333", "ec2-user"},
	} {
		if got := defaultUser(types.Image{Name: &c.name, OwnerId: &c.owner}); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
	own := types.Image{Name: aws.String("web-1"), Tags: []types.Tag{{Key: aws.String(tagUser), Value: aws.String("deploy")}}}
	if got := defaultUser(own); got != "deploy" {
		t.Errorf("an image of bake's own: %s", got)
	}
}
