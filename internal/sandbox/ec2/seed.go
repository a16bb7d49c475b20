package ec2

import (
	"cmp"
	"context"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"bake/internal/sandbox/api"
)

// The accounts that the sandbox's public images are of.
const (
	Amazon = "137112412989"
	Debian = "136693071363"
)

// A Base is an image that every region has, and what is in it.
type Base struct {
	Owner        string    `json:"owner"` // account; default: Amazon
	Alias        string    `json:"alias,omitempty"`
	Name         string    `json:"name"`
	Description  string    `json:"description,omitempty"`
	Architecture string    `json:"architecture,omitempty"` // default: this machine's
	Root         string    `json:"root_device,omitempty"`  // default: /dev/xvda
	Size         int       `json:"size,omitempty"`         // GiB; default 8
	Login        string    `json:"login,omitempty"`        // default: what is usual for what is in it
	BootMode     string    `json:"boot_mode,omitempty"`
	IMDS         string    `json:"imds,omitempty"`
	Created      time.Time `json:"created,omitzero"`
	// Path is a tar of a root filesystem, or a folder with one; "" is bake's built-in one.
	Path string `json:"path,omitempty"`
	// Parameter is the public SSM parameter that holds the image's id.
	Parameter string `json:"parameter,omitempty"`
}

// bases are the images of Amazon and Debian, as they are named there. What is
// in them is the same for all: the built-in root filesystem, whose login is root
// and the image's usual user.
func bases() []Base {
	day := func(y, m, d int) time.Time { return time.Date(y, time.Month(m), d, 10, 12, 0, 0, time.UTC) }
	var all []Base
	for _, arch := range []string{"x86_64", "arm64"} {
		short := map[string]string{"x86_64": "amd64", "arm64": "arm64"}[arch]
		mode := map[string]string{"x86_64": "uefi-preferred", "arm64": "uefi"}[arch]
		all = append(all,
			Base{Owner: Amazon, Alias: "amazon", Name: "al2023-ami-2023.9.20251105.0-kernel-6.1-" + arch, Description: "Amazon Linux 2023 AMI 2023.9.20251105.0 " + arch + " HVM kernel-6.1",
				Architecture: arch, Root: "/dev/xvda", Size: 8, Login: "ec2-user", BootMode: mode, IMDS: "v2.0", Created: day(2025, 11, 5)},
			Base{Owner: Amazon, Alias: "amazon", Name: "al2023-ami-2023.9.20251117.1-kernel-6.1-" + arch, Description: "Amazon Linux 2023 AMI 2023.9.20251117.1 " + arch + " HVM kernel-6.1",
				Architecture: arch, Root: "/dev/xvda", Size: 8, Login: "ec2-user", BootMode: mode, IMDS: "v2.0", Created: day(2025, 11, 17),
				Parameter: "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-" + arch},
			Base{Owner: Debian, Name: "debian-12-" + short + "-20251112-2294", Description: "Debian 12 (20251112-2294)", Architecture: arch, Root: "/dev/xvda", Size: 8, Login: "admin",
				BootMode: mode, Created: day(2025, 11, 12), Parameter: "/aws/service/debian/release/12/latest/" + short},
			Base{Owner: Debian, Name: "debian-13-" + short + "-20251117-2299", Description: "Debian 13 (20251117-2299)", Architecture: arch, Root: "/dev/xvda", Size: 8, Login: "admin",
				BootMode: mode, Created: day(2025, 11, 17), Parameter: "/aws/service/debian/release/13/latest/" + short},
		)
	}
	return all
}

// builtIn is the layer that the built-in root filesystem is imported as.
const builtIn = "base-builtin"

// seed puts the bases into a new region.
func (x *Control) seed(r *region, now time.Time) {
	for _, b := range bases() {
		x.addBase(r, b, builtIn, now)
	}
	for _, b := range x.state.Bases {
		x.addBase(r, b, b.layer(), now)
	}
}

// layer is what the base is imported as: the same for the same path.
func (b Base) layer() string {
	if b.Path == "" {
		return builtIn
	}
	return "base-" + hash(b.Path)[:16]
}

// AddBase adds a public image to every region, with a root filesystem of the
// user's: a tar or a folder, read now. It returns when that has been done.
func (x *Control) AddBase(ctx context.Context, b Base) error {
	b.Owner, b.Architecture, b.Root, b.Size = cmp.Or(b.Owner, Amazon), cmp.Or(b.Architecture, hostArch()), cmp.Or(b.Root, "/dev/xvda"), cmp.Or(b.Size, 8)
	if b.Owner == Amazon {
		b.Alias = "amazon"
	}
	if err := checkImageName(b.Name); err != nil {
		return err
	}
	if x.room != nil && b.Path != "" {
		if err := x.room.importBase(ctx, b.layer(), b.Path); err != nil {
			return err
		}
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	now := x.world.Now()
	if b.Created.IsZero() {
		b.Created = now
	}
	x.state.Bases = append(x.state.Bases, b)
	for _, r := range x.state.Regions {
		x.addBase(r, b, b.layer(), now)
	}
	return nil
}

// addBase adds one public image, and its snapshot.
func (x *Control) addBase(r *region, b Base, layer string, now time.Time) *image {
	o := &op{Control: x, r: r, now: now}
	created := b.Created
	if created.IsZero() {
		created = now
	}
	s := &snapshot{meta: o.makeFor(b.Owner, kindSnapshot, nil), Volume: "vol-ffffffff", Size: b.Size, State: completed, Layer: layer, Public: true, Alias: b.Alias}
	s.Created, s.Done = created, created
	r.Snapshots[s.ID] = s
	m := &image{meta: o.makeFor(b.Owner, kindImage, nil), Name: b.Name, Description: b.Description, Alias: b.Alias, Location: b.Owner + "/" + b.Name, State: available, Root: b.Root,
		Architecture: b.Architecture, Virtualization: "hvm", BootMode: b.BootMode, IMDS: b.IMDS, ENA: true, SRIOV: "simple", Public: true, Login: b.Login}
	if b.Alias != "" {
		m.Location = b.Alias + "/" + b.Name
	}
	m.Created = created
	m.Devices = []blockDevice{{Device: b.Root, Ebs: &ebsDevice{Snapshot: s.ID, Size: ref(b.Size), Type: "gp3", IOPS: ref(3000), Throughput: ref(125), DeleteOnTermination: ref(true)}}}
	r.Images[m.ID] = m
	return m
}

// ImageParameter returns the id of the image that a public SSM parameter names in a region.
func (x *Control) ImageParameter(region, name string) (id string, ok bool) {
	all := x.ImageParameters(region)
	id, ok = all[name]
	return id, ok
}

// ImageExists reports whether an account sees an image.
func (x *Control) ImageExists(account, region, id string) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	o, err := x.begin(&api.Call{Account: account, Region: region}, x.world.Now())
	if err != nil {
		return false
	}
	_, err = o.visibleImage(id)
	return err == nil
}

// ImageParameters returns the ids of all images of a region that public SSM parameters name.
func (x *Control) ImageParameters(region string) map[string]string {
	x.mu.Lock()
	defer x.mu.Unlock()
	all := map[string]string{}
	r, err := x.region(region, x.world.Now())
	if err != nil {
		return all
	}
	for _, b := range append(bases(), x.state.Bases...) {
		for id, m := range r.Images {
			if m.Name == b.Name && m.Owner == b.Owner && b.Parameter != "" {
				all[b.Parameter] = id
			}
		}
	}
	return all
}

// hostArch is this machine's architecture as EC2 calls it.
func hostArch() string {
	if runtime.GOARCH == "arm64" {
		return "arm64"
	}
	return "x86_64"
}

// localPath is the path of a root filesystem on this machine that an
// ImageLocation names: file:///x.tar, or /x.tar (the AWS CLI reads file:// itself).
func localPath(location string) (string, bool) {
	path := strings.TrimPrefix(location, "file://")
	return path, filepath.IsAbs(path)
}

// registerPath makes an image of a root filesystem: a tar, or a folder. It is pending until that has been read.
func (o *op) registerPath(in *registerImageIn, path string, tags []tag) (*imageID, error) {
	if in.Root == "" {
		in.Root = "/dev/xvda"
	}
	if in.Architecture == "" {
		in.Architecture = hostArch()
	}
	b := Base{Owner: o.call.Account, Name: in.Name, Description: in.Description, Architecture: in.Architecture, Root: in.Root, Size: 8, BootMode: in.BootMode, IMDS: in.IMDS}
	for _, d := range in.Devices {
		if d.Device == in.Root && d.Ebs != nil && d.Ebs.Size != nil {
			b.Size = *d.Ebs.Size
		}
	}
	o.settleImages(o.r, o.now)
	m := o.addBase(o.r, b, "", o.now)
	m.Public, m.Tags, m.Location = false, tags, path
	s := o.r.Snapshots[m.Devices[0].Ebs.Snapshot]
	s.Public, s.Layer = false, s.ID
	o.importing(m, s.Layer, path)
	return &imageID{m.ID}, nil
}

// importing reads a root filesystem in the background; the image waits for it.
func (o *op) importing(m *image, layer, path string) {
	if o.room == nil {
		return
	}
	m.State, m.Importing = pending, true
	o.then(func() {
		o.work.Go(func() {
			err := o.room.importBase(o.ctx, layer, path)
			o.mu.Lock()
			defer o.mu.Unlock()
			m.Importing = false
			if err != nil {
				m.State, m.Reason = failed, stateReason{"Client.ImportError", err.Error()}
			}
		})
	})
}
