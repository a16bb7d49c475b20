package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"bake/steps/amazon/ecs"
)

func (a *app) ecsTasksCommand() *cobra.Command {
	var f ecsFlags
	var all bool
	cmd := &cobra.Command{
		Use:   "tasks",
		Short: "List tasks of a service or a cluster; stop and restart them",
		Example: `  bake ecs tasks --cluster prod
  bake ecs tasks --cluster prod --service api --all      also those that stopped within the last hour, and why
  bake ecs tasks stop 1f2e3d --cluster prod --reason "leaks memory"`,
		Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withCluster(cmd, &f, func(ctx context.Context, c *ecsClient) error {
				list := c.AllTasks
				if !all {
					list = func(ctx context.Context, s string) ([]ecs.RunningTask, error) { return c.Tasks(ctx, s) }
				}
				tasks, err := list(ctx, f.service)
				if err != nil {
					return err
				}
				if a.flags.output == "json" {
					return a.printJSON(tasks)
				}
				return printTasks(a.stdout, tasks)
			})
		},
	}
	a.ecsLookFlags(cmd, &f)
	cmd.Flags().BoolVar(&all, "all", false, "also tasks that have stopped")
	cmd.AddCommand(a.ecsTasksStopCommand(), a.ecsTasksRestartCommand(), a.ecsTasksShowCommand())
	return cmd
}

func printTasks(out io.Writer, tasks []ecs.RunningTask) error {
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "TASK\tREVISION\tSTATUS\tHEALTH\tADDRESS\tGROUP\tCREATED\tWHY IT STOPPED")
	for _, t := range tasks {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", t.ID, t.Revision, t.Status, t.Health, t.Address, t.Group, when(t.Created), t.Reason)
	}
	return w.Flush()
}

func (a *app) ecsTasksShowCommand() *cobra.Command {
	var f ecsFlags
	cmd := &cobra.Command{
		Use:     "show TASK",
		Short:   "Show everything about a task, as JSON",
		Example: "  bake ecs tasks show 1f2e3d --cluster prod\n  bake ecs tasks show 1f2e3d --cluster prod | jq .containers",
		Args:    arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withCluster(cmd, &f, func(ctx context.Context, c *ecsClient) error {
				t, err := c.Task(ctx, args[0])
				if err != nil {
					return err
				}
				return a.printJSON(t)
			})
		},
	}
	a.ecsLookFlags(cmd, &f)
	return cmd
}

func (a *app) ecsTasksStopCommand() *cobra.Command {
	var f ecsFlags
	var reason string
	cmd := &cobra.Command{
		Use:   "stop TASK...",
		Short: "Stop tasks, and wait until they have stopped",
		Long:  "Stop tasks. A service starts others in their place: `bake ecs scale` and `bake ecs services destroy` do not.",
		Example: `  bake ecs tasks stop 1f2e3d --cluster prod --reason "leaks memory"
  bake ecs tasks stop 1f2e3d 4a5b6c --cluster prod`,
		Args: arguments(1, -1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withCluster(cmd, &f, func(ctx context.Context, c *ecsClient) error {
				if err := c.Stop(ctx, args, reason); err != nil {
					return err
				}
				if a.flags.output == "json" {
					return a.printJSON(map[string]any{"stopped": args})
				}
				fmt.Fprintf(a.stdout, "stopped %s\n", strings.Join(args, " "))
				return nil
			})
		},
	}
	a.ecsLookFlags(cmd, &f)
	cmd.Flags().StringVar(&reason, "reason", "stopped with bake", "`WHY`, as AWS keeps it")
	return cmd
}

func (a *app) ecsTasksRestartCommand() *cobra.Command {
	var f deployFlags
	cmd := &cobra.Command{
		Use:     "restart [TEMPLATE]",
		Short:   "Replace all tasks of a service, a few at a time (the same as `bake ecs refresh`)",
		Example: "  bake ecs tasks restart --cluster prod --service api\n  bake ecs tasks restart api.yaml --wait 20m",
		Args:    arguments(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.ecsAgain(cmd, &f, args, map[string]any{"force": true})
		},
	}
	a.ecsAgainFlags(cmd, &f)
	return cmd
}

func (a *app) ecsRevisionsCommand() *cobra.Command {
	var f ecsFlags
	var family string
	var keep, limit int
	var remove bool
	cmd := &cobra.Command{
		Use:   "revisions",
		Short: "List the revisions of a task definition, with what uses them; prune old ones",
		Example: `  bake ecs revisions --cluster prod --service api
  bake ecs revisions --family api --keep 20             deregister all but the newest 20 and those in use
  bake ecs revisions --family api --keep 20 --delete    and delete what was deregistered`,
		Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if family == "" && f.service == "" {
				return usagef("--family NAME, or --service SERVICE", "no task definition is named")
			}
			return a.withCluster(cmd, &f, func(ctx context.Context, c *ecsClient) error {
				if family == "" {
					var err error
					if family, err = c.Family(ctx, f.service); err != nil {
						return err
					}
				}
				if !cmd.Flags().Changed("keep") {
					all, err := c.Revisions(ctx, family, limit)
					return a.printRevisions(all, err)
				}
				gone, err := c.Prune(ctx, family, keep, remove)
				return a.printRevisions(gone, err)
			})
		},
	}
	a.ecsLookFlags(cmd, &f)
	fs := cmd.Flags()
	fs.StringVar(&family, "family", "", "`FAMILY` of the task definition; default: the service's")
	fs.IntVar(&limit, "limit", 25, "list at most `N`, the newest; 0: all")
	fs.IntVar(&keep, "keep", 0, "deregister all but the newest `NUMBER` and those that something uses")
	fs.BoolVar(&remove, "delete", false, "with --keep: also delete what was deregistered")
	return cmd
}

func (a *app) printRevisions(all []ecs.Revision, err error) error {
	if err != nil {
		return err
	}
	if a.flags.output == "json" {
		return a.printJSON(all)
	}
	w := tabwriter.NewWriter(a.stdout, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "REVISION\tREGISTERED\tUSED BY\tIMAGES")
	for _, r := range all {
		var images []string
		for name, image := range r.Images {
			images = append(images, name+"="+image)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", r.Name, when(r.Registered), strings.Join(r.Uses, ", "), strings.Join(images, " "))
	}
	return w.Flush()
}
