package ec2

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"bake/internal/sandbox/api"
)

// The states of an image beside pending and available.
const (
	failed   = "failed"
	disabled = "disabled"
)

// An image is an AMI.
type image struct {
	meta
	Name, Description string
	Alias             string // of the owner: "amazon"
	Location          string
	State             string
	Reason            stateReason // of failed
	Doom              stateReason // why it will fail
	Settled           time.Time   // when a copy or registration without pending snapshots is available
	Importing         bool        // its root filesystem is being read
	Root              string
	Devices           []blockDevice
	Architecture      string
	Virtualization    string
	BootMode, TPM     string
	UEFIData          string
	IMDS              string
	ENA               bool
	SRIOV             string
	Platform          string
	Instance          string // it was made of
	SourceImage       string
	SourceRegion      string
	LastLaunched      time.Time
	Deprecated        time.Time // from when on; zero: never
	Protection        string    // "", "enabled-with-cooldown", "enabled-without-cooldown"
	Cooldown          time.Time // until when a protection that was taken off holds
	Disabled          bool
	Public            bool
	Users, Orgs, OUs  []string
	Login             string // the user of the machine that keys are for
	Product           string // code of the Marketplace
}

// product is the Marketplace's product code of an image, "" if it has none.
func (o *op) product(i *image) string { return cmp.Or(i.Product, o.state.Knobs.Products[i.Name]) }

// settleImages makes images available whose snapshots are complete.
func (x *Control) settleImages(r *region, now time.Time) {
	for _, i := range r.Images {
		if i.State != pending || i.Importing || !past(i.Settled, now) || x.stuck("image") {
			continue
		}
		state := available
		for _, d := range i.Devices {
			if d.Ebs == nil || d.Ebs.Snapshot == "" {
				continue
			}
			s := r.Snapshots[d.Ebs.Snapshot]
			switch {
			case s == nil:
				state, i.Reason = failed, stateReason{"Client.InvalidSnapshot.NotFound", "Snapshot " + d.Ebs.Snapshot + " does not exist"}
			case s.State == errored:
				state, i.Reason = failed, stateReason{"Client.InternalError", s.Message}
			case s.State == pending && state == available:
				state = pending
			}
		}
		if state == available && i.Doom != (stateReason{}) {
			state, i.Reason = failed, i.Doom
		}
		i.State = state
	}
}

// sees reports whether the caller may see the image, and launch instances of it.
func (o *op) sees(i *image) bool {
	if i.Owner == o.call.Account {
		return true
	}
	if i.Disabled {
		return false
	}
	if i.Public || slices.Contains(i.Users, o.call.Account) {
		return true
	}
	if o.options.Organizations == nil {
		return false
	}
	org, units := o.options.Organizations.Organization(o.call.Account)
	return org != "" && slices.Contains(i.Orgs, org) || slices.ContainsFunc(units, func(u string) bool { return slices.Contains(i.OUs, u) })
}

// visibleImage finds an image that the caller may use.
func (o *op) visibleImage(id string) (*image, error) {
	if err := kindImage.check(id); err != nil {
		return nil, err
	}
	i, ok := o.r.Images[id]
	if !ok || !o.sees(i) || o.call.Hidden(id) {
		return nil, kindImage.notFound(id)
	}
	return i, nil
}

// ownImage finds an image that the caller may change.
func (o *op) ownImage(id string) (*image, error) {
	i, err := o.visibleImage(id)
	if err != nil {
		return nil, err
	}
	if i.Owner != o.call.Account {
		return nil, api.Errorf("AuthFailure", "Not authorized for image:%s", id)
	}
	return i, nil
}

type imageXML struct {
	ID             string           `xml:"imageId"`
	Location       string           `xml:"imageLocation"`
	State          string           `xml:"imageState"`
	Owner          string           `xml:"imageOwnerId"`
	Alias          string           `xml:"imageOwnerAlias,omitempty"`
	Created        string           `xml:"creationDate"`
	Public         bool             `xml:"isPublic"`
	Architecture   string           `xml:"architecture"`
	Type           string           `xml:"imageType"`
	Platform       string           `xml:"platformDetails"`
	Usage          string           `xml:"usageOperation"`
	Name           string           `xml:"name"`
	Description    string           `xml:"description,omitempty"`
	RootType       string           `xml:"rootDeviceType"`
	Root           string           `xml:"rootDeviceName"`
	Devices        set[blockDevice] `xml:"blockDeviceMapping>item"`
	Virtualization string           `xml:"virtualizationType"`
	Hypervisor     string           `xml:"hypervisor"`
	ENA            bool             `xml:"enaSupport"`
	SRIOV          string           `xml:"sriovNetSupport,omitempty"`
	BootMode       string           `xml:"bootMode,omitempty"`
	TPM            string           `xml:"tpmSupport,omitempty"`
	IMDS           string           `xml:"imdsSupport,omitempty"`
	Deprecation    string           `xml:"deprecationTime,omitempty"`
	Protection     string           `xml:"deregistrationProtection,omitempty"`
	LastLaunched   string           `xml:"lastLaunchedTime,omitempty"`
	Instance       string           `xml:"sourceInstanceId,omitempty"`
	SourceImage    string           `xml:"sourceImageId,omitempty"`
	SourceRegion   string           `xml:"sourceImageRegion,omitempty"`
	Reason         *stateReason     `xml:"stateReason,omitempty"`
	Products       set[productCode] `xml:"productCodes>item"`
	Tags           set[tag]         `xml:"tagSet>item"`
}

type productCode struct {
	Code string `xml:"productCode"`
	Type string `xml:"type"`
}

func (o *op) imageXML(i *image) imageXML {
	v := imageXML{ID: i.ID, Location: i.Location, State: i.State, Owner: i.Owner, Alias: i.Alias, Created: stamp(i.Created), Public: i.Public,
		Architecture: i.Architecture, Type: "machine", Platform: "Linux/UNIX", Usage: "RunInstances", Name: i.Name, Description: i.Description,
		RootType: "ebs", Root: i.Root, Virtualization: i.Virtualization, Hypervisor: "xen", ENA: i.ENA, SRIOV: i.SRIOV, BootMode: i.BootMode, TPM: i.TPM, IMDS: i.IMDS,
		Deprecation: stamp(i.Deprecated), Instance: i.Instance, SourceImage: i.SourceImage, SourceRegion: i.SourceRegion}
	for _, d := range i.Devices {
		v.Devices = append(v.Devices, o.imageDevice(d))
	}
	if i.Disabled {
		v.State = disabled
	}
	if i.Reason.Code != "" {
		v.Reason = &i.Reason
	}
	if code := o.product(i); code != "" {
		v.Products = set[productCode]{{code, "marketplace"}}
	}
	if i.Owner == o.call.Account { // the rest is not shown to others
		v.Tags, v.LastLaunched, v.Protection = i.Tags, stamp(i.LastLaunched), i.protection(o.now)
	} else {
		v.Instance = ""
	}
	return v
}

// imageDevice is a device as an image shows it: encrypted or not as its snapshot is.
func (o *op) imageDevice(d blockDevice) blockDevice {
	if d.Ebs == nil {
		return d
	}
	e := *d.Ebs
	if s := o.r.Snapshots[e.Snapshot]; s != nil {
		e.Encrypted = ref(s.Seal.Encrypted)
	}
	e.Key = ""
	d.Ebs = &e
	return d
}

type describeImagesIn struct {
	dry
	page
	IDs        []string `q:"ImageId"`
	Owners     []string `q:"Owner"`
	Executable []string `q:"ExecutableBy"`
	Deprecated bool     `q:"IncludeDeprecated"`
	Disabled   bool     `q:"IncludeDisabled"`
	Filters    []filter `q:"Filter"`
}

type describeImagesOut struct {
	Images    set[imageXML] `xml:"imagesSet>item"`
	NextToken string        `xml:"nextToken,omitempty"`
}

func (o *op) describeImages(in *describeImagesIn) (*describeImagesOut, error) {
	for _, owner := range in.Owners {
		if !accountID.MatchString(owner) && !slices.Contains([]string{"self", "amazon", "aws-marketplace", "aws-backup-vault"}, owner) {
			return nil, api.Errorf("InvalidUserID.Malformed", "Invalid user id: \"%s\"", owner)
		}
	}
	found, next, err := list(o, listing[*image]{kind: kindImage, all: o.r.Images, ids: in.IDs, filters: in.Filters, page: in.page, least: 1,
		visible: func(i *image) bool { return o.sees(i) && o.asksFor(in, i) }, fields: o.imageFields()})
	if err != nil {
		return nil, err
	}
	out := &describeImagesOut{NextToken: next}
	for _, i := range found {
		out.Images = append(out.Images, o.imageXML(i))
	}
	return out, nil
}

// asksFor reports whether the request is for an image like this. One that is
// named by id is shown also if it is deprecated or disabled.
func (o *op) asksFor(in *describeImagesIn, i *image) bool {
	mine, named := i.Owner == o.call.Account, slices.Contains(in.IDs, i.ID)
	switch {
	case i.Disabled && !in.Disabled && !named:
		return false
	case !i.Deprecated.IsZero() && past(i.Deprecated, o.now) && !in.Deprecated && !mine && !named:
		return false
	case !o.ownedBy(i.Owner, i.Alias, in.Owners):
		return false
	case len(in.Executable) == 0:
		return true
	}
	return slices.ContainsFunc(in.Executable, func(who string) bool {
		switch who {
		case "all":
			return i.Public
		case "self": // shared with the caller by name: not its own, nor the public ones
			return slices.Contains(i.Users, o.call.Account)
		}
		return slices.Contains(i.Users, who)
	})
}

func (o *op) imageFields() fields[*image] {
	f := fields[*image]{}
	for name, get := range map[string]func(imageXML) string{
		"architecture": func(v imageXML) string { return v.Architecture }, "creation-date": func(v imageXML) string { return v.Created },
		"description": func(v imageXML) string { return v.Description }, "ena-support": func(v imageXML) string { return fmt.Sprint(v.ENA) },
		"hypervisor": func(v imageXML) string { return v.Hypervisor }, "image-id": func(v imageXML) string { return v.ID },
		"image-type": func(v imageXML) string { return v.Type }, "is-public": func(v imageXML) string { return fmt.Sprint(v.Public) },
		"manifest-location": func(v imageXML) string { return v.Location }, "name": func(v imageXML) string { return v.Name },
		"owner-alias": func(v imageXML) string { return v.Alias }, "owner-id": func(v imageXML) string { return v.Owner },
		"platform": func(imageXML) string { return "" }, "root-device-name": func(v imageXML) string { return v.Root },
		"root-device-type": func(v imageXML) string { return v.RootType }, "state": func(v imageXML) string { return v.State },
		"virtualization-type": func(v imageXML) string { return v.Virtualization }, "sriov-net-support": func(v imageXML) string { return v.SRIOV },
		"boot-mode": func(v imageXML) string { return v.BootMode }, "imds-support": func(v imageXML) string { return v.IMDS }, "tpm-support": func(v imageXML) string { return v.TPM },
		"source-instance-id": func(v imageXML) string { return v.Instance }, "source-image-id": func(v imageXML) string { return v.SourceImage },
		"source-image-region": func(v imageXML) string { return v.SourceRegion }, "platform-details": func(v imageXML) string { return v.Platform },
		"usage-operation": func(v imageXML) string { return v.Usage }, "kernel-id": func(imageXML) string { return "" }, "ramdisk-id": func(imageXML) string { return "" },
		"product-code": func(imageXML) string { return "" }, "product-code.type": func(imageXML) string { return "" },
		"state-reason-code":    func(v imageXML) string { return or(v.Reason, stateReason{}).Code },
		"state-reason-message": func(v imageXML) string { return or(v.Reason, stateReason{}).Message },
	} {
		f[name] = func(i *image) []string { return []string{get(o.imageXML(i))} }
	}
	for name, get := range map[string]func(blockDevice) string{
		"device-name":           func(d blockDevice) string { return d.Device },
		"delete-on-termination": func(d blockDevice) string { return fmt.Sprint(or(or(d.Ebs, ebsDevice{}).DeleteOnTermination, false)) },
		"snapshot-id":           func(d blockDevice) string { return or(d.Ebs, ebsDevice{}).Snapshot },
		"volume-size":           func(d blockDevice) string { return fmt.Sprint(or(or(d.Ebs, ebsDevice{}).Size, 0)) },
		"volume-type":           func(d blockDevice) string { return or(d.Ebs, ebsDevice{}).Type },
		"encrypted": func(d blockDevice) string {
			return fmt.Sprint(or(or(o.imageDevice(d).Ebs, ebsDevice{}).Encrypted, false))
		},
	} {
		f["block-device-mapping."+name] = func(i *image) []string {
			var values []string
			for _, d := range i.Devices {
				values = append(values, get(d))
			}
			return values
		}
	}
	return f
}

// checkImageName refuses the names that AWS does not take.
func checkImageName(name string) error {
	const others = "()[] ./-'@_"
	good := len(name) >= 3 && len(name) <= 128
	for _, c := range name {
		good = good && (c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune(others, c))
	}
	if !good {
		return api.Errorf("InvalidAMIName.Malformed", "AMI names must be between 3 and 128 characters long, and may contain letters, numbers, '(', ')', '.', '-', '/', '[', ']', '@', ''', ' ' and '_'")
	}
	return nil
}

// freeName checks an image's name, and that no other image of the caller's has it.
func (o *op) freeName(name string) error {
	if err := checkImageName(name); err != nil {
		return err
	}
	count := 0
	for _, i := range o.r.Images {
		if i.Owner != o.call.Account {
			continue
		}
		count++
		if i.Name == name { // also if it has failed
			return api.Errorf("InvalidAMIName.Duplicate", "AMI name %s is already in use by AMI %s", name, i.ID)
		}
	}
	if limit := o.state.Knobs.MaxImages; limit > 0 && count >= limit {
		return api.Errorf("ResourceLimitExceeded", "You have reached the AMI quota of %d in this Region", limit)
	}
	return nil
}
