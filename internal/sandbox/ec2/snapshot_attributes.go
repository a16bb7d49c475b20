package ec2

import (
	"slices"

	"bake/internal/lazyregexp"
	"bake/internal/sandbox/api"
)

var accountID = lazyregexp.New(`^[0-9]{12}$`)

type volumePermission struct {
	User  string `q:"UserId" xml:"userId,omitempty"`
	Group string `q:"Group" xml:"group,omitempty"`
}

type modifySnapshotIn struct {
	dry
	Snapshot   string `q:"SnapshotId,required"`
	Attribute  string `q:"Attribute"`
	Operation  string `q:"OperationType"`
	Permission *struct {
		Add    []volumePermission `q:"Add"`
		Remove []volumePermission `q:"Remove"`
	} `q:"CreateVolumePermission"`
	Groups []string `q:"UserGroup"`
	Users  []string `q:"UserId"`
}

func (o *op) modifySnapshot(in *modifySnapshotIn) (*returned, error) {
	s, err := find(o, kindSnapshot, o.r.Snapshots, in.Snapshot)
	if err != nil {
		return nil, err
	}
	if in.Attribute != "" && in.Attribute != "createVolumePermission" {
		return nil, api.Errorf("InvalidParameterValue", "Value (%s) for parameter attribute is invalid. Unknown attribute.", in.Attribute)
	}
	add, remove, err := in.permissions()
	if err != nil {
		return nil, err
	}
	for _, p := range append(slices.Clone(add), remove...) {
		if p.User != "" && !accountID.MatchString(p.User) {
			return nil, api.Errorf("InvalidParameterValue", "Value (%s) for parameter userId is invalid. User IDs must consist of digits.", p.User)
		}
		if p.Group != "" && p.Group != "all" {
			return nil, api.Errorf("InvalidParameterValue", "Value (%s) for parameter group is invalid. Group can only be 'all'", p.Group)
		}
	}
	for _, p := range add {
		switch {
		case s.Seal.Managed:
			return nil, api.Errorf("InvalidParameter", "Snapshots encrypted with the AWS Managed CMK can’t be shared. Specify another snapshot.")
		case p.Group == "all" && s.Seal.Encrypted:
			return nil, api.Errorf("OperationNotPermitted", "Encrypted snapshots with EBS default key cannot be shared publicly")
		case p.Group == "all" && o.me.BlockPublicSnapshots != "unblocked":
			return nil, api.Errorf("OperationNotPermitted", "You can't publicly share this snapshot because block public access for EBS snapshots is enabled for this account and Region.")
		}
	}
	for _, p := range add {
		s.Public = s.Public || p.Group == "all"
		if p.User != "" && !slices.Contains(s.Users, p.User) {
			s.Users = append(s.Users, p.User)
		}
	}
	for _, p := range remove {
		s.Public = s.Public && p.Group != "all"
		s.Users = slices.DeleteFunc(s.Users, func(u string) bool { return u == p.User })
	}
	return ok(), nil
}

// permissions reads both ways in which they can be given.
func (in *modifySnapshotIn) permissions() (add, remove []volumePermission, err error) {
	if in.Permission != nil {
		return in.Permission.Add, in.Permission.Remove, nil
	}
	var all []volumePermission
	for _, u := range in.Users {
		all = append(all, volumePermission{User: u})
	}
	for _, g := range in.Groups {
		all = append(all, volumePermission{Group: g})
	}
	switch {
	case len(all) == 0:
		return nil, nil, api.Errorf("MissingParameter", "The request must contain the parameter createVolumePermission")
	case in.Operation == "add":
		return all, nil, nil
	case in.Operation == "remove":
		return nil, all, nil
	}
	return nil, nil, api.Errorf("InvalidParameterValue", "Value (%s) for parameter operationType is invalid.", in.Operation)
}

type snapshotAttributeIn struct {
	dry
	Snapshot  string `q:"SnapshotId,required"`
	Attribute string `q:"Attribute,required"`
}

type snapshotAttributeOut struct {
	Snapshot    string                 `xml:"snapshotId"`
	Permissions *set[volumePermission] `xml:"createVolumePermission>item,omitempty"`
	Products    *set[value]            `xml:"productCodes>item,omitempty"`
}

func (o *op) describeSnapshotAttribute(in *snapshotAttributeIn) (*snapshotAttributeOut, error) {
	s, err := find(o, kindSnapshot, o.r.Snapshots, in.Snapshot)
	if err != nil {
		return nil, err
	}
	out := &snapshotAttributeOut{Snapshot: s.ID}
	switch in.Attribute {
	case "productCodes":
		out.Products = &set[value]{}
	case "createVolumePermission":
		all := set[volumePermission]{}
		for _, u := range s.Users {
			all = append(all, volumePermission{User: u})
		}
		if s.Public {
			all = append(all, volumePermission{Group: "all"})
		}
		out.Permissions = &all
	default:
		return nil, api.Errorf("InvalidParameterValue", "Value (%s) for parameter attribute is invalid. Unknown attribute.", in.Attribute)
	}
	return out, nil
}

func (o *op) resetSnapshotAttribute(in *snapshotAttributeIn) (*returned, error) {
	s, err := find(o, kindSnapshot, o.r.Snapshots, in.Snapshot)
	if err != nil {
		return nil, err
	}
	if in.Attribute != "createVolumePermission" {
		return nil, api.Errorf("InvalidParameterValue", "Value (%s) for parameter attribute is invalid. Unknown attribute.", in.Attribute)
	}
	s.Users, s.Public = nil, false
	return ok(), nil
}
