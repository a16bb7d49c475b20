package cloudwatch

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"bake/internal/sandbox/api"
)

// The states of an alarm.
const (
	stateOK     = "OK"
	stateAlarm  = "ALARM"
	stateNoData = "INSUFFICIENT_DATA"
)

// settings are what whoever makes an alarm says of it.
type settings struct {
	AlarmName               string      `q:"AlarmName,required" xml:"AlarmName"`
	AlarmDescription        string      `q:"AlarmDescription" xml:"AlarmDescription,omitempty" json:",omitzero"`
	ActionsEnabled          *bool       `q:"ActionsEnabled" xml:"ActionsEnabled"`
	OKActions               []string    `q:"OKActions" xml:"OKActions>member"`
	AlarmActions            []string    `q:"AlarmActions" xml:"AlarmActions>member"`
	InsufficientDataActions []string    `q:"InsufficientDataActions" xml:"InsufficientDataActions>member"`
	MetricName              string      `q:"MetricName" xml:"MetricName,omitempty" json:",omitzero"`
	Namespace               string      `q:"Namespace" xml:"Namespace,omitempty" json:",omitzero"`
	Statistic               string      `q:"Statistic" xml:"Statistic,omitempty" json:",omitzero"`
	ExtendedStatistic       string      `q:"ExtendedStatistic" xml:"ExtendedStatistic,omitempty" json:",omitzero"`
	Dimensions              []dimension `q:"Dimensions" xml:"Dimensions>member"`
	Period                  int32       `q:"Period" xml:"Period,omitempty" json:",omitzero"`
	Unit                    string      `q:"Unit" xml:"Unit,omitempty" json:",omitzero"`
	EvaluationPeriods       int32       `q:"EvaluationPeriods" xml:"EvaluationPeriods,omitempty" json:",omitzero"`
	DatapointsToAlarm       int32       `q:"DatapointsToAlarm" xml:"DatapointsToAlarm,omitempty" json:",omitzero"`
	Threshold               *float64    `q:"Threshold" xml:"Threshold" json:",omitzero"`
	ComparisonOperator      string      `q:"ComparisonOperator" xml:"ComparisonOperator,omitempty" json:",omitzero"`
	TreatMissingData        string      `q:"TreatMissingData" xml:"TreatMissingData,omitempty" json:",omitzero"`
	AlarmRule               string      `q:"AlarmRule" xml:"AlarmRule,omitempty" json:",omitzero"` // of a composite one
}

type dimension struct {
	Name  string `q:"Name,required" xml:"Name"`
	Value string `q:"Value,required" xml:"Value"`
}

// An alarm is one as it is answered.
type alarm struct {
	settings
	AlarmArn                           string    `xml:"AlarmArn"`
	AlarmConfigurationUpdatedTimestamp time.Time `xml:"AlarmConfigurationUpdatedTimestamp"`
	StateValue                         string    `xml:"StateValue"`
	StateReason                        string    `xml:"StateReason"`
	StateReasonData                    string    `xml:"StateReasonData,omitempty" json:",omitzero"`
	StateUpdatedTimestamp              time.Time `xml:"StateUpdatedTimestamp"`
	StateTransitionedTimestamp         time.Time `xml:"StateTransitionedTimestamp"`
}

type putAlarmIn struct {
	settings
	Tags []tag `q:"Tags"`
}

// validation is AWS's answer to a parameter that cannot be.
func validation(format string, args ...any) error {
	return &api.Error{Code: "ValidationError", Message: fmt.Sprintf(format, args...)}
}

func (t *T) putMetricAlarm(call *api.Call, r *region, in *putAlarmIn) (*none, error) {
	operators := []string{"GreaterThanOrEqualToThreshold", "GreaterThanThreshold", "LessThanThreshold", "LessThanOrEqualToThreshold"}
	switch {
	case in.MetricName == "" || in.Namespace == "":
		return nil, validation("bake's sandbox has alarms on one metric: MetricName and Namespace are required")
	case !slices.Contains(operators, in.ComparisonOperator):
		return nil, validation("Value '%s' at 'comparisonOperator' failed to satisfy constraint: Member must satisfy enum value set: [%s]", in.ComparisonOperator, strings.Join(operators, ", "))
	case in.EvaluationPeriods < 1:
		return nil, validation("The parameter EvaluationPeriods must be at least 1.")
	case in.Period != 10 && in.Period != 20 && in.Period != 30 && (in.Period < 60 || in.Period%60 != 0):
		return nil, validation("Period must be 10, 20, 30 or a multiple of 60")
	case (in.Statistic == "") == (in.ExtendedStatistic == ""):
		return nil, validation("Exactly one of Statistic and ExtendedStatistic must be specified")
	case in.Threshold == nil:
		return nil, validation("The parameter Threshold is required.")
	}
	in.AlarmRule = ""
	t.put(call, r, in)
	return &none{}, nil
}

func (t *T) putCompositeAlarm(call *api.Call, r *region, in *putAlarmIn) (*none, error) {
	if in.AlarmRule == "" {
		return nil, validation("The parameter AlarmRule is required.")
	}
	t.put(call, r, in)
	return &none{}, nil
}

// put makes an alarm, or changes the settings of one that is there: it stays in
// its state.
func (t *T) put(call *api.Call, r *region, in *putAlarmIn) {
	if in.ActionsEnabled == nil {
		in.ActionsEnabled = new(true)
	}
	a, change := r.Alarms[in.AlarmName], "updated"
	if a == nil {
		change = "created"
		a = &alarm{AlarmArn: "arn:aws:cloudwatch:" + call.Region + ":" + call.Account + ":alarm:" + in.AlarmName, StateValue: stateNoData,
			StateReason: "Unchecked: Initial alarm creation", StateUpdatedTimestamp: t.now(), StateTransitionedTimestamp: t.now()}
		r.Alarms[in.AlarmName] = a
		r.Tags[a.AlarmArn] = in.Tags // of one that is there they stay
	}
	a.settings, a.AlarmConfigurationUpdatedTimestamp = in.settings, t.now()
	r.note(t.now(), a, "ConfigurationUpdate", fmt.Sprintf("Alarm %q %s", a.AlarmName, change))
}

type describeIn struct {
	AlarmNames      []string `q:"AlarmNames"`
	AlarmNamePrefix string   `q:"AlarmNamePrefix"`
	AlarmTypes      []string `q:"AlarmTypes"`
	StateValue      string   `q:"StateValue"`
	ActionPrefix    string   `q:"ActionPrefix"`
	MaxRecords      int      `q:"MaxRecords"`
	NextToken       string   `q:"NextToken"`
}

type alarmsOut struct {
	MetricAlarms    []alarm `xml:"MetricAlarms>member"`
	CompositeAlarms []alarm `xml:"CompositeAlarms>member"`
	NextToken       string  `xml:"NextToken,omitempty" json:",omitzero"`
}

// describeAlarms answers in the order of names; the token is the last name of
// the page before.
func (t *T) describeAlarms(call *api.Call, r *region, in *describeIn) (*alarmsOut, error) {
	if len(in.AlarmNames) > 0 && in.AlarmNamePrefix != "" {
		return nil, validation("Both alarmNames and alarmNamePrefix cannot be specified")
	}
	types := in.AlarmTypes
	if len(types) == 0 {
		types = []string{"MetricAlarm"}
	}
	out, limit := &alarmsOut{}, cmp.Or(in.MaxRecords, 50)
	last := ""
	for _, name := range slices.Sorted(maps.Keys(r.Alarms)) {
		a, kind := *r.Alarms[name], "MetricAlarm"
		if a.AlarmRule != "" {
			kind = "CompositeAlarm"
		}
		if name <= in.NextToken || len(in.AlarmNames) > 0 && !slices.Contains(in.AlarmNames, name) || !strings.HasPrefix(name, in.AlarmNamePrefix) ||
			in.StateValue != "" && a.StateValue != in.StateValue || !slices.Contains(types, kind) || call.Hidden(a.AlarmArn) ||
			!slices.ContainsFunc(slices.Concat(a.OKActions, a.AlarmActions, a.InsufficientDataActions, []string{""}), func(s string) bool {
				return in.ActionPrefix == "" || s != "" && strings.HasPrefix(s, in.ActionPrefix)
			}) {
			continue
		}
		if len(out.MetricAlarms)+len(out.CompositeAlarms) == limit {
			out.NextToken = last
			break
		}
		last = name
		if kind == "MetricAlarm" {
			out.MetricAlarms = append(out.MetricAlarms, a)
		} else {
			out.CompositeAlarms = append(out.CompositeAlarms, a)
		}
	}
	return out, nil
}

type namesIn struct {
	AlarmNames []string `q:"AlarmNames,required"`
}

// deleteAlarms removes all, or none if one of them is not there.
func (t *T) deleteAlarms(_ *api.Call, r *region, in *namesIn) (*none, error) {
	for _, name := range in.AlarmNames {
		if r.Alarms[name] == nil {
			return nil, &api.Error{Code: "ResourceNotFound", Message: "Alarm " + name + " does not exist", Status: 404}
		}
	}
	for _, name := range in.AlarmNames {
		delete(r.Tags, r.Alarms[name].AlarmArn)
		delete(r.Alarms, name)
	}
	return &none{}, nil
}

func (t *T) enableActions(_ *api.Call, r *region, in *namesIn) (*none, error) {
	return r.actions(in, true)
}

func (t *T) disableActions(_ *api.Call, r *region, in *namesIn) (*none, error) {
	return r.actions(in, false)
}

// actions turns actions on or off; names that are not there are passed over.
func (r *region) actions(in *namesIn, on bool) (*none, error) {
	for _, name := range in.AlarmNames {
		if a := r.Alarms[name]; a != nil {
			a.ActionsEnabled = &on
		}
	}
	return &none{}, nil
}
