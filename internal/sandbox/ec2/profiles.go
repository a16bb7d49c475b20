package ec2

import (
	"slices"
	"strings"

	"bake/internal/sandbox/api"
)

// findProfile finds an instance profile that a call names.
func (o *op) findProfile(s profileSpec) (*instanceProfile, error) {
	if s.ARN != "" && s.Name != "" {
		return nil, api.Errorf("InvalidParameterCombination", "The parameter 'iamInstanceProfile.name' may not be used in combination with 'iamInstanceProfile.arn'")
	}
	if o.options.Profiles != nil {
		if arn, ok := o.options.Profiles.InstanceProfile(o.call.Account, s.ARN+s.Name); ok {
			return &instanceProfile{arn, "AIPA" + strings.ToUpper(hash(arn)[:17])}, nil
		}
	}
	if s.ARN != "" {
		return nil, api.Errorf("InvalidParameterValue", "Value (%s) for parameter iamInstanceProfile.arn is invalid. Invalid IAM Instance Profile ARN", s.ARN)
	}
	return nil, api.Errorf("InvalidParameterValue", "Value (%s) for parameter iamInstanceProfile.name is invalid. Invalid IAM Instance Profile name", s.Name)
}

type profileAssociation struct {
	ID       string          `xml:"associationId"`
	Instance string          `xml:"instanceId"`
	Profile  instanceProfile `xml:"iamInstanceProfile"`
	State    string          `xml:"state"`
}

type associateProfileIn struct {
	Profile  profileSpec `q:"IamInstanceProfile,required"`
	Instance string      `q:"InstanceId,required"`
}

type associateProfileOut struct {
	Association profileAssociation `xml:"iamInstanceProfileAssociation"`
}

// associationID follows from the instance's: it has one profile at most.
func (i *instance) associationID() string {
	return "iip-assoc-" + strings.TrimPrefix(i.ID, "i-")
}

func (o *op) associateProfile(in *associateProfileIn) (*associateProfileOut, error) {
	i, err := find(o, kindInstance, o.r.Instances, in.Instance)
	if err != nil {
		return nil, err
	}
	switch {
	case i.State == terminated || i.State == shuttingDown:
		return nil, api.Errorf("IncorrectInstanceState", "The instance %s is not in the 'running' or 'stopped' states.", i.ID)
	case i.Profile != nil:
		return nil, api.Errorf("IncorrectState", "There is an existing association for instance %s", i.ID)
	}
	if i.Profile, err = o.findProfile(in.Profile); err != nil {
		return nil, err
	}
	return &associateProfileOut{profileAssociation{i.associationID(), i.ID, *i.Profile, "associating"}}, nil
}

type disassociateProfileIn struct {
	ID string `q:"AssociationId,required"`
}

func (o *op) disassociateProfile(in *disassociateProfileIn) (*associateProfileOut, error) {
	for _, i := range o.r.Instances {
		if i.Owner == o.call.Account && i.Profile != nil && i.associationID() == in.ID {
			out := profileAssociation{in.ID, i.ID, *i.Profile, "disassociating"}
			i.Profile = nil
			return &associateProfileOut{out}, nil
		}
	}
	return nil, api.Errorf("InvalidAssociationID.NotFound", "An invalid association-id of '%s' was given", in.ID)
}

type replaceProfileIn struct {
	ID      string      `q:"AssociationId,required"`
	Profile profileSpec `q:"IamInstanceProfile,required"`
}

// replaceProfile gives an instance another profile, at once.
func (o *op) replaceProfile(in *replaceProfileIn) (*associateProfileOut, error) {
	for _, i := range o.r.Instances {
		if i.Owner == o.call.Account && i.Profile != nil && i.associationID() == in.ID {
			p, err := o.findProfile(in.Profile)
			if err != nil {
				return nil, err
			}
			i.Profile = p
			return &associateProfileOut{profileAssociation{in.ID, i.ID, *p, "associating"}}, nil
		}
	}
	return nil, api.Errorf("InvalidAssociationID.NotFound", "An invalid association-id of '%s' was given", in.ID)
}

type describeProfilesIn struct {
	page
	IDs     []string `q:"AssociationId"`
	Filters []filter `q:"Filter"`
}

type describeProfilesOut struct {
	Associations set[profileAssociation] `xml:"iamInstanceProfileAssociationSet>item"`
	NextToken    string                  `xml:"nextToken,omitempty"`
}

func (o *op) describeProfiles(in *describeProfilesIn) (*describeProfilesOut, error) {
	found, next, err := list(o, listing[*instance]{kind: kindInstance, all: o.r.Instances, filters: in.Filters, page: in.page,
		visible: func(i *instance) bool {
			return i.Owner == o.call.Account && i.Profile != nil && i.State != terminated && (len(in.IDs) == 0 || slices.Contains(in.IDs, i.associationID()))
		},
		fields: fields[*instance]{
			"instance-id": one(func(i *instance) string { return i.ID }),
			"state":       one(func(*instance) string { return "associated" }),
		}})
	if err != nil {
		return nil, err
	}
	out := &describeProfilesOut{NextToken: next}
	for _, i := range found {
		out.Associations = append(out.Associations, profileAssociation{i.associationID(), i.ID, *i.Profile, "associated"})
	}
	return out, nil
}
