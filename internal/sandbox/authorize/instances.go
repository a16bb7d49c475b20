package authorize

import (
	"strings"

	"bake/internal/sandbox/api"
)

// instanceNeeds is what calls of services other than EC2 need on instances, and
// on the sessions to them; nil: the call is about none.
func (g *Guard) instanceNeeds(c *api.Call, body map[string]any) []need {
	text := func(member string) string { s, _ := body[member].(string); return s }
	where := c.Region + ":" + c.Account + ":"
	switch c.Service + ":" + c.Action {
	case "ssm:StartSession":
		return []need{
			{action: "ssm:StartSession", resource: "arn:aws:ec2:" + where + "instance/" + text("Target"), context: g.tagged(c, "ssm", text("Target"))},
			{action: "ssm:StartSession", resource: "arn:aws:ssm:" + c.Region + "::document/" + text("DocumentName")},
			// AWS's documents ask for it; nothing tells that StartSession is refused without.
			{action: "ssmmessages:OpenDataChannel", resource: "arn:aws:ssm:" + where + "session/*", unheeded: true},
		}
	case "ssm:ResumeSession", "ssm:TerminateSession":
		session := "arn:aws:ssm:" + where + "session/" + text("SessionId")
		return []need{{action: "ssm:" + c.Action, resource: session, context: g.tagged(c, "ssm", session)}}
	case "ec2-instance-connect:SendSSHPublicKey":
		context := g.tagged(c, "ec2", text("InstanceId"))
		context["ec2:osuser"] = []string{text("InstanceOSUser")}
		return []need{{action: "ec2-instance-connect:SendSSHPublicKey", resource: "arn:aws:ec2:" + where + "instance/" + text("InstanceId"), context: context}}
	}
	return nil
}

// tagged is the context that an instance's tags are, as a service calls them.
func (g *Guard) tagged(c *api.Call, service, id string) map[string][]string {
	context := map[string][]string{}
	if g.Tags == nil {
		return context
	}
	for k, v := range g.Tags(c.Account, c.Region, id) {
		context["aws:resourcetag/"+strings.ToLower(k)] = []string{v}
		context[service+":resourcetag/"+strings.ToLower(k)] = []string{v}
	}
	return context
}
