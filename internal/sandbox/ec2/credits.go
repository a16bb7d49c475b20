package ec2

import (
	"cmp"
	"strings"
)

type describeCreditsIn struct {
	dry
	page
	IDs     []string `q:"InstanceId"`
	Filters []filter `q:"Filter"`
}

type creditXML struct {
	Instance string `xml:"instanceId"`
	Credits  string `xml:"cpuCredits"`
}

type describeCreditsOut struct {
	Credits   set[creditXML] `xml:"instanceCreditSpecificationSet>item"`
	NextToken string         `xml:"nextToken,omitempty"`
}

// credits is how a burstable instance is paid beyond its baseline: t2 standard
// and the others unlimited, if nothing was asked for.
func (i *instance) credits() string {
	usual := "unlimited"
	if strings.HasPrefix(i.Type, "t2.") {
		usual = "standard"
	}
	return cmp.Or(or(i.Spec.Credit, creditSpec{}).CPU, usual)
}

func (o *op) describeCredits(in *describeCreditsIn) (*describeCreditsOut, error) {
	found, next, err := list(o, listing[*instance]{kind: kindInstance, all: o.r.Instances, ids: in.IDs, filters: in.Filters, page: in.page,
		visible: func(i *instance) bool { return i.Owner == o.call.Account && i.burstable() },
		fields:  fields[*instance]{"instance-id": one(func(i *instance) string { return i.ID })}})
	if err != nil {
		return nil, err
	}
	out := &describeCreditsOut{NextToken: next}
	for _, i := range found {
		out.Credits = append(out.Credits, creditXML{i.ID, i.credits()})
	}
	return out, nil
}

func (i *instance) burstable() bool {
	t := typeTable()[i.Type]
	return t != nil && t.burstable
}
