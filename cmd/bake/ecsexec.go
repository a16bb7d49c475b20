package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"bake/steps/amazon/ecs"
)

func (a *app) ecsExecCommand() *cobra.Command {
	var f ecsFlags
	var container string
	var direct bool
	cmd := &cobra.Command{
		Use:   "exec TASK [-- COMMAND...]",
		Short: "Run a command in a container, or open a shell in it",
		Long: "Run a command in a container of a task that runs, over Session Manager, and exit as it did. Without a\n" +
			"command a shell is opened; what stands on stdin is its script if that is no terminal. The service must\n" +
			"allow it (`execute_command: true`); no plugin is needed.",
		Example: `  bake ecs exec 1f2e3d --cluster prod
  bake ecs exec 1f2e3d --cluster prod --container api -- cat /etc/hosts
  bake ecs exec 1f2e3d --cluster prod -- 'bin/check && bin/report' >report.txt
  bake ecs exec 1f2e3d --cluster prod --direct -- /tool --version     in an image without /bin/sh`,
		Args: arguments(1, -1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if direct && len(args) == 1 {
				return usagef("bake ecs exec TASK --direct -- COMMAND...", "there is nothing to run")
			}
			return a.withCluster(cmd, &f, func(ctx context.Context, c *ecsClient) error {
				v, err := a.errand(args[1:], direct)
				if err != nil {
					return err
				}
				return a.visitTask(ctx, c, args[0], container, v)
			})
		},
	}
	a.ecsTargetFlags(cmd, &f)
	cmd.Flags().StringVar(&container, "container", "", "`NAME` of the container; may be left out if there is only one")
	cmd.Flags().BoolVar(&direct, "direct", false, "run the command as it is, not by /bin/sh; its exit code is not known then")
	return cmd
}

// interactive is the terminal that the user sits at; nil if there is none.
func (a *app) interactive() *os.File {
	if in, ok := a.stdin.(*os.File); ok && isTerminal(in) && isTerminal(a.stdout) {
		return in
	}
	return nil
}

// errand is what is to be run.
func (a *app) errand(argv []string, direct bool) (ecs.Errand, error) {
	switch {
	case direct:
		return ecs.Direct(argv), nil
	case len(argv) > 0:
		return ecs.Run(argv), nil
	case a.interactive() != nil:
		return ecs.Shell(terminalName(a.getenv("TERM"))), nil
	}
	const most = 16 << 10 // a command line is no place for more
	script, err := io.ReadAll(io.LimitReader(a.stdin, most+1))
	if err != nil {
		return ecs.Errand{}, fmt.Errorf("reading the script on stdin: %w", err)
	}
	if len(script) > most || strings.TrimSpace(string(script)) == "" {
		return ecs.Errand{}, usagef("bake ecs exec TASK -- COMMAND, or a script on stdin of at most 16 KiB", "there is nothing to run, or too much")
	}
	return ecs.Run([]string{string(script)}), nil
}

// visitTask runs an errand in a container on this terminal, and exits as it did.
func (a *app) visitTask(ctx context.Context, c *ecsClient, task, container string, e ecs.Errand) error {
	s, err := c.Enter(ctx, task, container, e)
	if err != nil {
		return err
	}
	defer s.Close()
	defer context.AfterFunc(ctx, func() { s.Close() })()
	out := io.Writer(a.stdout)
	if !isTerminal(a.stdout) {
		out = &ecs.Lines{Out: a.stdout}
	}
	if in := a.interactive(); in != nil {
		before, err := term.MakeRaw(int(in.Fd()))
		if err != nil {
			return err
		}
		defer term.Restore(int(in.Fd()), before)
		defer watchSize(in, s.Resize)()
		go io.Copy(s, in) // ends with the process
	} else if err := s.Resize(24, 80); err != nil {
		return err
	}
	code, told, err := e.Output(out, s)
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		return fmt.Errorf("the session in task %s: %w", s.Task, err)
	case !told && e.Tells():
		return fmt.Errorf("the session in task %s ended before the command did", s.Task)
	case code != 0:
		return exitError(code)
	}
	return nil
}

// fit tells the other side how big this terminal is.
func fit(in *os.File, resize func(rows, cols int) error) {
	if cols, rows, err := term.GetSize(int(in.Fd())); err == nil {
		_ = resize(rows, cols) // a session that is over tells it to who reads
	}
}
