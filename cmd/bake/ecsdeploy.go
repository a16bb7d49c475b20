package main

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"bake/internal/redact"
)

// deployFlags are what a deployment takes besides what it is a deployment of.
type deployFlags struct {
	ecsFlags
	images    []string
	env       []string
	task      string
	container string
	count     int
	wait      time.Duration
	noWait    bool
	force     bool
	skip      []string
	busy      string
}

func (a *app) ecsDeployCommand() *cobra.Command {
	var f deployFlags
	cmd := &cobra.Command{
		Use:   "deploy [TEMPLATE]",
		Short: "Deploy an image, and follow the deployment to its end",
		Long: "Deploy the ecs outputs of a template without building anything, or an image that a flag names to a\n" +
			"service. What the service has and neither names stays as it is. Ctrl-C asks the service to go back.",
		Example: `  bake ecs deploy api.yaml --image 123456789012.dkr.ecr.eu-west-1.amazonaws.com/api:1.4.2
  bake ecs deploy --cluster prod --service api --image api:1.4.2 --env LOG=json
  bake ecs deploy -c prod -s shop --image app=shop:2.0 --image proxy=envoyproxy/envoy:v1.31
  bake ecs deploy -c prod -s api --task-definition task.json --no-wait`,
		Args: arguments(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := f.apply(cmd, args); err != nil {
				return err
			}
			return a.ecsDeploy(cmd.Context(), &f.ecsFlags)
		},
	}
	a.ecsTargetFlags(cmd, &f.ecsFlags)
	a.ecsRunFlags(cmd, &f)
	fs := cmd.Flags()
	fs.StringArrayVar(&f.images, "image", nil, "deploy this `IMAGE`, or CONTAINER=IMAGE (repeatable)")
	fs.StringVar(&f.task, "task-definition", "", "`FILE` (JSON or YAML as AWS writes it) or FAMILY:REVISION; default: what the service runs")
	fs.StringVar(&f.container, "container", "", "`NAME` of the container that --image and --env mean")
	fs.StringArrayVar(&f.env, "env", nil, "set a variable of the container: `KEY=VALUE` (repeatable)")
	fs.IntVar(&f.count, "desired-count", 0, "`NUMBER` of tasks")
	fs.BoolVar(&f.force, "force", false, "start new tasks even if nothing differs")
	return cmd
}

// ecsRunFlags are the flags of every command that deploys.
func (a *app) ecsRunFlags(cmd *cobra.Command, f *deployFlags) {
	a.outputFlag(cmd, "text|plain|json|github")
	a.flags.onError, a.flags.engine = "clean", "embedded"
	fs := cmd.Flags()
	fs.DurationVar(&f.wait, "wait", 0, "how `LONG` the deployment may take, like 10m; it goes on after that")
	fs.BoolVar(&f.noWait, "no-wait", false, "do not follow the deployment")
	fs.StringSliceVar(&f.skip, "skip", nil, "leave out `CHECKS` of what is needed: roles,image,... or all")
	fs.StringVar(&f.busy, "busy", "", "while somebody else is deploying the service: `wait|refuse|replace`; default: the template's, or wait")
}

// apply turns flags into keys of the output.
func (f *deployFlags) apply(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		f.file = args[0]
	}
	images := map[string]any{}
	for _, image := range f.images {
		if name, ref, ok := strings.Cut(image, "="); ok {
			images[name] = literal(ref)
			continue
		}
		f.set["image"] = literal(image)
	}
	if len(images) > 0 {
		f.set["images"] = images
	}
	env, err := pairs("--env", f.env)
	if err != nil {
		return err
	}
	if len(env) > 0 {
		f.set["env"] = env
	}
	for key, value := range map[string]string{"task_definition": f.task, "container": f.container} {
		if value != "" {
			f.set[key] = literal(value)
		}
	}
	if cmd.Flags().Changed("desired-count") {
		f.set["desired_count"] = f.count
	}
	switch {
	case f.noWait:
		f.set["wait"] = "0s"
	case f.wait > 0:
		f.set["wait"] = f.wait.String()
	}
	if f.force {
		f.set["force"] = true
	}
	if f.busy != "" {
		f.set["busy"] = literal(f.busy)
	}
	if len(f.skip) > 0 {
		f.set["verify"] = map[string]any{"skip": f.skip}
	}
	return nil
}

// ecsDeploy deploys as a run of its own: with a journal, so that `bake resume`
// goes on with it and `bake clean` removes what it left.
func (a *app) ecsDeploy(ctx context.Context, f *ecsFlags) error {
	a.flags.onError, a.flags.engine = cmp.Or(a.flags.onError, "clean"), "embedded" // nothing is built
	q, err := f.request(a)
	if err != nil {
		return err
	}
	w, err := a.wire()
	if err != nil {
		return err
	}
	defer w.close()
	now := a.now()
	r := &run{app: a, wiring: w, file: cmp.Or(f.file, ecsName), id: newRunID(now)}
	opts, err := a.options(r.file, r.id, now)
	if err != nil {
		return err
	}
	if r.loaded, err = q.load(a, f.file, w, opts); err != nil {
		return err
	}
	r.redactor = redact.New(r.loaded.template.Env.Secrets())
	if r.req, err = a.request(r.file, opts, r.loaded.template); err != nil {
		return err
	}
	r.req.Started, r.req.Deploy = now, &q
	if code := runCode(r.do(ctx)); code != exitDone {
		return exitError(code)
	}
	return nil
}

func (a *app) ecsRollbackCommand() *cobra.Command {
	var f deployFlags
	var revision string
	cmd := &cobra.Command{
		Use:   "rollback [TEMPLATE]",
		Short: "Go back to the last revision that was deployed successfully",
		Long: "Go back to the last revision that was deployed successfully before the one that the service runs: what\n" +
			"bake noted on the service, else the newest successful deployment of its history. It is never just the\n" +
			"number before, and no revision is deregistered.",
		Example: `  bake ecs rollback --cluster prod --service api
  bake ecs rollback api.yaml --revision 41`,
		Args: arguments(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.ecsAgain(cmd, &f, args, map[string]any{"revision": revision})
		},
	}
	a.ecsAgainFlags(cmd, &f)
	cmd.Flags().StringVar(&revision, "revision", "good", "go to this `REVISION`: a number, or FAMILY:NUMBER")
	return cmd
}

func (a *app) ecsRefreshCommand() *cobra.Command {
	var f deployFlags
	cmd := &cobra.Command{
		Use:   "refresh [TEMPLATE]",
		Short: "Replace a service's tasks by new ones of the same revision",
		Example: `  bake ecs refresh --cluster prod --service api
  bake ecs refresh api.yaml --wait 20m`,
		Args: arguments(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.ecsAgain(cmd, &f, args, map[string]any{"force": true})
		},
	}
	a.ecsAgainFlags(cmd, &f)
	return cmd
}

func (a *app) ecsScaleCommand() *cobra.Command {
	var f deployFlags
	cmd := &cobra.Command{
		Use:   "scale [TEMPLATE] NUMBER",
		Short: "Set how many tasks a service has, and wait until they run",
		Example: `  bake ecs scale 4 --cluster prod --service api
  bake ecs scale api.yaml 0`,
		Args: arguments(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			n, err := number(args[len(args)-1])
			if err != nil {
				return err
			}
			return a.ecsAgain(cmd, &f, args[:len(args)-1], map[string]any{"desired_count": n, "override_autoscaling": true})
		},
	}
	a.ecsAgainFlags(cmd, &f)
	return cmd
}

func (a *app) ecsAgainFlags(cmd *cobra.Command, f *deployFlags) {
	a.ecsTargetFlags(cmd, &f.ecsFlags)
	a.ecsRunFlags(cmd, f)
}

// ecsAgain deploys what a service has already, but for the keys in set. Of a
// template it takes only which service that is.
func (a *app) ecsAgain(cmd *cobra.Command, f *deployFlags, args []string, set map[string]any) error {
	if err := f.apply(cmd, args); err != nil {
		return err
	}
	for k, v := range set {
		f.set[k] = v
	}
	if f.file != "" {
		if err := a.forgetTemplate(f); err != nil {
			return err
		}
	}
	return a.ecsDeploy(cmd.Context(), &f.ecsFlags)
}

// forgetTemplate takes cluster, service and access out of the template, and
// nothing else.
func (a *app) forgetTemplate(f *deployFlags) error {
	w, err := a.wire()
	if err != nil {
		return err
	}
	defer w.close()
	out, err := a.ecsOutput(w, &ecsFlags{file: f.file, service: f.service, cluster: f.cluster, set: map[string]any{}})
	if err != nil {
		return err
	}
	f.file, f.cluster, f.service, a.flags.aws, a.flags.only = "", out.Cluster, out.Service, out.Access, nil
	return nil
}

func (a *app) ecsRunCommand() *cobra.Command {
	var f deployFlags
	var like, name string
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "run -- COMMAND...",
		Short: "Run a task once, show its output, and exit as it did",
		Long: "Run a task once with the task definition, network and launch type of a service. Its output is shown as it\n" +
			"comes, and its exit code believed: anything but 0 is exit code 1. Ctrl-C stops it.",
		Example: `  bake ecs run --cluster prod --like api -- bin/migrate up
  bake ecs run --cluster prod --task-definition report:7 --like api
  bake ecs run --cluster prod --like api --image api:1.4.3 --env DRY_RUN=1 -- 'bin/check && bin/report'`,
		Args: arguments(0, -1),
		RunE: func(cmd *cobra.Command, args []string) error {
			once := map[string]any{"timeout": timeout.String()}
			var command []any
			for _, arg := range args {
				command = append(command, literal(arg))
			}
			if len(command) > 0 {
				once["command"] = command
			}
			if name != "" {
				once["name"] = name
			}
			if f.task != "" && len(command) == 0 {
				once["task_definition"] = f.task
			}
			if len(command) == 0 && f.task == "" {
				return usagef("bake ecs run --like SERVICE -- COMMAND", "there is nothing to run")
			}
			if err := f.apply(cmd, nil); err != nil {
				return err
			}
			if like != "" {
				f.set["like"] = like
			}
			f.set["before"] = []any{once}
			return a.ecsDeploy(cmd.Context(), &f.ecsFlags)
		},
	}
	a.awsFlags(cmd)
	a.ecsRunFlags(cmd, &f)
	f.set = map[string]any{}
	fs := cmd.Flags()
	fs.StringVarP(&f.cluster, "cluster", "c", "", "`CLUSTER`, name or ARN; default: the one called default")
	fs.StringVar(&like, "like", "", "run it as the tasks of this `SERVICE` are run")
	fs.StringVar(&f.task, "task-definition", "", "`FILE` or FAMILY:REVISION; default: what the service runs")
	fs.StringArrayVar(&f.images, "image", nil, "run this `IMAGE` instead, or CONTAINER=IMAGE (repeatable)")
	fs.StringArrayVar(&f.env, "env", nil, "set a variable: `KEY=VALUE` (repeatable)")
	fs.StringVar(&f.container, "container", "", "`NAME` of the container that runs the command")
	fs.StringVar(&name, "name", "", "`NAME` of the task in the log")
	fs.DurationVar(&timeout, "timeout", 30*time.Minute, "stop it after this `TIME`")
	return cmd
}

func (a *app) ecsWaitCommand() *cobra.Command {
	var f ecsFlags
	var limit time.Duration
	cmd := &cobra.Command{
		Use:   "wait [TEMPLATE]",
		Short: "Follow the deployment that a service is in",
		Long:  "Follow the deployment that a service is in, whoever began it. Ctrl-C ends the command, not the deployment.",
		Example: `  bake ecs wait --cluster prod --service api
  bake ecs wait api.yaml --limit 20m`,
		Args: arguments(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withECS(cmd, &f, args, func(ctx context.Context, out *ecsOut, c *ecsClient) error {
				s, err := c.Wait(ctx, a.teller(), out.Service, limit)
				if err != nil {
					return a.tellFailure(err)
				}
				if a.flags.output == "json" {
					return a.printJSON(s)
				}
				fmt.Fprintf(a.stdout, "service %s serves %s (%d of %d running)\n", s.Service, s.Revision, s.Running, s.Desired)
				return nil
			})
		},
	}
	a.ecsLookFlags(cmd, &f)
	cmd.Flags().DurationVar(&limit, "limit", 10*time.Minute, "give up after this `TIME`; the deployment goes on")
	return cmd
}
