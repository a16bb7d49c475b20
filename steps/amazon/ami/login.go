package ami

import (
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// A login is the user that images of one kind let in.
type login struct {
	owner string // account; empty: any
	name  string // part of the image's name, in lower case
	user  string
}

// logins are tried in order. Names are looked at before owners, since copies
// keep their names.
func logins() []login {
	return []login{
		{"", "bitnami", "bitnami"},
		{"", "ubuntu", "ubuntu"},
		{"", "debian", "admin"},
		{"", "rocky", "rocky"},
		{"", "almalinux", "ec2-user"},
		{"", "centos stream 9", "ec2-user"}, {"", "centos stream 10", "ec2-user"}, {"", "centos", "centos"},
		{"", "fedora", "fedora"},
		{"", "flatcar", "core"}, {"", "coreos", "core"},
		{"", "freebsd", "ec2-user"},
		{"", "kali", "kali"},
		{"", "arch-linux", "arch"},
		{"", "alpine", "alpine"},
		{"", "nixos", "root"},
		{"099720109477", "", "ubuntu"},
		{"136693071363", "", "admin"},
		{"792107900819", "", "rocky"},
		{"125523088429", "", "fedora"},
		{"075585003325", "", "core"},
		{"538276064493", "", "alpine"},
	}
}

// defaultUser is who logs in to an instance of the image: Amazon's, Red Hat's
// and SUSE's images have ec2-user.
func defaultUser(i types.Image) string {
	if user := tagOf(i.Tags, tagUser); user != "" {
		return user // an image of bake's own
	}
	name := strings.ToLower(aws.ToString(i.Name) + " " + aws.ToString(i.ImageLocation))
	for _, l := range logins() {
		if l.name != "" && strings.Contains(name, l.name) || l.owner != "" && l.owner == aws.ToString(i.OwnerId) {
			return l.user
		}
	}
	return "ec2-user"
}

// tagUser is on images that bake makes: who logs in to their instances. The
// name of such an image tells nothing.
const tagUser = "bake:user"

func tagOf(tags []types.Tag, key string) string {
	for _, t := range tags {
		if aws.ToString(t.Key) == key {
			return aws.ToString(t.Value)
		}
	}
	return ""
}
