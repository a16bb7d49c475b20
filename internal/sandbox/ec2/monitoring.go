package ec2

import "bake/internal/sandbox/api"

type monitoringIn struct {
	dry
	IDs []string `q:"InstanceId,required"`
}

type monitoringOut struct {
	Instances set[monitoredXML] `xml:"instancesSet>item"`
}

type monitoredXML struct {
	ID         string          `xml:"instanceId"`
	Monitoring monitoringState `xml:"monitoring"`
}

func (o *op) monitor(in *monitoringIn) (*monitoringOut, error) { return o.setMonitoring(in, true) }

func (o *op) unmonitor(in *monitoringIn) (*monitoringOut, error) { return o.setMonitoring(in, false) }

// setMonitoring begins or ends the detailed monitoring of instances: all or none.
// The answer says what is under way, the next Describe what is.
func (o *op) setMonitoring(in *monitoringIn, on bool) (*monitoringOut, error) {
	var all []*instance
	for _, id := range in.IDs {
		i, err := find(o, kindInstance, o.r.Instances, id)
		if err != nil {
			return nil, err
		}
		all = append(all, i)
	}
	state := map[bool]string{true: "pending", false: "disabling"}[on]
	out := &monitoringOut{}
	for _, i := range all {
		i.Spec.Monitoring = &monitoring{Enabled: on}
		out.Instances = append(out.Instances, monitoredXML{i.ID, monitoringState{state}})
	}
	return out, nil
}

type instanceIn struct {
	dry
	Instance string `q:"InstanceId,required"`
}

type passwordOut struct {
	Instance string `xml:"instanceId"`
	At       string `xml:"timestamp"`
	Data     string `xml:"passwordData"`
}

// password is empty for every machine here: only Windows makes one.
func (o *op) password(in *instanceIn) (*passwordOut, error) {
	i, err := find(o, kindInstance, o.r.Instances, in.Instance)
	if err != nil {
		return nil, err
	}
	return &passwordOut{Instance: i.ID, At: stamp(o.now)}, nil
}

type modifyCreditsIn struct {
	dry
	ClientToken string `q:"ClientToken"`
	Wanted      []struct {
		Instance string `q:"InstanceId"`
		Credits  string `q:"CpuCredits"`
	} `q:"InstanceCreditSpecification,required"`
}

type modifyCreditsOut struct {
	Changed set[creditChanged] `xml:"successfulInstanceCreditSpecificationSet>item"`
	Refused set[creditRefused] `xml:"unsuccessfulInstanceCreditSpecificationSet>item"`
}

type creditChanged struct {
	Instance string `xml:"instanceId"`
}

type creditRefused struct {
	Instance string `xml:"instanceId"`
	Error    struct {
		Code    string `xml:"code"`
		Message string `xml:"message"`
	} `xml:"error"`
}

// modifyCredits changes how instances are paid beyond their baseline. What is
// wrong with one does not keep it from the others.
func (o *op) modifyCredits(in *modifyCreditsIn) (*modifyCreditsOut, error) {
	out := &modifyCreditsOut{}
	for _, w := range in.Wanted {
		if w.Credits != "standard" && w.Credits != "unlimited" {
			return nil, api.Errorf("InvalidParameterValue", "Value (%s) for parameter CpuCredits is invalid.", w.Credits)
		}
		if err := kindInstance.check(w.Instance); err != nil {
			return nil, err
		}
		i, err := find(o, kindInstance, o.r.Instances, w.Instance)
		refused := creditRefused{Instance: w.Instance}
		switch {
		case err != nil:
			refused.Error.Code, refused.Error.Message = "InvalidInstanceID.NotFound", "The instance ID '"+w.Instance+"' does not exist"
		case !i.burstable():
			refused.Error.Code, refused.Error.Message = "InstanceCreditSpecification.NotSupported", "The specified instance is a non-burstable instance"
		default:
			i.Spec.Credit = &creditSpec{CPU: w.Credits}
			out.Changed = append(out.Changed, creditChanged{i.ID})
			continue
		}
		out.Refused = append(out.Refused, refused)
	}
	return out, nil
}
