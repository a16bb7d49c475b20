package ec2

// EC2-Classic is gone, and AWS answers as it does for VPCs that have never been
// linked to it; clients of its days still ask.

type classicIn struct {
	dry
	page
	IDs     []string `q:"VpcId"`
	Filters []filter `q:"Filter"`
}

type classicXML struct {
	Enabled bool     `xml:"classicLinkEnabled"`
	VpcID   string   `xml:"vpcId"`
	Tags    set[tag] `xml:"tagSet>item"`
}

type classicOut struct {
	Vpcs set[classicXML] `xml:"vpcSet>item"`
}

func (o *op) describeClassicLink(in *classicIn) (*classicOut, error) {
	found, _, err := list(o, listing[*vpc]{kind: kindVPC, all: o.r.VPCs, ids: in.IDs, filters: in.Filters, fields: fields[*vpc]{
		"is-classic-link-enabled": func(*vpc) []string { return yes(false) },
	}})
	if err != nil {
		return nil, err
	}
	out := &classicOut{}
	for _, v := range found {
		out.Vpcs = append(out.Vpcs, classicXML{VpcID: v.ID, Tags: v.Tags})
	}
	return out, nil
}

type classicDNSIn struct {
	page
	IDs []string `q:"VpcIds"`
}

type classicDNSXML struct {
	Supported bool   `xml:"classicLinkDnsSupported"`
	VpcID     string `xml:"vpcId"`
}

type classicDNSOut struct {
	Vpcs set[classicDNSXML] `xml:"vpcs>item"`
}

func (o *op) describeClassicDNS(in *classicDNSIn) (*classicDNSOut, error) {
	found, err := o.describeClassicLink(&classicIn{IDs: in.IDs})
	if err != nil {
		return nil, err
	}
	out := &classicDNSOut{}
	for _, v := range found.Vpcs {
		out.Vpcs = append(out.Vpcs, classicDNSXML{VpcID: v.VpcID})
	}
	return out, nil
}
