package ecs

import "bake/steps/amazon/permit"

// What commands of `bake ecs` do, as Command knows it: most are the command's words.
const (
	Deploy       = "deploy"
	Again        = "again" // rollback, refresh, scale
	Compare      = "diff"
	Look         = "status"
	Follow       = "wait"
	ReadLogs     = "logs"
	Adopt        = "init"
	GoOnOrBack   = "continue"
	StopDeploys  = "stop"
	ListTasks    = "tasks"
	StopTasks    = "tasks stop"
	EnterTask    = "exec"
	ListRevision = "revisions"
	Prune        = "revisions --keep"
	Erase        = "revisions --keep --delete"
	Clusters     = "clusters"
	OneCluster   = "clusters describe"
	MakeCluster  = "clusters create"
	EndCluster   = "clusters destroy"
	Services     = "services"
	EndService   = "services destroy"
)

// Command is what a command of `bake ecs` on the output's cluster and service has
// to be allowed; nil: it is not known.
func (o *Output) Command(env permit.Env, command string) []permit.Statement {
	if command == Deploy {
		return o.Permissions(env)
	}
	env = env.For(o.Access)
	c := commanded{o, env}
	parts := map[string][][]permit.Statement{
		Again:        {o.looking(env), c.serving("Redeploy", "ecs:DescribeServices", "ecs:UpdateService", "ecs:TagResource", "ecs:ListServiceDeployments"), c.following("ecs:StopServiceDeployment")},
		Compare:      {o.looking(env), c.serving("LookAtServices", "ecs:DescribeServices", "ecs:ListServiceDeployments")},
		Look:         {c.status()},
		Follow:       {c.status(), c.following(), c.tasks(), c.logs()},
		ReadLogs:     {c.status(), c.tasks(), c.logs()},
		Adopt:        {c.serving("LookAtServices", "ecs:DescribeServices"), {permit.Read("ecs:DescribeTaskDefinition")}},
		GoOnOrBack:   {c.serving("LookAtServices", "ecs:DescribeServices"), c.following("ecs:ContinueServiceDeployment")},
		StopDeploys:  {c.serving("LookAtServices", "ecs:DescribeServices"), c.following("ecs:StopServiceDeployment")},
		ListTasks:    {c.tasks()},
		StopTasks:    {c.tasks("ecs:StopTask")},
		EnterTask:    {c.tasks(), c.entering()},
		ListRevision: {c.revisions()},
		Prune:        {c.revisions("ecs:DeregisterTaskDefinition")},
		Erase:        {c.revisions("ecs:DeregisterTaskDefinition", "ecs:DeleteTaskDefinitions")},
		Clusters:     {{permit.Read("ecs:ListClusters"), c.cluster("LookAtClusters", "*", "ecs:DescribeClusters")}},
		OneCluster:   {{c.cluster("LookAtClusters", o.cluster(), "ecs:DescribeClusters")}},
		MakeCluster:  {{{Sid: "MakeCluster", Actions: []string{"ecs:CreateCluster"}}, c.cluster("TagCluster", o.cluster(), "ecs:TagResource")}},
		EndCluster:   {{c.cluster("EndCluster", o.cluster(), "ecs:DescribeClusters", "ecs:DeleteCluster")}},
		Services:     {c.services("ecs:DescribeServices")},
		EndService:   {c.serving("EndService", "ecs:DescribeServices", "ecs:DeleteService"), c.tasks()},
	}[command]
	var all []permit.Statement
	for _, p := range parts {
		all = append(all, p...)
	}
	return env.Under(all...)
}

// commanded makes statements for the output's cluster and service.
type commanded struct {
	*Output
	env permit.Env
}

func (c commanded) arn(kind, name, rest string) string {
	return c.env.ARN("ecs", kind+"/"+c.clusterName()+"/"+permit.Any(name)+rest)
}

func (c commanded) clusterName() string { return c.Output.cluster() }

// cluster is a statement about clusters of a name.
func (c commanded) cluster(sid, name string, actions ...string) permit.Statement {
	return permit.Statement{Sid: sid, Actions: actions, Resources: []string{c.env.ARN("ecs", "cluster/"+name)}}
}

// serving is about the service.
func (c commanded) serving(sid string, actions ...string) []permit.Statement {
	return []permit.Statement{{Sid: sid, Actions: actions, Resources: []string{c.arn("service", c.Service, "")}}}
}

// status is what telling how the service stands takes.
func (c commanded) status() []permit.Statement {
	return append(c.serving("LookAtServices", "ecs:DescribeServices"), permit.Read("ecs:DescribeTaskDefinition", "elasticloadbalancing:DescribeTargetHealth"))
}

// following is about the service's deployments, and what more is done to them.
func (c commanded) following(more ...string) []permit.Statement {
	return []permit.Statement{{Sid: "FollowDeployments", Actions: append(more, "ecs:DescribeServiceDeployments", "ecs:DescribeServiceRevisions"),
		Resources: []string{c.arn("service", c.Service, ""), c.arn("service-deployment", c.Service, "/*"), c.arn("service-revision", c.Service, "/*")}}}
}

// tasks is about the cluster's tasks, and what more is done to them.
func (c commanded) tasks(more ...string) []permit.Statement {
	return []permit.Statement{
		{Sid: "ListTasks", Actions: []string{"ecs:ListTasks"}, Conditions: []permit.Condition{c.within(c.env)}},
		{Sid: "UseTasks", Actions: append(more, "ecs:DescribeTasks"), Resources: []string{c.arn("task", "*", "")}},
	}
}

// entering is running a command in a container of a task.
func (c commanded) entering() []permit.Statement {
	return []permit.Statement{{Sid: "EnterTasks", Actions: []string{"ecs:ExecuteCommand"}, Resources: []string{c.arn("task", "*", ""), c.env.ARN("ecs", "cluster/"+c.clusterName())}}}
}

// logs is about what tasks have written; a definition may name other regions'.
func (c commanded) logs() []permit.Statement {
	return []permit.Statement{{Sid: "ReadLogs", Actions: []string{"logs:DescribeLogGroups", "logs:GetLogEvents", "logs:FilterLogEvents"}, Resources: []string{c.env.In("").ARN("logs", "log-group:*")}}}
}

// revisions is about the account's revisions and all that uses them, and what
// more is done to them.
func (c commanded) revisions(more ...string) []permit.Statement {
	any := permit.Statement{Sid: "SeeWhatRuns", Actions: []string{"ecs:DescribeClusters", "ecs:DescribeServices", "ecs:DescribeTasks"},
		Resources: []string{c.env.ARN("ecs", "cluster/*"), c.env.ARN("ecs", "service/*"), c.env.ARN("ecs", "task/*")}}
	all := []permit.Statement{permit.Read("ecs:ListTaskDefinitions", "ecs:DescribeTaskDefinition", "ecs:ListClusters", "ecs:ListServices", "ecs:ListTasks"), any}
	for _, action := range more {
		s := permit.Statement{Sid: "PruneRevisions", Actions: []string{action}}
		if action == "ecs:DeleteTaskDefinitions" { // deregistering knows no resources
			s = permit.Statement{Sid: "DeleteRevisions", Actions: []string{action}, Resources: []string{c.env.ARN("ecs", "task-definition/*")}}
		}
		all = append(all, s)
	}
	return all
}

// services is about all services of the cluster.
func (c commanded) services(actions ...string) []permit.Statement {
	return []permit.Statement{
		{Sid: "ListServices", Actions: []string{"ecs:ListServices"}, Conditions: []permit.Condition{c.within(c.env)}},
		{Sid: "LookAtServices", Actions: actions, Resources: []string{c.arn("service", "*", "")}},
	}
}
