package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"bake/steps/amazon/ecs"
)

type (
	ecsOut    = ecs.Output
	ecsClient = ecs.Client
)

// tellFailure prints a deployment that failed as JSON, where that is asked for.
func (a *app) tellFailure(err error) error {
	if failed, ok := errors.AsType[*ecs.DeploymentError](err); ok && a.flags.output == "json" {
		if jerr := a.printJSON(failed); jerr != nil {
			return jerr
		}
	}
	return err
}

// ecsLook is a command that prints what it found out about a service.
func (a *app) ecsLook(use, short, example string, do func(context.Context, *ecsOut, *ecsClient) error) *cobra.Command {
	var f ecsFlags
	var images []string
	cmd := &cobra.Command{
		Use: use + " [TEMPLATE]", Short: short, Example: example, Args: arguments(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			d := deployFlags{ecsFlags: f, images: images}
			if err := d.apply(cmd, nil); err != nil {
				return err
			}
			return a.withECS(cmd, &f, args, do)
		},
	}
	a.ecsLookFlags(cmd, &f)
	cmd.Flags().StringArrayVar(&images, "image", nil, "as if this `IMAGE` were deployed, or CONTAINER=IMAGE (repeatable)")
	return cmd
}

func (a *app) ecsDiffCommand() *cobra.Command {
	return a.ecsLook("diff", "Show what a deployment would change; exit code 4 if anything", `  bake ecs diff api.yaml
  bake ecs diff api.yaml --image api:1.4.3 --output json`, func(ctx context.Context, out *ecsOut, _ *ecsClient) error {
		p, err := out.Preview(ctx, a.teller(), nil)
		if err != nil {
			return err
		}
		if a.flags.output == "json" {
			err = a.printJSON(p)
		} else {
			err = printPreview(a.stdout, p)
		}
		if err == nil && !p.Empty() {
			return exitError(exitDiffers)
		}
		return err
	})
}

func printPreview(w io.Writer, p ecs.Preview) error {
	if p.New {
		fmt.Fprintf(w, "+ service %s in cluster %s\n", p.Service, p.Cluster)
	}
	if err := ecs.WriteDifferences(w, p.Task); err != nil {
		return err
	}
	return ecs.WriteDifferences(w, p.Fields)
}

func (a *app) ecsVerifyCommand() *cobra.Command {
	return a.ecsLook("verify", "Look at everything that a deployment needs, and change nothing", `  bake ecs verify api.yaml
  bake ecs verify --cluster prod --service api --output json`, func(ctx context.Context, out *ecsOut, _ *ecsClient) error {
		checks, err := out.Verify(ctx, a.teller(), nil)
		if err != nil {
			return err
		}
		if a.flags.output == "json" {
			err = a.printJSON(checks)
		} else {
			err = printChecks(a.stdout, checks)
		}
		if err != nil {
			return err
		}
		for _, c := range checks {
			if c.Result == ecs.NG {
				return exitError(exitFailed)
			}
		}
		return nil
	})
}

func printChecks(out io.Writer, checks []ecs.Check) error {
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	for _, c := range checks {
		fmt.Fprintf(w, "%s\t%s\t%s\n", c.Result, c.Subject, c.Reason)
		if c.Cure != "" {
			fmt.Fprintf(w, "\t\thint: %s\n", c.Cure)
		}
	}
	return w.Flush()
}

func (a *app) ecsRenderCommand() *cobra.Command {
	return a.ecsLook("render", "Print the task definition and the service as AWS would get them", "  bake ecs render api.yaml --image api:1.4.3\n  bake ecs render --cluster prod --service api > calls.json",
		func(ctx context.Context, out *ecsOut, _ *ecsClient) error {
			calls, err := out.Render(ctx, a.teller(), nil)
			if err != nil {
				return err
			}
			return a.printJSON(calls)
		})
}

func (a *app) ecsInitCommand() *cobra.Command {
	var f ecsFlags
	var dir string
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Write a template and a task definition from a service that exists",
		Example: `  bake ecs init --cluster prod --service api
  bake ecs init --cluster prod --service api --dir deploy/`,
		Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withECS(cmd, &f, nil, func(ctx context.Context, out *ecsOut, c *ecsClient) error {
				return a.ecsInit(ctx, out, c, dir)
			})
		},
	}
	a.ecsLookFlags(cmd, &f)
	cmd.Flags().StringVar(&dir, "dir", ".", "`FOLDER` to write to")
	return cmd
}

func (a *app) ecsInit(ctx context.Context, out *ecsOut, c *ecsClient, dir string) error {
	task := out.Service + ".task.json"
	files, err := c.Init(ctx, out.Service, task)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	var written []string
	for _, file := range []struct{ name, text string }{{out.Service + ".yaml", files.Template}, {task, files.TaskDefinition}} {
		path := filepath.Join(dir, file.name)
		w, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
		if err != nil {
			return usagef("move it away, or write to another folder with --dir", "%w", err)
		}
		_, err = w.WriteString(file.text)
		if err = errors.Join(err, w.Close()); err != nil {
			return err
		}
		written = append(written, path)
	}
	if a.flags.output == "json" {
		return a.printJSON(map[string]any{"files": written})
	}
	fmt.Fprintf(a.stdout, "%s\n", strings.Join(written, "\n"))
	return nil
}

func (a *app) ecsStatusCommand() *cobra.Command {
	return a.ecsLook("status", "Show how a service stands", `  bake ecs status --cluster prod --service api
  bake ecs status api.yaml --output json`, func(ctx context.Context, out *ecsOut, c *ecsClient) error {
		s, err := c.Status(ctx, out.Service)
		if err != nil {
			return err
		}
		if a.flags.output == "json" {
			return a.printJSON(s)
		}
		return printStatus(a.stdout, s)
	})
}

func printStatus(out io.Writer, s ecs.Status) error {
	fmt.Fprintf(out, "service %s in cluster %s: %s, %s, %d of %d running", s.Service, s.Cluster, strings.ToLower(s.Status), s.Revision, s.Running, s.Desired)
	if s.Good != "" && s.Good != s.Revision {
		fmt.Fprintf(out, "; last good: %s", s.Good)
	}
	fmt.Fprintln(out)
	for _, d := range s.Deployments {
		fmt.Fprintf(out, "  %s\n", d)
	}
	if g := s.Stage; g != nil {
		fmt.Fprintf(out, "  stage %s\n", g)
	}
	for _, serving := range s.Serving {
		for name, image := range serving.Images {
			fmt.Fprintf(out, "  %s %s: %s\n", serving.Revision, name, image)
		}
	}
	for _, t := range s.Targets {
		fmt.Fprintf(out, "  target %s in %s: %s %s\n", t.Target, t.TargetGroup, t.State, t.Reason)
	}
	for _, e := range s.Events {
		fmt.Fprintf(out, "  %s  %s\n", when(e.Time), e.Text)
	}
	return nil
}

func (a *app) ecsLogsCommand() *cobra.Command {
	var f ecsFlags
	q := ecs.LogQuery{}
	var since time.Duration
	cmd := &cobra.Command{
		Use:   "logs [TEMPLATE]",
		Short: "Show what the containers of a service or task write",
		Example: `  bake ecs logs --cluster prod --service api --follow
  bake ecs logs api.yaml --since 15m --filter ERROR --container api
  bake ecs logs --cluster prod --task 1f2e3d`,
		Args: arguments(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			look := func(ctx context.Context, c *ecsClient) error {
				q.Service = f.service
				if since > 0 {
					q.Since = a.now().Add(-since)
				}
				return c.Logs(ctx, q, a.printLine)
			}
			if q.Task != "" && len(args) == 0 {
				return a.withCluster(cmd, &f, look)
			}
			return a.withECS(cmd, &f, args, func(ctx context.Context, out *ecsOut, c *ecsClient) error {
				f.service = out.Service
				return look(ctx, c)
			})
		},
	}
	a.ecsLookFlags(cmd, &f)
	fs := cmd.Flags()
	fs.BoolVarP(&q.Follow, "follow", "f", false, "go on as more is written")
	fs.DurationVar(&since, "since", 0, "only lines of the last `TIME`, like 15m")
	fs.StringVar(&q.Filter, "filter", "", "only lines that fit this CloudWatch Logs `PATTERN`")
	fs.StringVar(&q.Container, "container", "", "only of the container of this `NAME`")
	fs.StringVar(&q.Task, "task", "", "only of this `TASK`: its id, or the beginning of it")
	return cmd
}

func (a *app) printLine(l ecs.LogLine) {
	if a.flags.output == "json" {
		_ = a.printJSON(l) // a reader that went away ends the command by a signal
		return
	}
	fmt.Fprintf(a.stdout, "%s %.8s %s | %s\n", when(l.Time), l.Task, l.Container, l.Text)
}
