package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"bake/builder"
	"bake/builder/journal"
	"bake/internal/redact"
	"bake/templates"
)

func (a *app) resumeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "resume [RUN]",
		Short: "Go on with a run that failed, was interrupted or was killed",
		Long: "Go on with a run where its journal ends. RUN is an id, a unique part of one, or \"last\" (the default).\n" +
			"Sensitive variables are not kept: set them again the way the run got them.",
		Example: `  bake resume                              the last run
  bake resume 20260730-1412 --on-error keep
  bake resume last --var token=...         a sensitive variable, which no run keeps`,
		Args: arguments(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			name := "last"
			if len(args) > 0 {
				name = args[0]
			}
			return a.resume(cmd.Context(), name)
		},
	}
	f := cmd.Flags()
	f.StringArrayVar(&a.flags.vars, "var", nil, "set a sensitive variable again: `NAME=VALUE`")
	a.outputFlag(cmd, "text|plain|json|github")
	f.IntVar(&a.flags.parallel, "parallel", 0, "at most `N` builds at once; 0: as this machine allows")
	a.onErrorFlag(cmd)
	return cmd
}

func (a *app) resume(ctx context.Context, name string) error {
	dir, err := findRun(name)
	if err != nil {
		return err
	}
	req, err := dir.request()
	if err != nil {
		return err
	}
	plan, over, err := journaled(dir)
	if err != nil {
		return err
	}
	if over {
		fmt.Fprintf(a.stderr, "run %s is over: there is nothing to go on with\n", dir.id())
		return nil
	}
	a.flags.engine, a.flags.only, a.flags.noCache, a.flags.sandbox = req.Engine, req.Only, req.NoCache, req.Sandbox
	a.flags.varFiles = append(req.VarFiles, a.flags.varFiles...)
	for name, value := range req.Vars {
		a.flags.vars = append([]string{name + "=" + value}, a.flags.vars...)
	}
	w, err := a.wire()
	if err != nil {
		return err
	}
	defer w.close()
	r, err := a.takeUp(ctx, dir, req, plan, w)
	if err != nil {
		return err
	}
	if code := runCode(r.do(ctx)); code != exitDone {
		return exitError(code)
	}
	return nil
}

// takeUp reads the template again, for its secrets, and wants it to mean what
// it meant when the run began.
func (a *app) takeUp(ctx context.Context, dir runDir, req request, plan *builder.Plan, w *wiring) (*run, error) {
	opts, err := a.options(req.Template, dir.id(), req.Started)
	if err != nil {
		return nil, err
	}
	l, err := a.loadAgain(ctx, req, plan, w, opts)
	if err != nil {
		return nil, err
	}
	r := &run{app: a, wiring: w, id: dir.id(), file: req.Template, loaded: l, req: req, dir: dir, redactor: redact.New(l.template.Env.Secrets())}
	if err := os.MkdirAll(dir.work(), 0o700); err != nil {
		return nil, err
	}
	if plan == nil {
		return r, nil // it was killed before it began
	}
	l.plan.PinAs(plan)
	engine := &builder.Engine{Catalog: w.catalog, Journal: noJournal{}, Sink: noSink{}, Env: l.template.Env}
	if err := engine.Pin(ctx, dir.id(), l.plan); err != nil {
		return nil, err
	}
	if changed := builder.Changed(plan, l.plan); changed != "" {
		return nil, usagef(fmt.Sprintf("`bake %s` builds it as it is now, and reuses what is cached", req.Template),
			"run %s cannot go on: %s has changed since it began", dir.id(), changed)
	}
	r.resumed = true
	return r, nil
}

// loadAgain reads the template of a run that began before.
func (a *app) loadAgain(ctx context.Context, req request, plan *builder.Plan, w *wiring, opts templates.Options) (loaded, error) {
	q := req.Release
	if req.Deploy != nil {
		return req.Deploy.load(a, req.Template, w, opts)
	}
	if q == nil {
		return a.load(req.Template, w.catalog, opts)
	}
	var l loaded
	var err error
	if q.Text != "" {
		l, err = a.loadText(releaseName, q.Text, w.catalog, opts)
	} else {
		l, err = a.load(req.Template, w.catalog, opts)
	}
	if err != nil {
		return l, err
	}
	return l, q.again(ctx, l.plan, plan, w)
}

// journaled returns the plan that a run began with, nil if it was killed before
// that, and whether it ended well.
func journaled(dir runDir) (plan *builder.Plan, over bool, err error) {
	entries, err := journal.Read(dir.journal())
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(entries) == 0 {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("reading run %s: %w", dir.id(), err)
	}
	last := entries[len(entries)-1]
	return entries[0].Plan, last.Kind == builder.Ended && last.Err == "", nil
}
