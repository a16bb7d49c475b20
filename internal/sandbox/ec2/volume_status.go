package ec2

type volumeStatusXML struct {
	ID     string `xml:"volumeId"`
	Zone   string `xml:"availabilityZone"`
	Status struct {
		Status  string            `xml:"status"`
		Details set[statusDetail] `xml:"details>item"`
	} `xml:"volumeStatus"`
	Actions set[tag] `xml:"actionsSet>item"`
	Events  set[tag] `xml:"eventsSet>item"`
}

type volumeStatusOut struct {
	Statuses  set[volumeStatusXML] `xml:"volumeStatusSet>item"`
	NextToken string               `xml:"nextToken,omitempty"`
}

// describeVolumeStatus: volumes here never fail.
func (o *op) describeVolumeStatus(in *describeVolumesIn) (*volumeStatusOut, error) {
	found, next, err := list(o, listing[*volume]{kind: kindVolume, all: o.r.Volumes, ids: in.IDs, filters: in.Filters, page: in.page, fields: fields[*volume]{
		"availability-zone":    one(func(v *volume) string { return v.Zone }),
		"volume-status.status": one(func(*volume) string { return "ok" }),
	}})
	if err != nil {
		return nil, err
	}
	out := &volumeStatusOut{NextToken: next}
	for _, v := range found {
		x := volumeStatusXML{ID: v.ID, Zone: v.Zone}
		x.Status.Status, x.Status.Details = "ok", set[statusDetail]{{"io-enabled", "passed"}, {"io-performance", "not-applicable"}}
		out.Statuses = append(out.Statuses, x)
	}
	return out, nil
}
