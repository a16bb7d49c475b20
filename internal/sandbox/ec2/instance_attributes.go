package ec2

import (
	"encoding/base64"
	"slices"

	"bake/internal/sandbox/api"
)

type modifyInstanceIn struct {
	dry
	Instance      string     `q:"InstanceId,required"`
	Attribute     string     `q:"Attribute"`
	Value         string     `q:"Value"`
	SourceCheck   *boolValue `q:"SourceDestCheck"`
	NoStop        *boolValue `q:"DisableApiStop"`
	NoTermination *boolValue `q:"DisableApiTermination"`
	Type          *value     `q:"InstanceType"`
	UserData      *value     `q:"UserData"`
	Shutdown      *value     `q:"InstanceInitiatedShutdownBehavior"`
	Groups        []string   `q:"GroupId"`
	EbsOptimized  *boolValue `q:"EbsOptimized"`
	SRIOV         *value     `q:"SriovNetSupport"`
	ENA           *boolValue `q:"EnaSupport"`
	Devices       []struct {
		Device string `q:"DeviceName"`
		Ebs    *struct {
			Volume              string `q:"VolumeId"`
			DeleteOnTermination *bool  `q:"DeleteOnTermination"`
		} `q:"Ebs"`
		Virtual string `q:"VirtualName"`
		None    string `q:"NoDevice"`
	} `q:"BlockDeviceMapping"`
}

// generic turns Attribute and Value into the member that they stand for.
func (in *modifyInstanceIn) generic() error {
	if in.Attribute == "" {
		return nil
	}
	truth := &boolValue{in.Value == "true"}
	switch in.Attribute {
	case "instanceType":
		in.Type = &value{in.Value}
	case "userData":
		in.UserData = &value{in.Value}
	case "instanceInitiatedShutdownBehavior":
		in.Shutdown = &value{in.Value}
	case "disableApiTermination":
		in.NoTermination = truth
	case "disableApiStop":
		in.NoStop = truth
	case "sourceDestCheck":
		in.SourceCheck = truth
	case "ebsOptimized":
		in.EbsOptimized = truth
	case "enaSupport":
		in.ENA = truth
	case "sriovNetSupport":
		in.SRIOV = &value{in.Value}
	case "blockDeviceMapping", "groupSet":
	default:
		return api.Errorf("InvalidParameterValue", "Value (%s) for parameter attribute is invalid. Unknown attribute.", in.Attribute)
	}
	return nil
}

func (o *op) modifyInstance(in *modifyInstanceIn) (*returned, error) {
	if err := in.generic(); err != nil {
		return nil, err
	}
	i, err := find(o, kindInstance, o.r.Instances, in.Instance)
	if err != nil {
		return nil, err
	}
	count := 0
	for _, given := range []bool{in.SourceCheck != nil, in.NoStop != nil, in.NoTermination != nil, in.Type != nil, in.UserData != nil, in.Shutdown != nil,
		len(in.Groups) > 0, in.EbsOptimized != nil, in.SRIOV != nil, in.ENA != nil, len(in.Devices) > 0} {
		if given {
			count++
		}
	}
	switch {
	case count == 0:
		return nil, api.Errorf("InvalidParameterCombination", "No attributes specified.")
	case count > 1:
		return nil, api.Errorf("InvalidParameterCombination", "Fields for multiple attribute types specified")
	case i.State == terminated || i.State == shuttingDown:
		return nil, api.Errorf("IncorrectInstanceState", "The instance '%s' is not in a state in which it can be modified.", i.ID)
	}
	if in.Type != nil || in.UserData != nil || in.SRIOV != nil || in.ENA != nil || in.EbsOptimized != nil {
		if i.State != stopped {
			return nil, api.Errorf("IncorrectInstanceState", "The instance '%s' is not in the 'stopped' state.", i.ID)
		}
	}
	return ok(), o.set(i, in)
}

// set changes the one attribute that is given.
func (o *op) set(i *instance, in *modifyInstanceIn) error {
	switch {
	case in.SourceCheck != nil:
		i.Unchecked = !in.SourceCheck.Value
	case in.NoStop != nil:
		i.NoStop = in.NoStop.Value
	case in.NoTermination != nil:
		i.NoTermination = in.NoTermination.Value
	case in.EbsOptimized != nil:
		i.Spec.EbsOptimized = &in.EbsOptimized.Value
	case in.ENA != nil:
		i.ENA = in.ENA.Value
	case in.SRIOV != nil:
		if in.SRIOV.Value != "simple" {
			return api.Errorf("InvalidParameterValue", "Value (%s) for parameter sriovNetSupport is invalid.", in.SRIOV.Value)
		}
		i.SRIOV = "simple"
	case in.Shutdown != nil:
		if !slices.Contains([]string{"stop", "terminate"}, in.Shutdown.Value) {
			return api.Errorf("InvalidParameterValue", "Value (%s) for parameter instanceInitiatedShutdownBehavior is invalid.", in.Shutdown.Value)
		}
		i.ShutdownAction = in.Shutdown.Value
	case in.UserData != nil:
		data, err := base64.StdEncoding.DecodeString(in.UserData.Value)
		switch {
		case err != nil:
			return api.Errorf("InvalidUserData.Malformed", "Invalid BASE64 encoding of user data.")
		case len(data) > maxUserData:
			return api.Errorf("InvalidParameterValue", "User data is limited to %d bytes", maxUserData)
		}
		i.UserData = in.UserData.Value
	case in.Type != nil:
		t := typeTable()[in.Type.Value]
		if t == nil {
			return api.Errorf("InvalidInstanceAttributeValue", "Invalid value '%s' for InstanceType.", in.Type.Value)
		}
		if t.arch != i.Architecture {
			return api.Errorf("InvalidParameterValue", "The architecture '%s' of the specified instance type does not match the architecture '%s' of the instance.", t.arch, i.Architecture)
		}
		i.Type = t.ID
	case len(in.Groups) > 0:
		return o.setGroups(i, in.Groups)
	default:
		return i.setDevices(in)
	}
	return nil
}

func (o *op) setGroups(i *instance, ids []string) error {
	for _, id := range ids {
		g, err := find(o, kindGroup, o.r.Groups, id)
		if err != nil {
			return err
		}
		if g.VPC != i.VPC {
			return api.Errorf("InvalidParameter", "Security group %s and instance %s belong to different networks.", id, i.ID)
		}
	}
	i.Groups = ids
	o.rulesChanged()
	for _, n := range i.Interfaces {
		n.Groups = ids
	}
	return nil
}

func (i *instance) setDevices(in *modifyInstanceIn) error {
	for _, d := range in.Devices {
		n := slices.IndexFunc(i.Devices, func(a *attachment) bool { return a.Device == d.Device })
		if n < 0 {
			return api.Errorf("InvalidInstanceAttributeValue", "No device is currently mapped at %s", d.Device)
		}
		if d.Ebs != nil && d.Ebs.DeleteOnTermination != nil {
			i.Devices[n].DeleteOnTermination = *d.Ebs.DeleteOnTermination
		}
	}
	return nil
}

type instanceAttributeIn struct {
	dry
	Instance  string `q:"InstanceId,required"`
	Attribute string `q:"Attribute,required"`
}

type instanceAttributeOut struct {
	Instance      string          `xml:"instanceId"`
	Type          *value          `xml:"instanceType,omitempty"`
	UserData      *userDataXML    `xml:"userData,omitempty"`
	Shutdown      *value          `xml:"instanceInitiatedShutdownBehavior,omitempty"`
	NoTermination *boolValue      `xml:"disableApiTermination,omitempty"`
	NoStop        *boolValue      `xml:"disableApiStop,omitempty"`
	Root          *value          `xml:"rootDeviceName,omitempty"`
	Devices       *set[deviceXML] `xml:"blockDeviceMapping>item,omitempty"`
	SourceCheck   *boolValue      `xml:"sourceDestCheck,omitempty"`
	Groups        *set[groupRef]  `xml:"groupSet>item,omitempty"`
	EbsOptimized  *boolValue      `xml:"ebsOptimized,omitempty"`
	SRIOV         *value          `xml:"sriovNetSupport,omitempty"`
	ENA           *boolValue      `xml:"enaSupport,omitempty"`
	Enclave       *enclave        `xml:"enclaveOptions,omitempty"`
	Kernel        *value          `xml:"kernel,omitempty"`
	Ramdisk       *value          `xml:"ramdisk,omitempty"`
	Products      *set[value]     `xml:"productCodes>item,omitempty"`
}

type userDataXML struct {
	Value string `xml:"value,omitempty"`
}

func (o *op) describeInstanceAttribute(in *instanceAttributeIn) (*instanceAttributeOut, error) {
	i, err := find(o, kindInstance, o.r.Instances, in.Instance)
	if err != nil {
		return nil, err
	}
	out := &instanceAttributeOut{Instance: i.ID}
	switch in.Attribute {
	case "instanceType":
		out.Type = &value{i.Type}
	case "userData":
		out.UserData = &userDataXML{i.UserData}
	case "instanceInitiatedShutdownBehavior":
		out.Shutdown = &value{i.ShutdownAction}
	case "disableApiTermination":
		out.NoTermination = &boolValue{i.NoTermination}
	case "disableApiStop":
		out.NoStop = &boolValue{i.NoStop}
	case "rootDeviceName":
		out.Root = &value{i.Root}
	case "blockDeviceMapping":
		out.Devices = ref(o.instanceXML(i).Devices)
	case "sourceDestCheck":
		out.SourceCheck = &boolValue{!i.Unchecked}
	case "groupSet":
		out.Groups = ref(o.groupRefs(i.Groups))
	case "ebsOptimized":
		out.EbsOptimized = &boolValue{or(i.Spec.EbsOptimized, false)}
	case "sriovNetSupport":
		out.SRIOV = &value{i.SRIOV}
	case "enaSupport":
		out.ENA = &boolValue{i.ENA}
	case "enclaveOptions":
		out.Enclave = ref(or(i.Spec.Enclave, enclave{}))
	case "kernel":
		out.Kernel = &value{}
	case "ramdisk":
		out.Ramdisk = &value{}
	case "productCodes":
		out.Products = &set[value]{}
	default:
		return nil, api.Errorf("InvalidParameterValue", "Value (%s) for parameter attribute is invalid. Unknown attribute.", in.Attribute)
	}
	return out, nil
}

type modifyMetadataIn struct {
	dry
	metadataOptions
	Instance string `q:"InstanceId,required"`
}

type modifyMetadataOut struct {
	Instance string          `xml:"instanceId"`
	Options  metadataOptions `xml:"instanceMetadataOptions"`
}

func (o *op) modifyMetadata(in *modifyMetadataIn) (*modifyMetadataOut, error) {
	i, err := find(o, kindInstance, o.r.Instances, in.Instance)
	if err != nil {
		return nil, err
	}
	if err := in.metadataOptions.check(); err != nil {
		return nil, err
	}
	if i.State == terminated || i.State == shuttingDown {
		return nil, api.Errorf("IncorrectInstanceState", "The instance '%s' is not in a state in which it can be modified.", i.ID)
	}
	i.Metadata = i.Metadata.with(&in.metadataOptions)
	return &modifyMetadataOut{i.ID, i.Metadata}, nil
}
