package policy

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// holds reports whether all conditions of a statement are met.
func (s *Statement) holds(r Request) bool {
	for op, keys := range s.Condition {
		for key, wanted := range keys {
			values, there := r.Context[strings.ToLower(key)]
			if !met(op, r.fill(wanted), values, there) {
				return false
			}
		}
	}
	return true
}

// bare is an operator without what stands around it: ForAnyValue:StringLikeIfExists is StringLike.
func bare(op string) string {
	if _, rest, ok := strings.Cut(op, ":"); ok {
		op = rest
	}
	return strings.TrimSuffix(op, "IfExists")
}

func met(op string, wanted Words, values []string, there bool) bool {
	base := bare(op)
	if base == "Null" {
		return (wanted[0] == "true") == !there
	}
	if !there {
		return strings.HasSuffix(op, "IfExists") || strings.HasPrefix(op, "ForAllValues:") || strings.Contains(base, "Not")
	}
	compare := operators()[base]
	one := func(value string) bool {
		if positive := strings.Replace(base, "Not", "", 1); positive != base {
			return !slices.ContainsFunc(wanted, func(w string) bool { return operators()[positive](w, value) })
		}
		return slices.ContainsFunc(wanted, func(w string) bool { return compare(w, value) })
	}
	if strings.HasPrefix(op, "ForAllValues:") || strings.Contains(base, "Not") && !strings.HasPrefix(op, "ForAnyValue:") {
		return !slices.ContainsFunc(values, func(v string) bool { return !one(v) })
	}
	return slices.ContainsFunc(values, one)
}

// operators compare what a policy wants with what a request has. Those with
// Not are the others turned round, see met.
func operators() map[string]func(wanted, value string) bool {
	equal := func(w, v string) bool { return w == v }
	like := Match
	number := func(f func(w, v float64) bool) func(w, v string) bool {
		return func(w, v string) bool {
			a, err1 := strconv.ParseFloat(w, 64)
			b, err2 := strconv.ParseFloat(v, 64)
			return err1 == nil && err2 == nil && f(a, b)
		}
	}
	date := func(f func(w, v time.Time) bool) func(w, v string) bool {
		return func(w, v string) bool {
			a, err1 := time.Parse(time.RFC3339, w)
			b, err2 := time.Parse(time.RFC3339, v)
			return err1 == nil && err2 == nil && f(a, b)
		}
	}
	address := func(w, v string) bool {
		a, err := netip.ParseAddr(v)
		if !strings.Contains(w, "/") {
			return w == v
		}
		p, err2 := netip.ParsePrefix(w)
		return err == nil && err2 == nil && p.Contains(a)
	}
	return map[string]func(wanted, value string) bool{
		"StringEquals": equal, "StringNotEquals": equal,
		"StringEqualsIgnoreCase": strings.EqualFold, "StringNotEqualsIgnoreCase": strings.EqualFold,
		"StringLike": like, "StringNotLike": like,
		"ArnEquals": like, "ArnNotEquals": like, "ArnLike": like, "ArnNotLike": like,
		"Bool": strings.EqualFold, "Null": equal, "BinaryEquals": equal,
		"IpAddress": address, "NotIpAddress": address,
		"NumericEquals":            number(func(w, v float64) bool { return v == w }),
		"NumericNotEquals":         number(func(w, v float64) bool { return v == w }),
		"NumericLessThan":          number(func(w, v float64) bool { return v < w }),
		"NumericLessThanEquals":    number(func(w, v float64) bool { return v <= w }),
		"NumericGreaterThan":       number(func(w, v float64) bool { return v > w }),
		"NumericGreaterThanEquals": number(func(w, v float64) bool { return v >= w }),
		"DateEquals":               date(func(w, v time.Time) bool { return v.Equal(w) }),
		"DateNotEquals":            date(func(w, v time.Time) bool { return v.Equal(w) }),
		"DateLessThan":             date(func(w, v time.Time) bool { return v.Before(w) }),
		"DateLessThanEquals":       date(func(w, v time.Time) bool { return !v.After(w) }),
		"DateGreaterThan":          date(func(w, v time.Time) bool { return v.After(w) }),
		"DateGreaterThanEquals":    date(func(w, v time.Time) bool { return !v.Before(w) }),
	}
}
