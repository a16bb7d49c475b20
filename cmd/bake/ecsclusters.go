package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"bake/steps/amazon/ecs"
)

func (a *app) ecsClustersCommand() *cobra.Command {
	cmd := a.ecsCluster("clusters", "List clusters; create, describe and destroy them", `  bake ecs clusters
  bake ecs clusters create prod
  bake ecs clusters destroy prod --services --yes`, false, func(ctx context.Context, c *ecsClient) error {
		all, err := c.Clusters(ctx)
		if err != nil {
			return err
		}
		return a.printClusters(all)
	})
	var providers, tags []string
	create := a.ecsCluster("create NAME", "Make a cluster; one that is there stays as it is", "  bake ecs clusters create prod\n  bake ecs clusters create prod --tag team=web", true, func(ctx context.Context, c *ecsClient) error {
		all := map[string]string{}
		pairs, err := pairs("--tag", tags)
		if err != nil {
			return err
		}
		for k, v := range pairs {
			all[k] = v.(string)
		}
		made, err := c.CreateCluster(ctx, providers, all)
		if err != nil {
			return err
		}
		return a.printClusters([]ecs.Cluster{made})
	})
	create.Flags().StringSliceVar(&providers, "capacity-providers", nil, "`PROVIDERS` of the cluster; default: FARGATE,FARGATE_SPOT")
	create.Flags().StringArrayVar(&tags, "tag", nil, "tag the cluster: `KEY=VALUE` (repeatable)")
	describe := a.ecsCluster("describe NAME", "Show a cluster", "  bake ecs clusters describe prod\n  bake ecs clusters describe prod --output json", true, func(ctx context.Context, c *ecsClient) error {
		k, err := c.DescribeCluster(ctx)
		if err != nil {
			return err
		}
		return a.printClusters([]ecs.Cluster{k})
	})
	var services bool
	destroy := a.ecsCluster("destroy NAME", "Delete a cluster", "  bake ecs clusters destroy test\n  bake ecs clusters destroy test --services --yes", true, func(ctx context.Context, c *ecsClient) error {
		if err := a.confirm("cluster", c.Cluster); err != nil {
			return err
		}
		if err := c.DestroyCluster(ctx, a.teller(), services); err != nil {
			return err
		}
		return a.printGone("cluster", c.Cluster)
	})
	destroy.Flags().BoolVar(&services, "services", false, "delete its services first")
	destroy.Flags().BoolVarP(&a.flags.yes, "yes", "y", false, "do not ask")
	cmd.AddCommand(create, describe, destroy)
	return cmd
}

// ecsCluster is a command on clusters; named ones take the cluster as argument.
func (a *app) ecsCluster(use, short, example string, named bool, do func(context.Context, *ecsClient) error) *cobra.Command {
	f := ecsFlags{set: map[string]any{}}
	n := 0
	if named {
		n = 1
	}
	cmd := &cobra.Command{
		Use: use, Short: short, Example: example, Args: arguments(n, n),
		RunE: func(cmd *cobra.Command, args []string) error {
			if named {
				f.cluster = args[0]
			}
			return a.withCluster(cmd, &f, do)
		},
	}
	a.awsFlags(cmd)
	a.outputFlag(cmd, "text|json")
	return cmd
}

func (a *app) printClusters(all []ecs.Cluster) error {
	if a.flags.output == "json" {
		return a.printJSON(all)
	}
	w := tabwriter.NewWriter(a.stdout, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "CLUSTER\tSTATUS\tSERVICES\tRUNNING\tPENDING\tINSTANCES\tPROVIDERS")
	for _, c := range all {
		fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%d\t%d\t%s\n", c.Name, c.Status, c.Services, c.Running, c.Pending, c.Instances, strings.Join(c.Providers, " "))
	}
	return w.Flush()
}

// confirm asks before something is deleted, unless --yes says so already.
func (a *app) confirm(what, name string) error {
	if a.flags.yes {
		return nil
	}
	if !isTerminal(a.stdin) {
		return usagef("--yes answers for you", "deleting %s %s needs an answer, and there is no terminal to ask on", what, name)
	}
	fmt.Fprintf(a.stderr, "type %q to delete this %s: ", name, what)
	line, err := bufio.NewReader(a.stdin).ReadString('\n')
	if err != nil && err != io.EOF {
		return err
	}
	if strings.TrimSpace(line) != name {
		return usagef("", "%s %s stays", what, name)
	}
	return nil
}

func (a *app) printGone(what, name string) error {
	if a.flags.output == "json" {
		return a.printJSON(map[string]any{"deleted": name})
	}
	fmt.Fprintf(a.stdout, "deleted %s %s\n", what, name)
	return nil
}

func (a *app) ecsServicesCommand() *cobra.Command {
	var f ecsFlags
	cmd := &cobra.Command{
		Use:   "services",
		Short: "List the services of a cluster; describe, create and destroy them",
		Example: `  bake ecs services --cluster prod
  bake ecs services describe api --cluster prod
  bake ecs services create api.yaml --image api:1.4.2     (the same as bake ecs deploy)
  bake ecs services destroy api --cluster prod --yes`,
		Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withCluster(cmd, &f, func(ctx context.Context, c *ecsClient) error {
				all, err := c.Services(ctx)
				if err != nil {
					return err
				}
				if a.flags.output == "json" {
					return a.printJSON(all)
				}
				return printServices(a.stdout, all)
			})
		},
	}
	a.ecsLookFlags(cmd, &f)
	create := a.ecsDeployCommand()
	create.Use = "create [TEMPLATE]"
	cmd.AddCommand(create, a.ecsServiceCommand("describe", "Show how a service stands", func(ctx context.Context, c *ecsClient, name string) error {
		s, err := c.Status(ctx, name)
		if err != nil {
			return err
		}
		if a.flags.output == "json" {
			return a.printJSON(s)
		}
		return printStatus(a.stdout, s)
	}))
	destroy := a.ecsServiceCommand("destroy", "Delete a service with its tasks, and wait until they have stopped", func(ctx context.Context, c *ecsClient, name string) error {
		if err := a.confirm("service", name); err != nil {
			return err
		}
		if err := c.DestroyService(ctx, name); err != nil {
			return err
		}
		return a.printGone("service", name)
	})
	destroy.Flags().BoolVarP(&a.flags.yes, "yes", "y", false, "do not ask")
	cmd.AddCommand(destroy)
	return cmd
}

func (a *app) ecsServiceCommand(verb, short string, do func(context.Context, *ecsClient, string) error) *cobra.Command {
	var f ecsFlags
	cmd := &cobra.Command{
		Use: verb + " SERVICE", Short: short, Example: "  bake ecs services " + verb + " api --cluster prod\n  bake ecs services " + verb + " api -c prod --region eu-west-1 --output json", Args: arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withCluster(cmd, &f, func(ctx context.Context, c *ecsClient) error { return do(ctx, c, args[0]) })
		},
	}
	f.set = map[string]any{}
	a.awsFlags(cmd)
	a.outputFlag(cmd, "text|json")
	cmd.Flags().StringVarP(&f.cluster, "cluster", "c", "", "`CLUSTER`, name or ARN; default: the one called default")
	return cmd
}

func printServices(out io.Writer, all []ecs.Status) error {
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "SERVICE\tREVISION\tDESIRED\tRUNNING\tPENDING\tON\tROLLOUT")
	for _, s := range all {
		rollout := ""
		if len(s.Deployments) > 0 {
			rollout = strings.ToLower(s.Deployments[0].Rollout)
		}
		fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%d\t%s\t%s\n", s.Service, s.Revision, s.Desired, s.Running, s.Pending, s.Launch, rollout)
	}
	return w.Flush()
}
