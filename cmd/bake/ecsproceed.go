package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"bake/steps/amazon/ecs"
)

func (a *app) ecsContinueCommand() *cobra.Command {
	var f ecsFlags
	var hook string
	var back bool
	cmd := &cobra.Command{
		Use:   "continue [TEMPLATE]",
		Short: "Let a deployment go on that is paused by a lifecycle hook, or send it back",
		Long: "Let the deployment go on that a service is in and that a PAUSE lifecycle hook holds up, or send it back to\n" +
			"the revision before. `bake ecs status` shows whether it is paused, and since when the stage lasts.",
		Example: `  bake ecs continue --cluster prod --service api
  bake ecs continue api.yaml && bake ecs wait api.yaml
  bake ecs continue --cluster prod --service api --rollback`,
		Args: arguments(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			action := ecs.GoOn
			if back {
				action = ecs.GoBack
			}
			return a.proceed(cmd, &f, args, func(ctx context.Context, service string, c *ecsClient) (ecs.Proceeding, error) {
				return c.Continue(ctx, service, hook, action)
			})
		},
	}
	a.ecsLookFlags(cmd, &f)
	cmd.Flags().StringVar(&hook, "hook", "", "answer only the hook with this `ID`; default: all that wait")
	cmd.Flags().BoolVar(&back, "rollback", false, "let it go back instead")
	return cmd
}

func (a *app) ecsStopCommand() *cobra.Command {
	var f ecsFlags
	var abort bool
	cmd := &cobra.Command{
		Use:   "stop [TEMPLATE]",
		Short: "End the deployment that a service is in: the service goes back to the revision before",
		Long: "End the deployment that a service is in, whoever began it. The service goes back to the revision before;\n" +
			"with --abort it stays as it is at that moment, with tasks of both.",
		Example: `  bake ecs stop --cluster prod --service api
  bake ecs stop api.yaml --abort`,
		Args: arguments(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			how := ecs.GoBack
			if abort {
				how = ecs.Abort
			}
			return a.proceed(cmd, &f, args, func(ctx context.Context, service string, c *ecsClient) (ecs.Proceeding, error) {
				return c.StopDeployment(ctx, service, how)
			})
		},
	}
	a.ecsLookFlags(cmd, &f)
	cmd.Flags().BoolVar(&abort, "abort", false, "do not go back")
	return cmd
}

// proceed tells a deployment how to go on, and the user what was told.
func (a *app) proceed(cmd *cobra.Command, f *ecsFlags, args []string, tell func(context.Context, string, *ecsClient) (ecs.Proceeding, error)) error {
	return a.withECS(cmd, f, args, func(ctx context.Context, out *ecsOut, c *ecsClient) error {
		p, err := tell(ctx, out.Service, c)
		if err != nil {
			return err
		}
		if a.flags.output == "json" {
			return a.printJSON(p)
		}
		does := map[ecs.Action]string{ecs.GoOn: "goes on", ecs.GoBack: "goes back", ecs.Abort: "is ended where it is"}[p.Action]
		short := p.Deployment[strings.LastIndexByte(p.Deployment, '/')+1:]
		fmt.Fprintf(a.stdout, "deployment %s of service %s %s\n", short, p.Service, does)
		return nil
	})
}
