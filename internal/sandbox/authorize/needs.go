package authorize

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"bake/internal/sandbox/api"
)

// needs is what a call needs.
func (g *Guard) needs(c *api.Call, r *api.Request) []need {
	switch c.Service {
	case "ec2":
		return g.ec2Needs(c, r)
	case "sts": // AssumeRole is decided by STS, with the role's trust policy
		switch c.Action {
		case "DecodeAuthorizationMessage":
			return []need{{action: "sts:" + c.Action, resource: "*"}}
		case "AssumeRole":
			return []need{{action: "sts:" + c.Action, resource: r.Form.Get("RoleArn"), unheeded: true}}
		}
		return nil
	case "iam":
		return g.iamNeeds(c, r)
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

// iamNeeds is the action on what a call names: ARNs have the path that calls
// leave out.
func (g *Guard) iamNeeds(c *api.Call, r *api.Request) []need {
	arn := func(kind, name string) string {
		path := r.Form.Get("Path")
		if path == "" {
			path = g.Identities.Path(c.Account, kind, name)
		}
		return "arn:aws:iam::" + c.Account + ":" + kind + path + name
	}
	resource := "*"
	for _, p := range []struct{ member, kind string }{{"InstanceProfileName", "instance-profile"}, {"RoleName", "role"}, {"UserName", "user"}} {
		if name := r.Form.Get(p.member); name != "" {
			resource = arn(p.kind, name)
			break
		}
	}
	if policy := r.Form.Get("PolicyArn"); policy != "" && resource == "*" {
		resource = policy
	}
	context := map[string][]string{}
	for key, member := range map[string]string{"iam:policyarn": "PolicyArn", "iam:permissionsboundary": "PermissionsBoundary", "iam:awsservicename": "AWSServiceName"} {
		if v := r.Form.Get(member); v != "" {
			context[key] = []string{v}
		}
	}
	all := []need{{action: "iam:" + c.Action, resource: resource, context: context}}
	if c.Action == "AddRoleToInstanceProfile" {
		all = append(all, pass(arn("role", r.Form.Get("RoleName")), "ec2.amazonaws.com"))
	}
	if r.Form.Has("Tags.member.1.Key") && strings.HasPrefix(c.Action, "Create") {
		all = append(all, need{action: "iam:Tag" + strings.TrimPrefix(c.Action, "Create"), resource: resource})
	}
	return all
}

// formNeeds is the action on every ARN that a call names.
func formNeeds(c *api.Call, r *api.Request) []need {
	action := prefix(c.Service) + ":" + c.Action
	var all []need
	for _, values := range r.Form {
		if strings.HasPrefix(values[0], "arn:aws:"+c.Service+":") && !strings.HasPrefix(c.Action, "Describe") {
			all = append(all, need{action: action, resource: values[0]})
		}
	}
	if all == nil {
		return []need{{action: action, resource: "*"}}
	}
	return all
}

// taggers are the actions that tagging while making needs besides.
func taggers() map[string]string {
	return map[string]string{"ecr": "TagResource", "ecr-public": "TagResource", "ecs": "TagResource", "ssm": "AddTagsToResource", "secretsmanager": "TagResource", "kms": "TagResource"}
}

func (g *Guard) jsonNeeds(c *api.Call, body map[string]any) []need {
	action := prefix(c.Service) + ":" + c.Action
	if all := g.instanceNeeds(c, body); all != nil {
		return all
	}
	resources := g.resources(c, body)
	if len(resources) == 0 {
		resources = []string{"*"}
	}
	context := born(jsonTags(body))
	maps.Copy(context, g.serviceContext(c, body))
	var all []need
	for _, resource := range resources {
		one := maps.Clone(context)
		g.tagContext(c, resource, one)
		all = append(all, need{action: action, resource: resource, context: one})
	}
	all = append(all, tagging(c, body, resources)...)
	switch c.Service {
	case "ecs":
		all = append(all, passed(body)...)
	case "ecr":
		all = append(all, g.sealing(c, body)...)
	case "ecr-public":
		if c.Action == "GetAuthorizationToken" {
			all = append(all, need{action: "sts:GetServiceBearerToken", resource: "*", context: map[string][]string{"sts:awsservicename": {"ecr-public.amazonaws.com"}}})
		}
	}
	return all
}

// tagContext is what a resource is tagged with.
func (g *Guard) tagContext(c *api.Call, id string, context map[string][]string) {
	if g.Tags == nil {
		return
	}
	service := prefix(c.Service)
	for k, v := range g.Tags(c.Account, c.Region, id) {
		context["aws:resourcetag/"+strings.ToLower(k)] = []string{v}
		context[service+":resourcetag/"+strings.ToLower(k)] = []string{v}
	}
}

// tagging is the right to tag what a call makes.
func tagging(c *api.Call, body map[string]any, resources []string) []need {
	creates := strings.HasPrefix(c.Action, "Create") || strings.HasPrefix(c.Action, "Register") || strings.HasPrefix(c.Action, "Run") || c.Action == "PutParameter"
	context := born(jsonTags(body))
	tagger := taggers()[c.Service]
	if tagger == "" || !creates || len(context) == 0 {
		return nil
	}
	context["ecs:createaction"] = []string{c.Action}
	if c.Action == "RunTask" { // not the definition, but what is made of it
		resources = []string{"arn:aws:ecs:" + c.Region + ":" + c.Account + ":task/" + clusterName(body) + "/*"}
	}
	if c.Action == "CreateCluster" { // which knows no resources itself
		name, _ := body["clusterName"].(string)
		resources = []string{"arn:aws:ecs:" + c.Region + ":" + c.Account + ":cluster/" + cmp.Or(name, "default")}
	}
	var all []need
	for _, resource := range resources {
		all = append(all, need{action: prefix(c.Service) + ":" + tagger, resource: resource, context: context})
	}
	return all
}

// sealing is what ECR does with the key that a new repository is encrypted with.
func (g *Guard) sealing(c *api.Call, body map[string]any) []need {
	e, _ := body["encryptionConfiguration"].(map[string]any)
	key, _ := e["kmsKey"].(string)
	if c.Action != "CreateRepository" || key == "" || g.Key == nil {
		return nil
	}
	arn, err := g.Key(c.Account, c.Region, key)
	if err != nil {
		return nil // ECR refuses the key itself
	}
	context := g.keyContext(arn)
	context["kms:viaservice"] = []string{"ecr." + c.Region + ".amazonaws.com"}
	var all []need
	for _, action := range []string{"kms:CreateGrant", "kms:DescribeKey", "kms:RetireGrant"} {
		all = append(all, need{action: action, resource: arn, context: context})
	}
	return all
}

// keyContext is what conditions ask of a KMS key.
func (g *Guard) keyContext(arn string) map[string][]string {
	context := map[string][]string{}
	if g.Aliases != nil {
		if all := g.Aliases(arn); len(all) > 0 {
			context["kms:resourcealiases"] = all
		}
	}
	return context
}

// serviceContext is what a service's own condition keys say of a call.
func (g *Guard) serviceContext(c *api.Call, body map[string]any) map[string][]string {
	text := func(member string) string { s, _ := body[member].(string); return s }
	context := map[string][]string{}
	switch c.Service {
	case "ecs":
		context["ecs:cluster"] = []string{"arn:aws:ecs:" + c.Region + ":" + c.Account + ":cluster/" + clusterName(body)}
	case "application-autoscaling":
		context["application-autoscaling:service-namespace"] = []string{text("ServiceNamespace")}
	case "kms":
		if g.Key != nil {
			if arn, err := g.Key(c.Account, c.Region, text("KeyId")); err == nil {
				context = g.keyContext(arn)
			}
		}
		if c.Action != "CreateGrant" {
			break
		}
		context["kms:granteeprincipal"] = []string{text("GranteePrincipal")}
		context["kms:grantisforawsresource"] = []string{"false"}
		operations, _ := body["Operations"].([]any)
		for _, o := range operations {
			if s, ok := o.(string); ok {
				context["kms:grantoperations"] = append(context["kms:grantoperations"], s)
			}
		}
	}
	return context
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

// pass is handing a role to a service.
func pass(role, service string) need {
	return need{action: "iam:PassRole", resource: role, context: map[string][]string{"iam:passedtoservice": {service}}}
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
				all = append(all, pass(arn, "ecs-tasks.amazonaws.com"))
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
		if other := text("registryId"); other != "" {
			where = c.Region + ":" + other + ":"
		}
		add("ecr", "repository/", append(texts("repositoryNames"), text("repositoryName"), text("resourceArn"))...)
		if c.Action == "DescribeRepositories" && len(all) == 0 {
			add("ecr", "repository/", "*")
		}
	case "ecr-public":
		where = ":" + c.Account + ":"
		add("ecr-public", "repository/", append(texts("repositoryNames"), text("repositoryName"), text("resourceArn"))...)
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
		if c.Action == "DescribeLogGroups" {
			all = append(all, "arn:aws:logs:"+where+"log-group::log-stream:")
		}
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
		all = ecsResources(c, body, text, texts, arn)
	}
	return all
}

// clusterName is the name of the cluster that a call of ECS is about.
func clusterName(body map[string]any) string {
	name, _ := body["cluster"].(string)
	if name == "" {
		name = "default"
	}
	return name[strings.LastIndexByte(name, '/')+1:]
}

// ecsResources are the ARNs that a call of ECS is about. Some actions know no
// resources, and some look at the service of a deployment too.
func ecsResources(c *api.Call, body map[string]any, text func(string) string, texts func(string) []string, arn func(service, kind, name string) string) []string {
	cluster := clusterName(body)
	var all []string
	add := func(kind string, names ...string) {
		for _, name := range names {
			if name != "" {
				all = append(all, arn("ecs", kind, name))
			}
		}
	}
	switch c.Action {
	case "DescribeTaskDefinition", "DeregisterTaskDefinition", "ListTasks", "ListServices", "CreateCluster": // these know none
	case "RegisterTaskDefinition":
		add("task-definition/", text("family")+":*")
	case "DeleteTaskDefinitions":
		add("task-definition/", texts("taskDefinitions")...)
	case "RunTask", "StartTask":
		add("task-definition/", text("taskDefinition"))
	case "CreateService":
		add("service/"+cluster+"/", text("serviceName"))
	case "ListServiceDeployments", "UpdateService", "DeleteService":
		add("service/"+cluster+"/", text("service"))
	case "DescribeServices":
		add("service/"+cluster+"/", texts("services")...)
	case "DescribeServiceDeployments", "DescribeServiceRevisions", "StopServiceDeployment":
		all = withServices(append(append(texts("serviceDeploymentArns"), texts("serviceRevisionArns")...), text("serviceDeploymentArn")))
	case "DescribeTasks", "StopTask":
		add("task/"+cluster+"/", append(texts("tasks"), text("task"))...)
	case "ExecuteCommand":
		add("cluster/", cluster)
		add("task/"+cluster+"/", text("task"))
	case "DescribeClusters", "DeleteCluster", "UpdateCluster", "PutClusterCapacityProviders":
		add("cluster/", append(texts("clusters"), text("cluster"))...)
	default:
		add("", text("resourceArn"))
	}
	return all
}

// withServices are the ARNs of deployments or revisions of services, and of the
// services themselves.
func withServices(arns []string) []string {
	var all []string
	for _, a := range arns {
		parts := strings.SplitN(a, "/", 4)
		if len(parts) == 4 {
			all = append(all, a, strings.Join([]string{a[:strings.LastIndexByte(parts[0], ':')] + ":service", parts[1], parts[2]}, "/"))
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}
