package ecs

import (
	"strings"

	"bake/steps/amazon/permit"
)

// Permissions is what deploying has to be allowed: the calls of the preflight,
// of the deployment, and of going back.
func (o *Output) Permissions(env permit.Env) []permit.Statement {
	env = env.For(o.Access)
	all := append(o.looking(env), o.registering(env)...)
	all = append(all, o.deploying(env)...)
	if len(o.Before)+len(o.After) > 0 {
		task := env.ARN("ecs", "task/"+o.cluster()+"/*")
		all = append(all,
			permit.Statement{Sid: "RunTasks", Actions: []string{"ecs:RunTask"}, Resources: []string{env.ARN("ecs", "task-definition/*")}, Conditions: []permit.Condition{o.within(env)}},
			permit.Statement{Sid: "StopOwnTasks", Actions: []string{"ecs:StopTask"}, Resources: []string{task}, Conditions: []permit.Condition{env.Tag()}},
			permit.Statement{Sid: "TagNewTasks", Actions: []string{"ecs:TagResource"}, Resources: []string{task}, Conditions: []permit.Condition{creating("RunTask")}})
	}
	return env.Under(all...)
}

// cluster is the cluster's name in ARNs.
func (o *Output) cluster() string {
	return permit.Any(o.Cluster[strings.LastIndexByte(o.Cluster, '/')+1:])
}

// within is a condition: the call is about the output's cluster.
func (o *Output) within(env permit.Env) permit.Condition {
	return permit.Condition{Operator: "ArnLike", Key: "ecs:cluster", Values: []string{env.ARN("ecs", "cluster/"+o.cluster())}}
}

// creating is a condition: tags are given by the calls that make what gets them.
func creating(calls ...string) permit.Condition {
	return permit.Condition{Operator: "StringEquals", Key: "ecs:CreateAction", Values: calls}
}

// looking is what is asked before, during and after. What ECS or another
// service knows no resources for is asked of all.
func (o *Output) looking(env permit.Env) []permit.Statement {
	reads := []string{"ecs:DescribeTaskDefinition", "elasticloadbalancing:DescribeTargetGroups", "elasticloadbalancing:DescribeTargetHealth", "ec2:DescribeSubnets", "ec2:DescribeSecurityGroups",
		"application-autoscaling:DescribeScalableTargets", "servicequotas:GetServiceQuota"}
	if o.Deployment != nil && len(o.Deployment.Alarms) > 0 {
		reads = append(reads, "cloudwatch:DescribeAlarms")
	}
	logs := env.In("").ARN("logs", "log-group:*") // a definition may name other regions'
	return []permit.Statement{
		permit.Read(reads...),
		{Sid: "LookAtClusters", Actions: []string{"ecs:DescribeClusters"}, Resources: []string{env.ARN("ecs", "cluster/"+o.cluster())}},
		{Sid: "ListTasks", Actions: []string{"ecs:ListTasks"}, Conditions: []permit.Condition{o.within(env)}},
		{Sid: "LookAtTasks", Actions: []string{"ecs:DescribeTasks"}, Resources: []string{env.ARN("ecs", "task/"+o.cluster()+"/*")}},
		{Sid: "ReadLogs", Actions: []string{"logs:DescribeLogGroups", "logs:GetLogEvents"}, Resources: []string{logs}},
		// Which secrets and roles a definition names may be known from its revisions alone.
		{Sid: "LookAtSecrets", Actions: []string{"secretsmanager:DescribeSecret", "secretsmanager:GetSecretValue"}, Resources: []string{env.ARN("secretsmanager", "secret:*")}},
		{Sid: "LookAtParameters", Actions: []string{"ssm:GetParameter"}, Resources: []string{env.ARN("ssm", "parameter/*")}},
		{Sid: "LookAtRoles", Actions: []string{"iam:GetRole"}, Resources: []string{env.Role("")}},
	}
}

// registering is making a revision, and handing its roles to ECS.
func (o *Output) registering(env permit.Env) []permit.Statement {
	revisions := []string{env.ARN("ecs", "task-definition/*")}
	services := []string{"ecs-tasks"}
	for _, b := range o.Balancers {
		if b.Role != "" { // with which ECS moves the traffic
			services = append(services, "ecs")
			break
		}
	}
	if !o.Volumes.IsZero() && services[len(services)-1] != "ecs" {
		services = append(services, "ecs")
	}
	all := []permit.Statement{
		{Sid: "RegisterRevisions", Actions: []string{"ecs:RegisterTaskDefinition"}, Resources: revisions},
		{Sid: "TagRevisions", Actions: []string{"ecs:TagResource"}, Resources: revisions},
		{Sid: "PassRoles", Actions: []string{"iam:PassRole"}, Resources: []string{env.Role("")}, Conditions: []permit.Condition{env.PassedTo(services...)}},
	}
	if o.ExecRole == "default" {
		role := []string{env.Role(defaultRole)}
		all = append(all,
			permit.Statement{Sid: "MakeDefaultRole", Actions: []string{"iam:CreateRole"}, Resources: role},
			permit.Statement{Sid: "GiveDefaultRole", Actions: []string{"iam:AttachRolePolicy"}, Resources: role, Conditions: []permit.Condition{{
				Operator: "ArnEquals", Key: "iam:PolicyARN", Values: []string{"arn:" + env.Partition() + ":iam::aws:policy/service-role/AmazonECSTaskExecutionRolePolicy"}}}})
	}
	return all
}

// deploying is making and changing the service, following that, and going back.
func (o *Output) deploying(env permit.Env) []permit.Statement {
	if o.Service == "" && o.Like == "" {
		return nil
	}
	in := func(kind, name, rest string) string {
		return env.ARN("ecs", kind+"/"+o.cluster()+"/"+permit.Any(name)+rest)
	}
	if o.Service == "" {
		return []permit.Statement{{Sid: "LookAtServices", Actions: []string{"ecs:DescribeServices"}, Resources: []string{in("service", o.Like, "")}}}
	}
	service := []string{in("service", o.Service, "")}
	return []permit.Statement{
		{Sid: "Deploy", Actions: []string{"ecs:DescribeServices", "ecs:CreateService", "ecs:UpdateService", "ecs:TagResource", "ecs:ListServiceDeployments"}, Resources: service},
		{Sid: "RemoveOwnService", Actions: []string{"ecs:DeleteService"}, Resources: service, Conditions: []permit.Condition{env.Tag()}},
		{Sid: "FollowAndGoBack", Actions: []string{"ecs:DescribeServiceDeployments", "ecs:DescribeServiceRevisions", "ecs:StopServiceDeployment"},
			Resources: append(service, in("service-deployment", o.Service, "/*"), in("service-revision", o.Service, "/*"))},
	}
}
