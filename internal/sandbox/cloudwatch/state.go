package cloudwatch

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"time"

	"bake/internal/sandbox/api"
)

type setStateIn struct {
	AlarmName       string `q:"AlarmName,required"`
	StateValue      string `q:"StateValue,required"`
	StateReason     string `q:"StateReason,required"`
	StateReasonData string `q:"StateReasonData"`
}

// setAlarmState puts an alarm into a state. On AWS the next evaluation takes it
// out of it again; here nothing is evaluated, and it stays.
func (t *T) setAlarmState(_ *api.Call, r *region, in *setStateIn) (*none, error) {
	a := r.Alarms[in.AlarmName]
	if a == nil {
		return nil, &api.Error{Code: "ResourceNotFound", Message: "Alarm " + in.AlarmName + " does not exist", Status: 404}
	}
	if !slices.Contains([]string{stateOK, stateAlarm, stateNoData}, in.StateValue) {
		return nil, validation("Value '%s' at 'stateValue' failed to satisfy constraint: Member must satisfy enum value set: [INSUFFICIENT_DATA, ALARM, OK]", in.StateValue)
	}
	was := a.StateValue
	a.StateValue, a.StateReason, a.StateReasonData, a.StateUpdatedTimestamp = in.StateValue, in.StateReason, in.StateReasonData, t.now()
	if was != a.StateValue {
		a.StateTransitionedTimestamp = t.now()
		r.note(t.now(), a, "StateUpdate", fmt.Sprintf("Alarm updated from %s to %s", was, a.StateValue))
	}
	return &none{}, nil
}

// An event is one line of an alarm's history.
type event struct {
	AlarmName       string    `xml:"AlarmName"`
	AlarmType       string    `xml:"AlarmType"`
	Timestamp       time.Time `xml:"Timestamp"`
	HistoryItemType string    `xml:"HistoryItemType"`
	HistorySummary  string    `xml:"HistorySummary"`
}

// maxHistory is how many events are remembered; AWS remembers a month.
const maxHistory = 1000

func (r *region) note(at time.Time, a *alarm, kind, summary string) {
	e := event{AlarmName: a.AlarmName, AlarmType: "MetricAlarm", Timestamp: at, HistoryItemType: kind, HistorySummary: summary}
	if a.AlarmRule != "" {
		e.AlarmType = "CompositeAlarm"
	}
	r.History = append(r.History, e)
	r.History = r.History[max(0, len(r.History)-maxHistory):]
}

type historyIn struct {
	AlarmName       string   `q:"AlarmName"`
	AlarmTypes      []string `q:"AlarmTypes"`
	HistoryItemType string   `q:"HistoryItemType"`
	ScanBy          string   `q:"ScanBy"`
	StartDate       api.Time `q:"StartDate"`
	EndDate         api.Time `q:"EndDate"`
	MaxRecords      int      `q:"MaxRecords"`
	NextToken       string   `q:"NextToken"`
}

type historyOut struct {
	AlarmHistoryItems []event `xml:"AlarmHistoryItems>member"`
	NextToken         string  `xml:"NextToken,omitempty" json:",omitzero"`
}

// describeHistory answers newest first unless ScanBy says otherwise; the token
// is a number of events to leave out.
func (t *T) describeHistory(_ *api.Call, r *region, in *historyIn) (*historyOut, error) {
	all := slices.DeleteFunc(slices.Clone(r.History), func(e event) bool {
		return in.AlarmName != "" && e.AlarmName != in.AlarmName || in.HistoryItemType != "" && e.HistoryItemType != in.HistoryItemType ||
			len(in.AlarmTypes) > 0 && !slices.Contains(in.AlarmTypes, e.AlarmType) ||
			!in.StartDate.IsZero() && e.Timestamp.Before(in.StartDate.Time) || !in.EndDate.IsZero() && e.Timestamp.After(in.EndDate.Time)
	})
	if in.ScanBy != "TimestampAscending" {
		slices.Reverse(all)
	}
	begin, err := strconv.Atoi(cmp.Or(in.NextToken, "0"))
	if err != nil || begin < 0 || begin > len(all) {
		return nil, &api.Error{Code: "InvalidNextToken", Message: "The next token specified is invalid."}
	}
	out, end := &historyOut{}, min(len(all), begin+cmp.Or(in.MaxRecords, 100))
	out.AlarmHistoryItems = all[begin:end]
	if end < len(all) {
		out.NextToken = strconv.Itoa(end)
	}
	return out, nil
}
