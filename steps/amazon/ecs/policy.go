package ecs

import (
	"strings"

	"bake/steps/amazon/permit"
)

// Permissions is what deploying has to be allowed: the calls of the preflight,
// of the deployment, and of going back.
func (o *Output) Permissions(env permit.Env) []permit.Statement {
	env = env.For(o.Access)
	cluster := o.Cluster[strings.LastIndexByte(o.Cluster, '/')+1:]
	services := []string{env.ARN("ecs", "service/"+permit.Any(cluster)+"/"+permit.Any(o.Service))}
	if o.Like != "" {
		services = append(services, env.ARN("ecs", "service/"+permit.Any(cluster)+"/"+o.Like))
	}
	all := []permit.Statement{
		permit.Read("ecs:DescribeTaskDefinition", "ecs:DescribeClusters", "ecs:ListTasks", "ecs:DescribeTasks", "ecs:ListServiceDeployments", "ecs:DescribeServiceDeployments", "ecs:DescribeServiceRevisions",
			"logs:DescribeLogGroups", "logs:GetLogEvents", "elasticloadbalancing:DescribeTargetGroups", "elasticloadbalancing:DescribeTargetHealth", "ec2:DescribeSubnets", "ec2:DescribeSecurityGroups",
			"application-autoscaling:DescribeScalableTargets", "servicequotas:GetServiceQuota", "cloudwatch:DescribeAlarms"),
		// Which secrets a definition names may be known from its revisions alone.
		{Sid: "LookAtSecrets", Actions: []string{"secretsmanager:DescribeSecret", "secretsmanager:GetSecretValue"}, Resources: []string{env.ARN("secretsmanager", "secret:*")}},
		{Sid: "LookAtParameters", Actions: []string{"ssm:GetParameter"}, Resources: []string{env.ARN("ssm", "parameter/*")}},
		{Sid: "LookAtRoles", Actions: []string{"iam:GetRole"}, Resources: []string{"arn:" + env.Partition() + ":iam::*:role/*"}},
		{Sid: "RegisterRevisions", Actions: []string{"ecs:RegisterTaskDefinition", "ecs:TagResource"}, Resources: []string{env.ARN("ecs", "task-definition/*")}},
		{Sid: "PassRoles", Actions: []string{"iam:PassRole"}, Resources: []string{"arn:" + env.Partition() + ":iam::*:role/*"},
			Conditions: []permit.Condition{{Operator: "StringEquals", Key: "iam:PassedToService", Values: []string{"ecs-tasks.amazonaws.com", "ecs.amazonaws.com"}}}},
		{Sid: "Deploy", Actions: []string{"ecs:DescribeServices", "ecs:CreateService", "ecs:UpdateService", "ecs:DeleteService", "ecs:TagResource"}, Resources: services},
		{Sid: "GoBack", Actions: []string{"ecs:StopServiceDeployment"}, Resources: []string{env.ARN("ecs", "service-deployment/"+permit.Any(cluster)+"/"+permit.Any(o.Service)+"/*")}},
	}
	if len(o.Before)+len(o.After) > 0 {
		all = append(all,
			permit.Statement{Sid: "RunTasks", Actions: []string{"ecs:RunTask"}, Resources: []string{env.ARN("ecs", "task-definition/*")}},
			permit.Statement{Sid: "UseTasks", Actions: []string{"ecs:StopTask", "ecs:TagResource"}, Resources: []string{env.ARN("ecs", "task/"+permit.Any(cluster)+"/*")}})
	}
	if o.ExecRole == "default" {
		all = append(all, permit.Statement{Sid: "MakeDefaultRole", Actions: []string{"iam:CreateRole", "iam:AttachRolePolicy"}, Resources: []string{"arn:" + env.Partition() + ":iam::*:role/" + defaultRole}})
	}
	return env.Under(all...)
}
