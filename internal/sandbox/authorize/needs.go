package authorize

import (
	"encoding/json"
	"strings"

	"bake/internal/sandbox/api"
)

// needs is what a call needs.
func (g *Guard) needs(c *api.Call, r *api.Request) []need {
	switch c.Service {
	case "ec2":
		return g.ec2Needs(c, r)
	case "sts": // AssumeRole is decided by STS, with the role's trust policy
		if c.Action == "DecodeAuthorizationMessage" {
			return []need{{action: "sts:" + c.Action, resource: "*"}}
		}
		return nil
	case "iam":
		return iamNeeds(c, r)
	}
	if r.Protocol == api.Query {
		return formNeeds(c, r)
	}
	var body map[string]any
	if err := json.Unmarshal(r.Body, &body); err != nil {
		body = map[string]any{} // the action refuses it
	}
	return g.jsonNeeds(c, body)
}

// prefix is what a service's actions begin with in policies, where that is not
// the name that its requests are signed with.
func prefix(service string) string {
	if service == "monitoring" {
		return "cloudwatch"
	}
	return service
}

func iamNeeds(c *api.Call, r *api.Request) []need {
	resource := "*"
	for _, p := range []struct{ member, kind string }{{"InstanceProfileName", "instance-profile"}, {"RoleName", "role"}, {"UserName", "user"}} {
		if name := r.Form.Get(p.member); name != "" {
			resource = "arn:aws:iam::" + c.Account + ":" + p.kind + strings.TrimSuffix("/"+strings.Trim(r.Form.Get("Path"), "/"), "/") + "/" + name
			break
		}
	}
	if arn := r.Form.Get("PolicyArn"); arn != "" && resource == "*" {
		resource = arn
	}
	all := []need{{"iam:" + c.Action, resource, nil}}
	if c.Action == "AddRoleToInstanceProfile" {
		all = append(all, need{"iam:PassRole", "arn:aws:iam::" + c.Account + ":role/" + r.Form.Get("RoleName"), map[string][]string{"iam:passedtoservice": {"ec2.amazonaws.com"}}})
	}
	if r.Form.Has("Tags.member.1.Key") && strings.HasPrefix(c.Action, "Create") {
		all = append(all, need{"iam:Tag" + strings.TrimPrefix(c.Action, "Create"), resource, nil})
	}
	return all
}

// formNeeds is the action on every ARN that a call names.
func formNeeds(c *api.Call, r *api.Request) []need {
	action := prefix(c.Service) + ":" + c.Action
	var all []need
	for _, values := range r.Form {
		if strings.HasPrefix(values[0], "arn:aws:"+c.Service+":") && !strings.HasPrefix(c.Action, "Describe") {
			all = append(all, need{action, values[0], nil})
		}
	}
	if all == nil {
		return []need{{action, "*", nil}}
	}
	return all
}

// taggers are the actions that tagging while making needs besides.
func taggers() map[string]string {
	return map[string]string{"ecr": "TagResource", "ecr-public": "TagResource", "ecs": "TagResource", "ssm": "AddTagsToResource", "secretsmanager": "TagResource", "kms": "TagResource"}
}

func (g *Guard) jsonNeeds(c *api.Call, body map[string]any) []need {
	action := prefix(c.Service) + ":" + c.Action
	resources := g.resources(c, body)
	if len(resources) == 0 {
		resources = []string{"*"}
	}
	context := born(jsonTags(body))
	var all []need
	for _, resource := range resources {
		all = append(all, need{action, resource, context})
	}
	creates := strings.HasPrefix(c.Action, "Create") || strings.HasPrefix(c.Action, "Register") || strings.HasPrefix(c.Action, "Run") || c.Action == "PutParameter"
	if tagger := taggers()[c.Service]; tagger != "" && creates && len(context) > 0 {
		created := map[string][]string{"ecs:createaction": {c.Action}}
		for k, v := range context {
			created[k] = v
		}
		for _, resource := range resources {
			all = append(all, need{prefix(c.Service) + ":" + tagger, resource, created})
		}
	}
	if c.Service == "ecs" {
		all = append(all, passed(body)...)
	}
	return all
}

// jsonTags are the tags that a call gives.
func jsonTags(body map[string]any) map[string]string {
	tags := map[string]string{}
	for _, member := range []string{"tags", "Tags"} {
		list, _ := body[member].([]any)
		for _, e := range list {
			t, _ := e.(map[string]any)
			for _, names := range [][2]string{{"key", "value"}, {"Key", "Value"}, {"TagKey", "TagValue"}} {
				if k, ok := t[names[0]].(string); ok {
					tags[k], _ = t[names[1]].(string)
				}
			}
		}
	}
	return tags
}

// passed is passing the roles of tasks.
func passed(body map[string]any) []need {
	var all []need
	from := []map[string]any{body}
	if o, ok := body["overrides"].(map[string]any); ok {
		from = append(from, o)
	}
	for _, m := range from {
		for _, member := range []string{"taskRoleArn", "executionRoleArn"} {
			if arn, _ := m[member].(string); strings.HasPrefix(arn, "arn:") {
				all = append(all, need{"iam:PassRole", arn, map[string][]string{"iam:passedtoservice": {"ecs-tasks.amazonaws.com"}}})
			}
		}
	}
	return all
}

// resources are the ARNs that a call of a JSON service is about.
func (g *Guard) resources(c *api.Call, body map[string]any) []string {
	text := func(member string) string { s, _ := body[member].(string); return s }
	texts := func(member string) []string {
		var all []string
		list, _ := body[member].([]any)
		for _, e := range list {
			if s, ok := e.(string); ok {
				all = append(all, s)
			}
		}
		return all
	}
	where := c.Region + ":" + c.Account + ":"
	arn := func(service, kind, name string) string {
		if strings.HasPrefix(name, "arn:") {
			return name
		}
		return "arn:aws:" + service + ":" + where + kind + name
	}
	var all []string
	add := func(service, kind string, names ...string) {
		for _, name := range names {
			if name != "" {
				all = append(all, arn(service, kind, name))
			}
		}
	}
	switch c.Service {
	case "ecr":
		add("ecr", "repository/", append(texts("repositoryNames"), text("repositoryName"), text("resourceArn"))...)
	case "ecr-public":
		add("ecr-public", "repository/", text("repositoryName"))
	case "ssm":
		for _, name := range append(texts("Names"), text("Name"), text("Path"), text("ResourceId")) {
			if strings.HasPrefix(name, "/aws/service/") {
				all = append(all, "arn:aws:ssm:"+c.Region+"::parameter"+name)
			} else if name != "" {
				name, _, _ = strings.Cut(name, ":")
				add("ssm", "parameter/", strings.TrimPrefix(name, "/"))
			}
		}
	case "secretsmanager":
		add("secretsmanager", "secret:", text("SecretId"), text("Name"))
	case "logs":
		if name := text("logGroupName"); name != "" {
			all = append(all, "arn:aws:logs:"+where+"log-group:"+name+":log-stream:"+text("logStreamName"))
		}
	case "kms":
		if id := text("KeyId"); id != "" && g.Key != nil {
			if key, err := g.Key(c.Account, c.Region, id); err == nil {
				all = append(all, key)
			}
		}
	case "ecs":
		all = ecsResources(c, text, texts, arn)
	}
	return all
}

func ecsResources(c *api.Call, text func(string) string, texts func(string) []string, arn func(service, kind, name string) string) []string {
	cluster := text("cluster")
	if cluster == "" {
		cluster = "default"
	}
	cluster = cluster[strings.LastIndexByte(cluster, '/')+1:]
	var all []string
	add := func(kind string, names ...string) {
		for _, name := range names {
			if name != "" {
				all = append(all, arn("ecs", kind, name))
			}
		}
	}
	switch {
	case c.Action == "RegisterTaskDefinition":
		add("task-definition/", text("family")+":*")
	case strings.HasSuffix(c.Action, "TaskDefinition"), c.Action == "RunTask":
		add("task-definition/", text("taskDefinition"))
	case c.Action == "CreateService":
		add("service/"+cluster+"/", text("serviceName"))
	case strings.HasSuffix(c.Action, "Service"), strings.HasSuffix(c.Action, "Services"):
		add("service/"+cluster+"/", append(texts("services"), text("service"))...)
	case strings.HasSuffix(c.Action, "Task"), strings.HasSuffix(c.Action, "Tasks"):
		add("task/"+cluster+"/", append(texts("tasks"), text("task"))...)
	case strings.HasSuffix(c.Action, "Cluster"), strings.HasSuffix(c.Action, "Clusters"):
		add("cluster/", append(texts("clusters"), text("cluster"), text("clusterName"))...)
	default:
		add("", text("resourceArn"))
		all = append(all, append(texts("serviceDeploymentArns"), text("serviceDeploymentArn"))...)
	}
	for i, a := range all {
		if a == "" {
			all = append(all[:i], all[i+1:]...)
			break
		}
	}
	return all
}
