package elb

import (
	"cmp"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"

	"bake/internal/sandbox/api"
)

// A listener is one port of a load balancer.
type listener struct {
	ARN          string
	Balancer     string
	Port         int32
	Protocol     string
	Certificates []certificate
	SSLPolicy    string
	Default      actions
	DefaultRule  string // ARN of the rule that stands for it

	socket net.Listener
	server *http.Server
}

// A rule sends some of a listener's requests elsewhere.
type rule struct {
	ARN        string
	Listener   string
	Priority   int // 0: the default rule
	Conditions []condition
	Actions    actions
}

type certificate struct {
	ARN string `q:"CertificateArn" xml:"CertificateArn"`
}

// actions are what is done with a request.
type actions []action

type action struct {
	Type      string    `q:"Type,required" xml:"Type"`
	Group     string    `q:"TargetGroupArn" xml:"TargetGroupArn,omitempty"`
	Forward   *forward  `q:"ForwardConfig" xml:"ForwardConfig,omitempty"`
	Fixed     *fixed    `q:"FixedResponseConfig" xml:"FixedResponseConfig,omitempty"`
	Redirect  *redirect `q:"RedirectConfig" xml:"RedirectConfig,omitempty"`
	OrderRank int32     `q:"Order" xml:"Order,omitempty"`
}

type forward struct {
	Groups     []weighted  `q:"TargetGroups" xml:"TargetGroups>member"`
	Stickiness *stickiness `q:"TargetGroupStickinessConfig" xml:"TargetGroupStickinessConfig,omitempty"`
}

type weighted struct {
	ARN    string `q:"TargetGroupArn,required" xml:"TargetGroupArn"`
	Weight *int32 `q:"Weight" xml:"Weight"`
}

type stickiness struct {
	Enabled  bool  `q:"Enabled" xml:"Enabled"`
	Duration int32 `q:"DurationSeconds" xml:"DurationSeconds,omitempty"`
}

type fixed struct {
	Status string `q:"StatusCode,required" xml:"StatusCode"`
	Type   string `q:"ContentType" xml:"ContentType,omitempty"`
	Body   string `q:"MessageBody" xml:"MessageBody,omitempty"`
}

type redirect struct {
	Status   string `q:"StatusCode,required" xml:"StatusCode"`
	Protocol string `q:"Protocol" xml:"Protocol"`
	Host     string `q:"Host" xml:"Host"`
	Port     string `q:"Port" xml:"Port"`
	Path     string `q:"Path" xml:"Path"`
	Query    string `q:"Query" xml:"Query"`
}

// fill sets what AWS sets: a forward in both of its forms, weights of 1.
func (a actions) fill() {
	for i := range a {
		x := &a[i]
		if x.Type == "forward" && x.Forward == nil && x.Group != "" {
			x.Forward = &forward{Groups: []weighted{{ARN: x.Group}}}
		}
		if x.Forward == nil {
			continue
		}
		for j := range x.Forward.Groups {
			if x.Forward.Groups[j].Weight == nil {
				x.Forward.Groups[j].Weight = new(int32(1))
			}
		}
		if len(x.Forward.Groups) == 1 {
			x.Group = x.Forward.Groups[0].ARN
		} else {
			x.Group = ""
		}
		if x.Forward.Stickiness == nil {
			x.Forward.Stickiness = &stickiness{}
		}
	}
}

func (a actions) forwards(groupARN string) bool {
	return slices.ContainsFunc(a, func(x action) bool {
		return x.Forward != nil && slices.ContainsFunc(x.Forward.Groups, func(w weighted) bool { return w.ARN == groupARN })
	})
}

// check refuses actions that cannot be.
func (r *region) check(all actions) error {
	if len(all) == 0 {
		return validation("You must specify an action")
	}
	for _, a := range all {
		switch a.Type {
		case "forward":
			if a.Forward == nil {
				return validation("You must specify a target group with a forward action")
			}
			for _, w := range a.Forward.Groups {
				if r.Groups[w.ARN] == nil {
					return invalid("TargetGroupNotFound", "Target groups '%s' not found", w.ARN)
				}
			}
		case "fixed-response", "redirect":
		default:
			return validation("'%s' is not an action that bake's sandbox has: forward, fixed-response, redirect", a.Type)
		}
	}
	return nil
}

type listenerXML struct {
	ARN          string        `xml:"ListenerArn"`
	Balancer     string        `xml:"LoadBalancerArn"`
	Port         int32         `xml:"Port"`
	Protocol     string        `xml:"Protocol"`
	Certificates []certificate `xml:"Certificates>member,omitempty"`
	SSLPolicy    string        `xml:"SslPolicy,omitempty"`
	Default      actions       `xml:"DefaultActions>member"`
}

func (l *listener) xml() listenerXML {
	return listenerXML{l.ARN, l.Balancer, l.Port, l.Protocol, l.Certificates, l.SSLPolicy, l.Default}
}

type listenersOut struct {
	Listeners []listenerXML `xml:"Listeners>member"`
	Next      string        `xml:"NextMarker,omitempty"`
}

type createListenerIn struct {
	Balancer     string        `q:"LoadBalancerArn,required"`
	Port         int32         `q:"Port"`
	Protocol     string        `q:"Protocol"`
	Default      actions       `q:"DefaultActions"`
	Certificates []certificate `q:"Certificates"`
	SSLPolicy    string        `q:"SslPolicy"`
	Tags         []tag         `q:"Tags"`
}

func (t *T) createListener(call *api.Call, r *region, in *createListenerIn) (*listenersOut, error) {
	b := r.Balancers[in.Balancer]
	if b == nil {
		return nil, noBalancer(in.Balancer)
	}
	if in.Port < 1 || in.Port > 65535 {
		return nil, validation("A port must be specified")
	}
	if !slices.Contains(map[string][]string{"application": {"HTTP", "HTTPS"}, "network": {"TCP"}}[b.Type], in.Protocol) {
		return nil, validation("Listener protocol '%s' is not supported for load balancer type '%s' (HTTP and HTTPS, TCP)", in.Protocol, b.Type)
	}
	if in.Protocol == "HTTPS" && len(in.Certificates) == 0 {
		return nil, invalid("CertificateNotFound", "A certificate must be specified for HTTPS listeners")
	}
	for _, l := range r.Listeners {
		if l.Balancer == in.Balancer && l.Port == in.Port {
			return nil, invalid("DuplicateListener", "A listener already exists on this port for this load balancer '%s'", in.Balancer)
		}
	}
	in.Default.fill()
	if err := r.check(in.Default); err != nil {
		return nil, err
	}
	path := b.ARN[len(r.arn("loadbalancer/")):] + "/" + newID()
	l := &listener{ARN: r.arn("listener/" + path), Balancer: b.ARN, Port: in.Port, Protocol: in.Protocol, Certificates: in.Certificates, SSLPolicy: in.SSLPolicy, Default: in.Default}
	l.DefaultRule = r.arn("listener-rule/" + path + "/" + newID())
	if in.Protocol == "HTTPS" {
		l.SSLPolicy = or(in.SSLPolicy, "ELBSecurityPolicy-2016-08")
	}
	if err := t.listen(r, l); err != nil {
		return nil, invalid("TooManyListeners", "bake's sandbox cannot listen: %v", err)
	}
	r.Listeners[l.ARN], r.Tags[l.ARN] = l, in.Tags
	return &listenersOut{Listeners: []listenerXML{l.xml()}}, nil
}

type describeListenersIn struct {
	ARNs     []string `q:"ListenerArns"`
	Balancer string   `q:"LoadBalancerArn"`
	Marker   string   `q:"Marker"`
	Size     int      `q:"PageSize"`
}

func (t *T) describeListeners(call *api.Call, r *region, in *describeListenersIn) (*listenersOut, error) {
	if in.Balancer != "" && r.Balancers[in.Balancer] == nil {
		return nil, noBalancer(in.Balancer)
	}
	for _, arn := range in.ARNs {
		if r.Listeners[arn] == nil {
			return nil, noListener(arn)
		}
	}
	out := &listenersOut{}
	for _, arn := range slices.Sorted(maps.Keys(r.Listeners)) {
		l := r.Listeners[arn]
		if (in.Balancer == "" || l.Balancer == in.Balancer) && (len(in.ARNs) == 0 || slices.Contains(in.ARNs, arn)) {
			out.Listeners = append(out.Listeners, l.xml())
		}
	}
	out.Listeners, out.Next = cut(out.Listeners, in.Marker, in.Size, func(l listenerXML) string { return l.ARN })
	return out, nil
}

func noListener(arn string) error {
	return invalid("ListenerNotFound", "One or more listeners not found: %s", arn)
}

type listenerIn struct {
	ARN string `q:"ListenerArn,required"`
}

type modifyListenerIn struct {
	listenerIn
	Port         int32         `q:"Port"`
	Protocol     string        `q:"Protocol"`
	Default      actions       `q:"DefaultActions"`
	Certificates []certificate `q:"Certificates"`
	SSLPolicy    string        `q:"SslPolicy"`
}

func (t *T) modifyListener(call *api.Call, r *region, in *modifyListenerIn) (*listenersOut, error) {
	l := r.Listeners[in.ARN]
	if l == nil {
		return nil, noListener(in.ARN)
	}
	if in.Default != nil {
		in.Default.fill()
		if err := r.check(in.Default); err != nil {
			return nil, err
		}
		l.Default = in.Default
	}
	spoke := l.Protocol
	l.Protocol, l.SSLPolicy = or(in.Protocol, l.Protocol), or(in.SSLPolicy, l.SSLPolicy)
	if in.Certificates != nil {
		l.Certificates = in.Certificates
	}
	if in.Port != 0 && in.Port != l.Port || spoke != l.Protocol {
		l.close()
		l.Port = cmp.Or(in.Port, l.Port)
		if err := t.listen(r, l); err != nil {
			return nil, invalid("TooManyListeners", "bake's sandbox cannot listen: %v", err)
		}
	}
	return &listenersOut{Listeners: []listenerXML{l.xml()}}, nil
}

func (t *T) deleteListener(call *api.Call, r *region, in *listenerIn) (*done, error) {
	if r.Listeners[in.ARN] == nil {
		return nil, noListener(in.ARN)
	}
	t.removeListener(r, in.ARN)
	return &done{}, nil
}

// removeListener removes a listener with its rules. The lock is held.
func (t *T) removeListener(r *region, arn string) {
	r.Listeners[arn].close()
	delete(r.Listeners, arn)
	for a, u := range r.Rules {
		if u.Listener == arn {
			delete(r.Rules, a)
		}
	}
}

// rulesOf are a listener's rules by priority, the default one last.
func (r *region) rulesOf(l *listener) []*rule {
	var all []*rule
	for _, u := range r.Rules {
		if u.Listener == l.ARN {
			all = append(all, u)
		}
	}
	slices.SortFunc(all, func(a, b *rule) int { return cmp.Compare(a.Priority, b.Priority) })
	return append(all, &rule{ARN: l.DefaultRule, Listener: l.ARN, Actions: l.Default})
}

type ruleXML struct {
	ARN        string      `xml:"RuleArn"`
	Priority   string      `xml:"Priority"`
	Conditions []condition `xml:"Conditions>member"`
	Actions    actions     `xml:"Actions>member"`
	Default    bool        `xml:"IsDefault"`
}

func (u *rule) xml() ruleXML {
	x := ruleXML{u.ARN, strconv.Itoa(u.Priority), u.Conditions, u.Actions, u.Priority == 0}
	if x.Default {
		x.Priority = "default"
	}
	return x
}

type rulesOut struct {
	Rules []ruleXML `xml:"Rules>member"`
	Next  string    `xml:"NextMarker,omitempty"`
}

type createRuleIn struct {
	Listener   string      `q:"ListenerArn,required"`
	Conditions []condition `q:"Conditions"`
	Priority   int         `q:"Priority"`
	Actions    actions     `q:"Actions"`
	Tags       []tag       `q:"Tags"`
}

func (t *T) createRule(call *api.Call, r *region, in *createRuleIn) (*rulesOut, error) {
	l := r.Listeners[in.Listener]
	if l == nil {
		return nil, noListener(in.Listener)
	}
	if in.Priority < 1 || in.Priority > 50000 {
		return nil, validation("Rule priority must be between 1 and 50000")
	}
	for _, u := range r.rulesOf(l) {
		if u.Priority == in.Priority {
			return nil, invalid("PriorityInUse", "Priority '%d' is currently in use", in.Priority)
		}
	}
	in.Actions.fill()
	if err := r.check(in.Actions); err != nil {
		return nil, err
	}
	if err := checkConditions(in.Conditions); err != nil {
		return nil, err
	}
	u := &rule{ARN: r.arn("listener-rule/" + l.ARN[len(r.arn("listener/")):] + "/" + newID()), Listener: l.ARN, Priority: in.Priority, Conditions: in.Conditions, Actions: in.Actions}
	r.Rules[u.ARN], r.Tags[u.ARN] = u, in.Tags
	return &rulesOut{Rules: []ruleXML{u.xml()}}, nil
}

type describeRulesIn struct {
	Listener string   `q:"ListenerArn"`
	ARNs     []string `q:"RuleArns"`
	Marker   string   `q:"Marker"`
	Size     int      `q:"PageSize"`
}

func (t *T) describeRules(call *api.Call, r *region, in *describeRulesIn) (*rulesOut, error) {
	if (in.Listener == "") == (len(in.ARNs) == 0) {
		return nil, validation("You must specify either listener or rule ARNs")
	}
	out := &rulesOut{}
	if in.Listener != "" {
		l := r.Listeners[in.Listener]
		if l == nil {
			return nil, noListener(in.Listener)
		}
		for _, u := range r.rulesOf(l) {
			out.Rules = append(out.Rules, u.xml())
		}
	}
	for _, arn := range in.ARNs {
		u := r.rule(arn)
		if u == nil {
			return nil, noRule(arn)
		}
		out.Rules = append(out.Rules, u.xml())
	}
	out.Rules, out.Next = cut(out.Rules, in.Marker, in.Size, func(u ruleXML) string { return u.ARN })
	return out, nil
}

func noRule(arn string) error {
	return invalid("RuleNotFound", "One or more rules not found: %s", arn)
}

// rule finds a rule, a listener's default one too.
func (r *region) rule(arn string) *rule {
	if u := r.Rules[arn]; u != nil {
		return u
	}
	for _, l := range r.Listeners {
		if l.DefaultRule == arn {
			return &rule{ARN: arn, Listener: l.ARN, Actions: l.Default}
		}
	}
	return nil
}

type ruleIn struct {
	ARN string `q:"RuleArn,required"`
}

type modifyRuleIn struct {
	ruleIn
	Conditions []condition `q:"Conditions"`
	Actions    actions     `q:"Actions"`
}

func (t *T) modifyRule(call *api.Call, r *region, in *modifyRuleIn) (*rulesOut, error) {
	u := r.Rules[in.ARN]
	if u == nil {
		return nil, noRule(in.ARN)
	}
	if in.Actions != nil {
		in.Actions.fill()
		if err := r.check(in.Actions); err != nil {
			return nil, err
		}
		u.Actions = in.Actions
	}
	if in.Conditions != nil {
		if err := checkConditions(in.Conditions); err != nil {
			return nil, err
		}
		u.Conditions = in.Conditions
	}
	return &rulesOut{Rules: []ruleXML{u.xml()}}, nil
}

func (t *T) deleteRule(call *api.Call, r *region, in *ruleIn) (*done, error) {
	if r.Rules[in.ARN] == nil {
		return nil, noRule(in.ARN)
	}
	delete(r.Rules, in.ARN)
	return &done{}, nil
}

type prioritiesIn struct {
	Pairs []struct {
		ARN      string `q:"RuleArn,required"`
		Priority int    `q:"Priority,required"`
	} `q:"RulePriorities"`
}

func (t *T) setRulePriorities(call *api.Call, r *region, in *prioritiesIn) (*rulesOut, error) {
	out := &rulesOut{}
	for _, p := range in.Pairs {
		if r.Rules[p.ARN] == nil {
			return nil, noRule(p.ARN)
		}
	}
	for _, p := range in.Pairs {
		r.Rules[p.ARN].Priority = p.Priority
		out.Rules = append(out.Rules, r.Rules[p.ARN].xml())
	}
	return out, nil
}
