package elb

import (
	"net/http"
	"net/netip"
	"path"
	"slices"
	"strings"
)

// A condition is what a request must be like for a rule to apply.
type condition struct {
	Field      string       `q:"Field" xml:"Field"`
	Values     []string     `q:"Values" xml:"Values>member"`
	PathConf   *values      `q:"PathPatternConfig" xml:"PathPatternConfig,omitempty"`
	HostConf   *values      `q:"HostHeaderConfig" xml:"HostHeaderConfig,omitempty"`
	MethodConf *values      `q:"HttpRequestMethodConfig" xml:"HttpRequestMethodConfig,omitempty"`
	SourceConf *values      `q:"SourceIpConfig" xml:"SourceIpConfig,omitempty"`
	HeaderConf *headerMatch `q:"HttpHeaderConfig" xml:"HttpHeaderConfig,omitempty"`
	QueryConf  *queryMatch  `q:"QueryStringConfig" xml:"QueryStringConfig,omitempty"`
}

type values struct {
	Values []string `q:"Values" xml:"Values>member"`
}

type headerMatch struct {
	Name   string   `q:"HttpHeaderName" xml:"HttpHeaderName"`
	Values []string `q:"Values" xml:"Values>member"`
}

type queryMatch struct {
	Values []struct {
		Key   string `q:"Key" xml:"Key,omitempty"`
		Value string `q:"Value" xml:"Value"`
	} `q:"Values" xml:"Values>member"`
}

func checkConditions(all []condition) error {
	if len(all) == 0 {
		return validation("A condition must be specified")
	}
	for _, c := range all {
		if !slices.Contains([]string{"path-pattern", "host-header", "http-request-method", "source-ip", "http-header", "query-string"}, c.Field) {
			return validation("Condition field '%s' must be one of '[path-pattern, host-header, http-request-method, source-ip, http-header, query-string]'", c.Field)
		}
	}
	return nil
}

// given are the values of a condition, whichever of its two forms they are in.
func (c condition) given(conf *values) []string {
	if conf != nil {
		return conf.Values
	}
	return c.Values
}

// fits reports whether a request is as the condition wants.
func (c condition) fits(req *http.Request) bool {
	switch c.Field {
	case "path-pattern":
		return anyFits(c.given(c.PathConf), req.URL.Path)
	case "host-header":
		host, _, _ := strings.Cut(req.Host, ":")
		return anyFits(lower(c.given(c.HostConf)), strings.ToLower(host))
	case "http-request-method":
		return slices.Contains(c.given(c.MethodConf), req.Method)
	case "source-ip":
		from, err := netip.ParseAddrPort(req.RemoteAddr)
		return err == nil && slices.ContainsFunc(c.given(c.SourceConf), func(s string) bool {
			p, err := netip.ParsePrefix(s)
			return err == nil && p.Contains(from.Addr().Unmap())
		})
	case "http-header":
		return c.HeaderConf != nil && slices.ContainsFunc(req.Header.Values(c.HeaderConf.Name), func(v string) bool { return anyFits(c.HeaderConf.Values, v) })
	case "query-string":
		return c.QueryConf != nil && c.QueryConf.fits(req)
	}
	return false
}

func (q queryMatch) fits(req *http.Request) bool {
	for _, want := range q.Values {
		for key, all := range req.URL.Query() {
			if (want.Key == "" || strings.EqualFold(want.Key, key)) && slices.ContainsFunc(all, func(v string) bool { return wildcard(want.Value, v) }) {
				return true
			}
		}
	}
	return false
}

func lower(all []string) []string {
	out := make([]string, len(all))
	for i, s := range all {
		out[i] = strings.ToLower(s)
	}
	return out
}

func anyFits(patterns []string, s string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return wildcard(p, s) })
}

// wildcard matches with * for any characters, slashes too, and ? for one.
func wildcard(pattern, s string) bool {
	flat := strings.NewReplacer("/", "\x00")
	quoted := strings.NewReplacer(`\`, `\\`, "[", `\[`).Replace(flat.Replace(pattern))
	ok, err := path.Match(quoted, flat.Replace(s))
	return err == nil && ok
}
