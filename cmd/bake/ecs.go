package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"bake/builder"
	"bake/steps/amazon/ecs"
	"bake/templates"
)

const ecsHelp = `Deploy services on Amazon ECS and look after them.

Every command takes a template with an ` + "`ecs`" + ` output, or --cluster and --service. A deployment
is followed by its own id: one that was rolled back is never reported as a success.`

const ecsCodes = `
Exit codes:
  0    done, or nothing to do
  1    it failed
  2    the template or the command line is wrong
  3    the deployment was rolled back, or was not finished in time and goes on
  4    diff found differences
  130  interrupted: the service was asked to go back`

func (a *app) ecsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "ecs",
		Short: "Deploy services on Amazon ECS, follow, roll back and inspect them",
		Long:  ecsHelp,
		Example: `  bake ecs deploy api.yaml --image 123456789012.dkr.ecr.eu-west-1.amazonaws.com/api:1.4.2
  bake ecs deploy --cluster prod --service api --image api:1.4.2
  bake ecs diff api.yaml                      what would change; exit code 4 if anything would
  bake ecs rollback --cluster prod --service api
  bake ecs run --cluster prod --like api -- bin/migrate up
  bake ecs logs --cluster prod --service api --follow`,
		Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(
		a.ecsDeployCommand(), a.ecsDiffCommand(), a.ecsVerifyCommand(), a.ecsRenderCommand(), a.ecsInitCommand(),
		a.ecsRollbackCommand(), a.ecsRefreshCommand(), a.ecsScaleCommand(), a.ecsWaitCommand(), a.ecsContinueCommand(), a.ecsStopCommand(), a.ecsRunCommand(),
		a.ecsStatusCommand(), a.ecsTasksCommand(), a.ecsLogsCommand(), a.ecsExecCommand(), a.ecsRevisionsCommand(),
		a.ecsClustersCommand(), a.ecsServicesCommand())
	for _, sub := range cmd.Commands() {
		sub.SetUsageTemplate(strings.TrimRight(sub.UsageTemplate(), "\n") + "\n" + ecsCodes + "\n")
	}
	return cmd
}

// ecsFlags say what the commands of `bake ecs` work on, and what a deployment
// is besides what the template says.
type ecsFlags struct {
	file    string // template; empty: flags alone
	cluster string
	service string
	set     map[string]any // keys of the output that flags set
}

// ecsTargetFlags are the flags that name a service.
func (a *app) ecsTargetFlags(cmd *cobra.Command, f *ecsFlags) {
	a.awsFlags(cmd)
	a.templateFlags(cmd)
	cmd.Flags().StringVarP(&f.cluster, "cluster", "c", "", "`CLUSTER`, name or ARN; default: the template's, or the one called default")
	cmd.Flags().StringVarP(&f.service, "service", "s", "", "`SERVICE` in it; of a template with several, which one")
	f.set = map[string]any{}
}

// ecsLookFlags are the flags of commands that print what they found.
func (a *app) ecsLookFlags(cmd *cobra.Command, f *ecsFlags) {
	a.ecsTargetFlags(cmd, f)
	a.outputFlag(cmd, "text|json")
}

// text is the template that flags stand for. JSON is YAML.
func (f *ecsFlags) text(a *app) (string, error) {
	body := map[string]any{}
	if f.cluster != "" {
		body["cluster"] = f.cluster
	}
	name := "ecs"
	if f.service != "" {
		body["service"], name = f.service, f.service
	} else if f.set["like"] == nil && f.set["before"] == nil {
		return "", usagef("--service SERVICE, or a template with an ecs output", "no service is named")
	}
	a.addAccess(body)
	for k, v := range f.set {
		body[k] = v
	}
	text, err := json.MarshalIndent(map[string]any{"name": name, "source": map[string]any{"scratch": true}, "outputs": []any{map[string]any{"ecs": body}}}, "", "  ")
	return string(text), err
}

// deployRequest is what `bake ecs deploy` was asked to do, as far as `bake
// resume` needs it.
type deployRequest struct {
	Text    string         `json:"text,omitempty"`    // the template that flags stand for
	Service string         `json:"service,omitempty"` // of the template's, the one that is deployed
	Set     map[string]any `json:"set,omitempty"`     // keys of the output that flags set
}

// ecsName is what diagnostics call the template that flags stand for.
const ecsName = "deploy.yaml"

// request is what the flags ask for.
func (f *ecsFlags) request(a *app) (deployRequest, error) {
	if f.file == "" {
		text, err := f.text(a)
		return deployRequest{Text: text}, err
	}
	q := deployRequest{Service: f.service, Set: map[string]any{}}
	if f.cluster != "" {
		q.Set["cluster"] = f.cluster
	}
	a.addAccess(q.Set)
	for k, v := range f.set {
		q.Set[k] = v
	}
	return q, nil
}

// load reads the template and leaves nothing of it but what is deployed.
func (q deployRequest) load(a *app, file string, w *wiring, opts templates.Options) (loaded, error) {
	var l loaded
	var err error
	if q.Text != "" {
		l, err = a.loadText(ecsName, q.Text, w.catalog, opts)
	} else {
		l, err = a.load(file, w.catalog, opts)
	}
	if err != nil {
		return l, err
	}
	var services []string
	l.plan.Give(builder.Artifact{Image: &builder.Image{}}, func(s builder.Step) bool {
		if s.Kind != "ecs" {
			return false
		}
		name := serviceOf(s.Config)
		services = append(services, name)
		return q.Service == "" || name == q.Service
	})
	if len(l.plan.Builds) == 0 {
		if q.Service != "" && len(services) > 0 {
			return l, usagef(fmt.Sprintf("it has: %s", strings.Join(services, ", ")), "%s deploys no service %s", file, q.Service)
		}
		return l, usagef("`bake ecs init` writes one from a service that exists", "%s has no ecs output", file)
	}
	for i := range l.plan.Builds {
		for n := range l.plan.Builds[i].Steps {
			if err := setKeys(&l.plan.Builds[i].Steps[n], q.Set); err != nil {
				return l, err
			}
		}
	}
	return l, nil
}

// serviceOf is the service that an output's config names.
func serviceOf(config templates.JSON) string {
	var body struct {
		Service string `json:"service"`
	}
	if json.Unmarshal(config, &body) != nil {
		_ = json.Unmarshal(config, &body.Service) // the short form
	}
	return body.Service
}

// setKeys sets keys of an output's config.
func setKeys(s *builder.Step, set map[string]any) error {
	if len(set) == 0 {
		return nil
	}
	var body map[string]any
	if err := json.Unmarshal(s.Config, &body); err != nil {
		body = map[string]any{"service": serviceOf(s.Config)}
	}
	for k, v := range set {
		body[k] = v
	}
	data, err := json.Marshal(body)
	s.Config = data
	return err
}

// ecsOutput reads what the flags and the template name as one output.
func (a *app) ecsOutput(w *wiring, f *ecsFlags) (*ecs.Output, error) {
	q, err := f.request(a)
	if err != nil {
		return nil, err
	}
	now := a.now()
	opts, err := a.options(f.file, newRunID(now), now)
	if err != nil {
		return nil, err
	}
	l, err := q.load(a, f.file, w, opts)
	if err != nil {
		return nil, err
	}
	if n := len(l.plan.Builds) + len(l.plan.Builds[0].Steps); n > 2 {
		return nil, usagef("name one with --service, or its build with --only", "%s deploys several services", f.file)
	}
	step := l.plan.Builds[0].Steps[0]
	b, err := templates.FromJSON(step.Config, step.Pos, l.template.Env)
	if err != nil {
		return nil, err
	}
	b, diags := b.Resolve(l.template.Env, false)
	out := w.catalog.Outputs["ecs"]().(*ecs.Output)
	if diags = append(diags, templates.Decode(b, out)...); len(diags) > 0 {
		return nil, &templateError{diags.Sort()}
	}
	return out, nil
}

// withECS runs fn with the output that the arguments and flags mean, and a
// client for its cluster.
func (a *app) withECS(cmd *cobra.Command, f *ecsFlags, args []string, fn func(context.Context, *ecs.Output, *ecs.Client) error) error {
	ctx, stop := interruptible(cmd.Context(), func() { os.Exit(exitInterrupted) })
	defer stop()
	if len(args) > 0 {
		f.file = args[0]
	}
	w, err := a.wire()
	if err != nil {
		return err
	}
	defer w.close()
	out, err := a.ecsOutput(w, f)
	if err != nil {
		return err
	}
	client, err := ecs.Open(ctx, w.deps(w.cacheDir).ECS(), out.Access, out.Cluster)
	if err != nil {
		return err
	}
	return fn(ctx, out, client)
}

// withCluster is withECS for commands that need no service.
func (a *app) withCluster(cmd *cobra.Command, f *ecsFlags, fn func(context.Context, *ecs.Client) error) error {
	if f.service == "" && f.file == "" {
		f.set["like"] = "-"
		f.set["before"] = []any{map[string]any{"command": []string{"true"}}}
	}
	return a.withECS(cmd, f, nil, func(ctx context.Context, _ *ecs.Output, c *ecs.Client) error { return fn(ctx, c) })
}

// A teller tells the story of commands that are no run: one line for each thing.
type teller struct{ out, err io.Writer }

func (a *app) teller() teller {
	if a.flags.output == "json" {
		return teller{a.stderr, a.stderr}
	}
	return teller{a.stdout, a.stderr}
}

// Log writes one line to stderr.
func (t teller) Log(format string, args ...any) { fmt.Fprintf(t.err, format+"\n", args...) }

// Stdout is where the lines of tasks go.
func (t teller) Stdout() io.WriteCloser { return unclosedWriter{t.out} }

type unclosedWriter struct{ io.Writer }

func (unclosedWriter) Close() error { return nil }

// pairs reads flags of the form KEY=VALUE.
func pairs(flag string, all []string) (map[string]any, error) {
	out := map[string]any{}
	for _, kv := range all {
		k, v, ok := strings.Cut(kv, "=")
		if !ok || k == "" {
			return nil, usagef("write "+flag+" KEY=VALUE", "%s %s is not KEY=VALUE", flag, kv)
		}
		out[k] = literal(v)
	}
	return out, nil
}

// literal keeps a flag's text from being read as an expression.
func literal(text string) string { return strings.ReplaceAll(text, "${{", "$${{") }

// number reads a number of tasks.
func number(text string) (int, error) {
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		return 0, usagef("", "%q is not a number of tasks", text)
	}
	return n, nil
}
