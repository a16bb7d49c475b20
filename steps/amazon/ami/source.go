// Package ami is the source `ami`: an EC2 instance that is started from an
// image, changed over SSH, and frozen into another image.
package ami

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"bake/builder"
	"bake/internal/lazyregexp"
	"bake/steps/amazon"
	"bake/steps/amazon/launch"
	"bake/steps/ssh"
	"bake/templates"
)

// Source starts from an image that exists: `ami: ami-0123456789abcdef0`.
type Source struct {
	Choice
	amazon.Access
	Build
}

// Choice says which image to start from.
type Choice struct {
	ID           string                       `yaml:"id" bake:"main" doc:"The AMI's id; or its owner and name, or ssm."`
	SSM          string                       `yaml:"ssm" doc:"SSM parameter that holds its id, like /aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64."`
	Owner        templates.Strings            `yaml:"owner" doc:"Whose images count: account ids, self, amazon, aws-marketplace, or a name like ubuntu or debian."`
	Name         string                       `yaml:"name" doc:"Name, or a pattern with * and ?."`
	Filters      map[string]templates.Strings `yaml:"filters" doc:"Further filters of DescribeImages: name to values."`
	Tags         map[string]string            `yaml:"match_tags" doc:"Tags the image has."`
	Architecture string                       `yaml:"architecture" enum:"x86_64|arm64|amd64|aarch64" doc:"Its architecture; default: any."`
	Newest       bool                         `yaml:"newest" default:"true" doc:"Take the newest of several; false: several are an error."`
	Deprecated   bool                         `yaml:"deprecated" doc:"Take an image even if it is deprecated."`
}

// Build is how the machine is made and used: what stands beside the source's
// kind, and the keys that are the same for `ami` and `build`.
type Build struct {
	Machine launch.Machine `yaml:"machine" bake:"beside" doc:"The instance that the steps run on."`
	SSH     SSH            `yaml:"ssh" bake:"beside" doc:"How bake logs in to it."`
	Capture Capture        `yaml:"capture" bake:"beside" doc:"How the machine becomes an AMI."`
	Extra   []Extra        `yaml:"extra_volumes" bake:"beside" doc:"Volumes for the build that do not become part of the AMI."`

	Lifetime time.Duration `yaml:"lifetime" bake:"beside" min:"15m" max:"7d" doc:"How long the machine may live when it does not hear of bake any more: it ends itself then. Default 4h."`

	cloud *amazon.Cloud
}

// SSH is how bake logs in to the machine.
type SSH struct {
	User      string            `yaml:"user" bake:"main" doc:"Who logs in; default: what the image's kind has: ec2-user, ubuntu, admin, ..."`
	Port      int               `yaml:"port" min:"1" max:"65535" doc:"Its SSH port; default 22."`
	Key       templates.Strings `yaml:"key" doc:"Private key files of machine: key_pair; default: bake's own temporary key."`
	Forward   templates.Strings `yaml:"forward_keys" doc:"Private key files that steps may use on the machine through SSH_AUTH_SOCK; or agent: the keys of your SSH agent. They stay here."`
	Agent     bool              `yaml:"agent" doc:"Offer the SSH agent's keys too."`
	Password  string            `yaml:"password" doc:"The login's password, for images that have one."`
	Sudo      *ssh.Enabled      `yaml:"sudo" doc:"Run steps as root (true) or as another user; default: true unless root logs in."`
	Address   string            `yaml:"address" enum:"public|private|ipv6|public_dns|private_dns" doc:"Which of its addresses to use; default: the public one if it has one."`
	Via       string            `yaml:"via" enum:"direct|session-manager|instance-connect" default:"direct" doc:"The way to it: over the network, through SSM Session Manager, or through an EC2 Instance Connect Endpoint, which needs the AWS CLI here."`
	PushKey   bool              `yaml:"push_key" doc:"Send bake's key through EC2 Instance Connect before each login, where it counts for a minute, instead of importing it as a key pair. The image needs EC2 Instance Connect."`
	From      templates.Strings `yaml:"from" doc:"Addresses (CIDR) that the temporary security group lets in; default: this machine's, as AWS sees it (checkip.amazonaws.com)."`
	HostKey   templates.Strings `yaml:"host_key" doc:"The machine's host key or its fingerprint; default: one that bake gives it, or those on its console."`
	Jump      []ssh.Jump        `yaml:"jump" doc:"Machines to go through, the nearest first."`
	Proxy     string            `yaml:"proxy" doc:"SOCKS5 proxy: socks5://[user:password@]host:port."`
	Known     templates.Strings `yaml:"known_hosts" doc:"Files that vouch for the host keys of the jump machines."`
	Config    *ssh.Enabled      `yaml:"config" doc:"Honour ~/.ssh/config (true), or another file in its format."`
	TTY       bool              `yaml:"tty" doc:"Give every script a terminal."`
	Timeout   time.Duration     `yaml:"timeout" default:"10m" min:"1s" doc:"How long it may take to boot and to answer."`
	CloudInit string            `yaml:"cloud_init" enum:"wait|ignore|require" default:"wait" doc:"Wait until cloud-init is done before the first step; require: and fail if it failed."`
}

// Capture is how the machine becomes an image.
type Capture struct {
	Live    bool          `yaml:"live" bake:"main" doc:"Do not stop the machine: write everything to its disks and freeze its file systems for a moment instead."`
	Clean   *Clean        `yaml:"clean" doc:"What is removed from the machine before: true (default), false, or {keep: [...]}."`
	Secrets string        `yaml:"secrets" enum:"warn|fail|ignore" default:"warn" doc:"What to do if private keys, credentials or the like would be in the AMI: tell their paths, or fail before anything is captured."`
	Timeout time.Duration `yaml:"timeout" default:"90m" min:"1s" doc:"How long to wait for the AMI to become available."`
}

// Clean says what is removed from the machine before it is frozen.
type Clean struct {
	On   bool              `yaml:"clean" bake:"main" default:"true" doc:"Whether anything is removed."`
	Keep templates.Strings `yaml:"keep" enum:"keys|host-keys|machine-id|history|cloud-init|logs" doc:"What is not removed."`
}

// Extra is a volume that the build works with, beside those of the AMI.
type Extra struct {
	Device      string `yaml:"device" bake:"required" doc:"Where it is attached, like /dev/sdf."`
	launch.Disk `doc:"What the volume is like."`
	Name        string            `yaml:"name" doc:"Its tag Name."`
	Tags        map[string]string `yaml:"tags" doc:"Tags of the volume, and of its snapshot."`
	After       string            `yaml:"after" enum:"delete|keep|snapshot" default:"delete" doc:"What becomes of it: it is deleted, kept, or kept as a snapshot."`
}

// New returns what makes sources that call AWS through cloud.
func New(cloud *amazon.Cloud) func() builder.Source {
	return func() builder.Source { return &Source{Build: Build{cloud: cloud}} }
}

// Makes says that the artifact is an AMI.
func (s *Source) Makes() builder.ArtifactKind { return builder.AMIArtifact }

// String is what the step is called.
func (s *Source) String() string { return strings.TrimSpace("ami " + s.Choice.words()) }

// words say which image is meant.
func (c Choice) words() string {
	switch {
	case c.ID != "":
		return c.ID
	case c.SSM != "":
		return c.SSM
	}
	return strings.TrimSpace(c.Name)
}

var imageID = lazyregexp.New(`^ami-[0-9a-f]{8,17}$`)

// Validate checks what the tags cannot say.
func (s *Source) Validate(b templates.Block) templates.Diagnostics {
	return append(s.Choice.check(b), s.Build.check(b)...)
}

func (c Choice) check(b templates.Block) templates.Diagnostics {
	var ds templates.Diagnostics
	search := c.Name != "" || len(c.Filters) > 0 || len(c.Tags) > 0
	known := !b.At("id").Unresolved() && !b.At("ssm").Unresolved() && !b.At("name").Unresolved()
	switch {
	case !known:
	case c.ID == "" && c.SSM == "" && !search:
		d := b.Errorf("it does not say which AMI to start from")
		d.Hint = "write ami: ami-0123456789abcdef0, or {owner, name}, or {ssm}"
		ds = append(ds, d)
	case c.ID != "" && (c.SSM != "" || search), c.SSM != "" && search:
		ds = append(ds, b.Errorf("id, ssm and a search by name exclude each other"))
	case search && len(c.Owner) == 0:
		d := b.Errorf("a search by name needs an owner: anybody may publish an image of that name")
		d.Hint = "owner: amazon, self, ubuntu, debian, or an account id"
		ds = append(ds, d)
	}
	if c.ID != "" && !imageID.MatchString(c.ID) {
		d := b.At("id").Errorf("%q is not the id of an AMI", c.ID)
		d.Hint = "ids look like ami-0123456789abcdef0; a name stands under name:, beside owner:"
		ds = append(ds, d)
	}
	for i, o := range c.Owner {
		if _, err := ownerOf(o); err != nil {
			at := b.At("owner")
			if at.IsList() {
				at = at.At(itoa(i))
			}
			d := at.Errorf("%v", err)
			if near := nearestOwner(o); near != "" {
				d = at.Errorf("owner %q is not known", o)
				d.Hint = fmt.Sprintf("did you mean %q?", near)
			}
			ds = append(ds, d)
		}
	}
	return ds
}

// check is of the keys that stand beside the kind.
func (s *Build) check(b templates.Block) templates.Diagnostics {
	var ds templates.Diagnostics
	for i, cidr := range s.SSH.From {
		if _, err := netip.ParsePrefix(cidr); err != nil {
			at := b.At("ssh", "from")
			if at.IsList() {
				at = at.At(itoa(i))
			}
			ds = append(ds, at.Errorf("%q is not a network like 203.0.113.7/32", cidr))
		}
	}
	if s.Machine.KeyPair != nil && len(s.SSH.Key) == 0 && !s.SSH.Agent && s.SSH.Password == "" {
		d := b.At("machine", "key_pair").Errorf("nothing holds the private key of this key pair")
		d.Hint = "name its file in ssh: {key: ...}, or set ssh: {agent: true}; without key_pair, bake makes a key of its own"
		ds = append(ds, d)
	}
	if s.SSH.Address == "ipv6" {
		if m := s.Machine; m.IPv6 != nil && !*m.IPv6 {
			ds = append(ds, b.At("machine", "ipv6").Errorf("the machine is to be reached at its IPv6 address, and to have none"))
		} else if n := m.Interfaces; len(n) > 0 && n[0].ID == "" && n[0].IPv6 == 0 {
			ds = append(ds, b.At("machine", "network_interfaces").Errorf("the machine is to be reached at its IPv6 address: the first interface needs ipv6: 1"))
		}
	}
	if s.SSH.PushKey && s.Machine.KeyPair != nil {
		ds = append(ds, b.At("ssh", "push_key").Errorf("push_key and machine: key_pair exclude each other"))
	}
	ds = append(ds, ssh.CheckForward(b.At("ssh"), s.SSH.Forward)...)
	seen := map[string]bool{}
	for _, v := range s.Machine.Volumes {
		seen[v.Device] = true
	}
	for i, v := range s.Extra {
		at := b.At("extra_volumes", itoa(i))
		if seen[v.Device] {
			ds = append(ds, at.At("device").Errorf("device %s is here twice", v.Device))
		}
		seen[v.Device] = true
		if v.Size == 0 && v.Snapshot == "" && !at.Unresolved() {
			ds = append(ds, at.Errorf("it needs a size or a snapshot"))
		}
		ds = append(ds, v.Disk.Check(at, 0)...)
	}
	return ds
}

// lifetime is how long a machine may live without bake.
func (s *Build) lifetime() time.Duration {
	if s.Lifetime > 0 {
		return s.Lifetime
	}
	return launch.DefaultLifetime
}
