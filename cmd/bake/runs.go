package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"bake/builder/journal"
	"bake/builder/report"
)

func (a *app) runsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:        "runs",
		SuggestFor: []string{"history", "list", "ls"},
		Short:      "List the runs that are kept here",
		Long: "List the runs that are kept in " + runsDir + " of the folder that bake is started in, newest first: their\n" +
			"journals, logs and reports. `bake clean --runs` removes those that are over.",
		Example: `  bake runs
  bake runs --output json | jq -r '.[] | select(.status == "failed") | .id'`,
		Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, args []string) error { return a.runs() },
	}
	a.outputFlag(cmd, "text|json")
	return cmd
}

func (a *app) runs() error {
	all, err := report.ReadRuns(runsDir)
	if err != nil {
		return err
	}
	for _, r := range all { // a run whose process is gone says "running" for ever
		if r.Status == report.Running && !journal.Locked(runDir(r.Dir).journal()) {
			r.Status = report.Interrupted
		}
	}
	if a.flags.output == "json" {
		if all == nil {
			all = []*report.Run{} // a list for jq, not null
		}
		return json.NewEncoder(a.stdout).Encode(all)
	}
	if len(all) == 0 {
		fmt.Fprintf(a.stderr, "no runs in %s\n", runsDir)
		return nil
	}
	return report.List(a.stdout, all, time.Local)
}

func (a *app) logsCommand() *cobra.Command {
	var follow bool
	cmd := &cobra.Command{
		Use:        "logs [RUN [STEP]]",
		SuggestFor: []string{"log", "tail"},
		Short:      "Print what the steps of a run said",
		Long: "Print the log of a run, or of one of its steps. RUN is an id, a unique part of one, or \"last\" (the default).\n" +
			"STEP is a step's number or id, or a build: then all of its steps.",
		Example: `  bake logs
  bake logs --follow                what the last run says while it runs, to its end
  bake logs last web/provision/3
  bake logs 20260730-1412 web       all steps of one build`,
		Args: arguments(0, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			args = append(args, "", "")[:2]
			return a.logs(cmd.Context(), cmp.Or(args[0], "last"), args[1], follow)
		},
	}
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on as more is said, until the run ends")
	return cmd
}

func (a *app) logs(parent context.Context, name, step string, follow bool) error {
	dir, err := findRun(name)
	if err != nil {
		return err
	}
	if follow {
		return a.followLogs(parent, dir, step)
	}
	r, err := report.ReadRun(string(dir))
	if err != nil {
		return err
	}
	return report.Logs(a.stdout, r, step)
}

// followLogs shows what a run says until it ends. How the run ends is told, but
// is not how this command ends: that is for who only watches.
func (a *app) followLogs(parent context.Context, dir runDir, step string) error {
	ctx, stop := interruptible(parent, func() { os.Exit(exitInterrupted) })
	defer stop()
	r, err := report.Follow(ctx, a.stdout, string(dir), step, func() bool { return journal.Locked(dir.journal()) })
	if err != nil {
		return err
	}
	fmt.Fprintf(a.stderr, "run %s: %s\n", r.ID, r.Status)
	return nil
}

func (a *app) reportCommand() *cobra.Command {
	var to string
	cmd := &cobra.Command{
		Use:   "report [RUN]",
		Short: "Write a run's report as one HTML page",
		Long: "Write a run's report as one HTML page that needs nothing beside it: what was built from what, every\n" +
			"step with its time and its log. RUN is an id, a unique part of one, or \"last\" (the default).",
		Example: `  bake report                     into .bake/runs/ID/report.html
  bake report last --to out.html`,
		Args: arguments(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			name := "last"
			if len(args) > 0 {
				name = args[0]
			}
			return a.report(name, to)
		},
	}
	cmd.Flags().StringVar(&to, "to", "", "write to this `FILE` (- is stdout)")
	return cmd
}

func (a *app) report(name, to string) error {
	dir, err := findRun(name)
	if err != nil {
		return err
	}
	r, err := report.ReadRun(string(dir))
	if err != nil {
		return err
	}
	if to == "-" {
		return report.HTML(a.stdout, r)
	}
	if to == "" {
		to = dir.file("report.html")
	}
	f, err := os.Create(to)
	if err != nil {
		return fmt.Errorf("writing report: %w", err)
	}
	if err := report.HTML(f, r); err != nil {
		return fmt.Errorf("writing report: %w", err)
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("writing report: %w", err)
	}
	fmt.Fprintln(a.stdout, to)
	return nil
}
