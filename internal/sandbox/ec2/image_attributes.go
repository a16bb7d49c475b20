package ec2

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"bake/internal/lazyregexp"
	"bake/internal/sandbox/api"
)

// Organizations say where an account belongs.
type Organizations interface {
	// Organization returns the ARN of the account's organization ("" if it is in
	// none) and those of the organizational units above it.
	Organization(account string) (arn string, units []string)
}

type launchPermission struct {
	User  string `q:"UserId" xml:"userId,omitempty"`
	Group string `q:"Group" xml:"group,omitempty"`
	Org   string `q:"OrganizationArn" xml:"organizationArn,omitempty"`
	OU    string `q:"OrganizationalUnitArn" xml:"organizationalUnitArn,omitempty"`
}

type modifyImageIn struct {
	dry
	Image       string `q:"ImageId,required"`
	Attribute   string `q:"Attribute"`
	Value       string `q:"Value"`
	Operation   string `q:"OperationType"`
	Description *value `q:"Description"`
	IMDS        *value `q:"ImdsSupport"`
	Permission  *struct {
		Add    []launchPermission `q:"Add"`
		Remove []launchPermission `q:"Remove"`
	} `q:"LaunchPermission"`
	Users    []string `q:"UserId"`
	Groups   []string `q:"UserGroup"`
	Orgs     []string `q:"OrganizationArn"`
	OUs      []string `q:"OrganizationalUnitArn"`
	Products []string `q:"ProductCode"`
}

func (o *op) modifyImage(in *modifyImageIn) (*returned, error) {
	i, err := o.ownImage(in.Image)
	if err != nil {
		return nil, err
	}
	if i.State != available {
		return nil, api.Errorf("InvalidAMIID.Unavailable", "The image id '[%s]' is not available: it is %s", i.ID, i.State)
	}
	switch attribute, err := in.attribute(); {
	case err != nil:
		return nil, err
	case attribute == "description":
		text := in.Value
		if in.Description != nil {
			text = in.Description.Value
		}
		if err := checkDescription(text); err != nil {
			return nil, err
		}
		i.Description = text
		return ok(), nil
	case attribute == "imdsSupport":
		text := in.Value
		if in.IMDS != nil {
			text = in.IMDS.Value
		}
		if text != "v2.0" {
			return nil, api.Errorf("InvalidParameterValue", "Value (%s) for parameter imdsSupport is invalid. Only v2.0 can be set, and it stays", text)
		}
		i.IMDS = text
		return ok(), nil
	case attribute == "productCodes":
		return nil, api.Errorf("InvalidProductCode", "Product codes are AWS Marketplace's alone")
	}
	add, remove, err := in.permissions()
	if err != nil {
		return nil, err
	}
	return o.permit(i, add, remove)
}

// attribute is the one attribute that the request is about.
func (in *modifyImageIn) attribute() (string, error) {
	var all []string
	add := func(given bool, name string) {
		if given && !slices.Contains(all, name) {
			all = append(all, name)
		}
	}
	add(in.Description != nil, "description")
	add(in.IMDS != nil, "imdsSupport")
	add(len(in.Products) > 0, "productCodes")
	add(in.Permission != nil || len(in.Users)+len(in.Groups)+len(in.Orgs)+len(in.OUs) > 0, "launchPermission")
	if in.Attribute != "" {
		if !slices.Contains([]string{"description", "imdsSupport", "productCodes", "launchPermission"}, in.Attribute) {
			return "", api.Errorf("InvalidParameterValue", "Value (%s) for parameter attribute is invalid. Unknown attribute.", in.Attribute)
		}
		add(true, in.Attribute)
	}
	switch len(all) {
	case 0:
		return "", api.Errorf("InvalidParameterCombination", "No attributes specified.")
	case 1:
		return all[0], nil
	}
	return "", api.Errorf("InvalidParameterCombination", "Fields for multiple attribute types specified: %s", strings.Join(all, ", "))
}

func (in *modifyImageIn) permissions() (add, remove []launchPermission, err error) {
	if in.Permission != nil {
		return in.Permission.Add, in.Permission.Remove, nil
	}
	var all []launchPermission
	for _, u := range in.Users {
		all = append(all, launchPermission{User: u})
	}
	for _, g := range in.Groups {
		all = append(all, launchPermission{Group: g})
	}
	for _, a := range in.Orgs {
		all = append(all, launchPermission{Org: a})
	}
	for _, a := range in.OUs {
		all = append(all, launchPermission{OU: a})
	}
	switch {
	case len(all) == 0:
		return nil, nil, api.Errorf("MissingParameter", "The request must contain the parameter launchPermission")
	case in.Operation == "add":
		return all, nil, nil
	case in.Operation == "remove":
		return nil, all, nil
	}
	return nil, nil, api.Errorf("InvalidParameterValue", "Value (%s) for parameter operationType is invalid.", in.Operation)
}

var (
	orgARN = lazyregexp.New(`^arn:aws[a-z-]*:organizations::[0-9]{12}:organization/o-[a-z0-9]{10,32}$`)
	ouARN  = lazyregexp.New(`^arn:aws[a-z-]*:organizations::[0-9]{12}:ou/o-[a-z0-9]{10,32}/ou-[0-9a-z]{4,32}-[0-9a-z]{8,32}$`)
)

func (p launchPermission) check() error {
	bad := func(v, kind string) error {
		return api.Errorf("InvalidAMIAttributeItemValue", "Invalid attribute item value \"%s\" for %s item type.", v, kind)
	}
	switch {
	case p == launchPermission{}:
		return api.Errorf("MissingParameter", "The request must contain the parameter userId, group, organizationArn or organizationalUnitArn")
	case p.User != "" && !accountID.MatchString(p.User):
		return bad(p.User, "userId")
	case p.Group != "" && p.Group != "all":
		return bad(p.Group, "group")
	case p.Org != "" && !orgARN.MatchString(p.Org):
		return bad(p.Org, "organizationArn")
	case p.OU != "" && !ouARN.MatchString(p.OU):
		return bad(p.OU, "organizationalUnitArn")
	}
	return nil
}

// permit changes who may launch the image. Adding who is there and removing who is not change nothing.
func (o *op) permit(i *image, add, remove []launchPermission) (*returned, error) {
	for _, p := range append(slices.Clone(add), remove...) {
		if err := p.check(); err != nil {
			return nil, err
		}
	}
	for _, p := range add {
		if err := o.mayShare(i, p); err != nil {
			return nil, err
		}
	}
	put := func(all *[]string, v string) {
		if v != "" && !slices.Contains(*all, v) {
			*all = append(*all, v)
		}
	}
	for _, p := range add {
		i.Public = i.Public || p.Group == "all"
		put(&i.Users, p.User)
		put(&i.Orgs, p.Org)
		put(&i.OUs, p.OU)
	}
	for _, p := range remove {
		i.Public = i.Public && p.Group != "all"
		drop := func(all []string, v string) []string {
			return slices.DeleteFunc(all, func(x string) bool { return x == v })
		}
		i.Users, i.Orgs, i.OUs = drop(i.Users, p.User), drop(i.Orgs, p.Org), drop(i.OUs, p.OU)
	}
	return ok(), nil
}

func (o *op) mayShare(i *image, p launchPermission) error {
	if p.Group == "all" && o.me.BlockPublicImages {
		return api.Errorf("OperationNotPermitted", "You can't publicly share this image because block public access for AMIs is enabled for this account and Region. To publicly share the image, you must call the DisableImageBlockPublicAccess API.")
	}
	if p.Group == "all" && o.product(i) != "" {
		return api.Errorf("OperationNotPermitted", "Images with an AWS Marketplace product code cannot be made public.")
	}
	for _, d := range i.Devices {
		if d.Ebs == nil {
			continue
		}
		s := o.r.Snapshots[d.Ebs.Snapshot]
		switch {
		case s != nil && s.Seal.Managed:
			return api.Errorf("InvalidParameter", "Snapshots encrypted with the AWS Managed CMK can't be shared. Specify another snapshot.")
		case s != nil && s.Seal.Encrypted && p.Group == "all":
			return api.Errorf("InvalidParameter", "Encrypted AMIs can't be made public: snapshot %s is encrypted", s.ID)
		}
	}
	return nil
}

type imageAttributeIn struct {
	dry
	Attribute string `q:"Attribute,required"`
	Image     string `q:"ImageId,required"`
}

type imageAttributeOut struct {
	Image        string                 `xml:"imageId"`
	Description  *value                 `xml:"description,omitempty"`
	Permissions  *set[launchPermission] `xml:"launchPermission>item,omitempty"`
	Products     *set[value]            `xml:"productCodes>item,omitempty"`
	Devices      *set[blockDevice]      `xml:"blockDeviceMapping>item,omitempty"`
	Kernel       *value                 `xml:"kernel,omitempty"`
	Ramdisk      *value                 `xml:"ramdisk,omitempty"`
	SRIOV        *value                 `xml:"sriovNetSupport,omitempty"`
	BootMode     *value                 `xml:"bootMode,omitempty"`
	TPM          *value                 `xml:"tpmSupport,omitempty"`
	UEFIData     *value                 `xml:"uefiData,omitempty"`
	LastLaunched *value                 `xml:"lastLaunchedTime,omitempty"`
	IMDS         *value                 `xml:"imdsSupport,omitempty"`
	Protection   *value                 `xml:"deregistrationProtection,omitempty"`
}

func (o *op) describeImageAttribute(in *imageAttributeIn) (*imageAttributeOut, error) {
	i, err := o.ownImage(in.Image)
	if err != nil {
		return nil, err
	}
	out := &imageAttributeOut{Image: i.ID}
	switch in.Attribute {
	case "description":
		out.Description = &value{i.Description}
	case "launchPermission":
		out.Permissions = ref(i.permissions())
	case "productCodes":
		out.Products = &set[value]{}
	case "kernel":
		out.Kernel = &value{}
	case "ramdisk":
		out.Ramdisk = &value{}
	case "sriovNetSupport":
		out.SRIOV = &value{i.SRIOV}
	case "bootMode":
		out.BootMode = &value{i.BootMode}
	case "tpmSupport":
		out.TPM = &value{i.TPM}
	case "uefiData":
		out.UEFIData = &value{i.UEFIData}
	case "lastLaunchedTime":
		out.LastLaunched = &value{stamp(i.LastLaunched)}
	case "imdsSupport":
		out.IMDS = &value{i.IMDS}
	case "deregistrationProtection":
		out.Protection = &value{i.protection(o.now)}
	case "blockDeviceMapping":
		return nil, api.Errorf("AuthFailure", "Unauthorized attempt to access restricted resource")
	default:
		return nil, api.Errorf("InvalidParameterValue", "Value (%s) for parameter attribute is invalid. Unknown attribute.", in.Attribute)
	}
	return out, nil
}

func (i *image) permissions() set[launchPermission] {
	all := set[launchPermission]{}
	if i.Public {
		all = append(all, launchPermission{Group: "all"})
	}
	for _, u := range i.Users {
		all = append(all, launchPermission{User: u})
	}
	for _, a := range i.Orgs {
		all = append(all, launchPermission{Org: a})
	}
	for _, a := range i.OUs {
		all = append(all, launchPermission{OU: a})
	}
	return all
}

func (o *op) resetImageAttribute(in *imageAttributeIn) (*returned, error) {
	i, err := o.ownImage(in.Image)
	if err != nil {
		return nil, err
	}
	if in.Attribute != "launchPermission" {
		return nil, api.Errorf("InvalidParameterValue", "Value (%s) for parameter attribute is invalid. Unknown attribute.", in.Attribute)
	}
	i.unshare()
	return ok(), nil
}

func (i *image) unshare() { i.Public, i.Users, i.Orgs, i.OUs = false, nil, nil, nil }

// protection says whether the image can be deregistered.
func (i *image) protection(now time.Time) string {
	if i.Protection == "" && now.Before(i.Cooldown) {
		return "disabled-with-cooldown"
	}
	return cmp.Or(i.Protection, "disabled")
}
