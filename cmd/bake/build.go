package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"bake/builder"
	"bake/builder/journal"
	"bake/builder/report"
	"bake/internal/redact"
	"bake/templates"
)

func (a *app) buildCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:        "build TEMPLATE...",
		SuggestFor: []string{"bake", "make", "apply", "create"},
		Short:      "Build what templates say (the same as `bake TEMPLATE...`)",
		Example: `  bake build web.yaml
  bake build web.yaml --only api --var version=1.4.2
  bake build web.yaml --on-error keep      leave the machine of a failed build for a look inside
  bake build web.yaml --output github      groups and annotations in GitHub Actions`,
		Args: arguments(1, -1),
		RunE: func(cmd *cobra.Command, args []string) error { return a.buildAll(cmd.Context(), args) },
	}
	a.buildFlags(cmd)
	return cmd
}

// buildAll builds templates one after another, each as a run of its own. All
// are read before the first is built. A failed run does not keep the others
// from being built, except an interrupted one.
func (a *app) buildAll(ctx context.Context, files []string) error {
	w, err := a.wire()
	if err != nil {
		return err
	}
	defer w.close()
	var runs []*run
	for _, file := range files {
		r, err := a.prepare(file, w)
		if err != nil {
			return err
		}
		runs = append(runs, r)
	}
	code := exitDone
	for _, r := range runs {
		err := r.do(ctx)
		if c := runCode(err); c != exitDone && (code == exitDone || code == exitLeft) {
			code = c
		}
		if errors.Is(err, errInterrupted) {
			break
		}
	}
	if code != exitDone {
		return exitError(code)
	}
	return nil
}

// A run is one template being built, from reading it to the exit code.
type run struct {
	*app
	wiring   *wiring
	id       builder.RunID
	file     string
	loaded   loaded
	redactor *redact.Redactor
	req      request
	dir      runDir
	resumed  bool
	kept     atomic.Bool // --on-error left a machine for a look inside
}

// prepare reads the template. Nothing has been made when it returns.
func (a *app) prepare(file string, w *wiring) (*run, error) {
	now := a.now()
	r := &run{app: a, wiring: w, file: file, id: newRunID(now)}
	opts, err := a.options(file, r.id, now)
	if err != nil {
		return nil, err
	}
	if r.loaded, err = a.load(file, w.catalog, opts); err != nil {
		return nil, err
	}
	r.redactor = redact.New(nil)
	if short := r.redactor.Add(r.loaded.template.Env.Secrets()...); short > 0 {
		fmt.Fprintf(a.stderr, "warning: %d sensitive values are too short to be kept out of logs\n", short)
	}
	r.req, err = a.request(file, opts, r.loaded.template)
	r.req.Started = now
	return r, err
}

func (a *app) request(file string, opts templates.Options, t *templates.Template) (request, error) {
	abs, err := filepath.Abs(file)
	if err != nil {
		return request{}, err
	}
	wd, err := os.Getwd()
	if err != nil {
		return request{}, err
	}
	where, err := a.absoluteSandbox()
	if err != nil {
		return request{}, err
	}
	req := request{Template: abs, Dir: wd, Vars: map[string]string{}, Engine: a.flags.engine, Only: a.flags.only, NoCache: a.flags.noCache, Sandbox: where}
	for name, value := range opts.Vars {
		if !t.Env.Sensitive(name) {
			req.Vars[name] = value
		}
	}
	for _, f := range opts.VarFiles {
		abs, err := filepath.Abs(f)
		if err != nil {
			return request{}, err
		}
		req.VarFiles = append(req.VarFiles, abs)
	}
	return req, nil
}

// do runs the plan and tells the story. What it returns has been told already.
func (r *run) do(parent context.Context) (err error) {
	if r.dir == "" {
		if r.dir, err = makeRunDir(r.id, r.req); err != nil {
			return r.tell(err)
		}
	}
	j, err := journal.Open(r.dir.journal())
	if err != nil {
		return r.tell(err)
	}
	defer j.Close()
	over, err := announce(r.id)
	if err != nil {
		return r.tell(err)
	}
	defer over()
	story := new(report.Collector)
	sink, err := r.sink(story)
	if err != nil {
		return r.tell(err)
	}
	engine := r.engine(j, sink)
	parent, unwatch := whileRead(parent)
	defer unwatch()
	ctx, stop := interruptible(parent, func() { r.stopNow(sink, j) })
	defer context.AfterFunc(ctx, func() {
		if errors.Is(context.Cause(ctx), errInterrupted) {
			sink.Emit(builder.Event{Time: r.now(), Run: r.id, Type: builder.Notice, Text: "interrupted: cleaning up; once more to stop at once"})
		}
	})()
	defer stop()
	r.asker.during(ctx.Done(), sink)
	defer r.asker.during(nil, nil)
	defer r.noticesTo(sink)()
	began := r.now()
	if err = r.pin(ctx, engine, sink); err == nil {
		_, err = engine.Run(ctx, r.id, r.loaded.plan)
	}
	if errors.Is(context.Cause(ctx), errInterrupted) {
		err = errors.Join(errInterrupted, err)
	}
	r.finish(sink, j, err, r.now().Sub(began))
	if r.flags.output != "json" {
		story.With(func(told *report.Run) { err = errors.Join(err, report.Results(r.stdout, told)) })
	}
	return err
}

func (r *run) tell(err error) error {
	exitCode(err, r.stderr, r.color())
	return err
}

// sink is the display, the files of the run, and in front of both the redactor.
func (r *run) sink(story builder.Sink) (report.Sink, error) {
	display, err := report.New(report.Options{
		Mode: report.Mode(r.flags.output), Out: r.stdout, Err: r.stderr, Environ: r.environ, Dir: string(r.dir)})
	if err != nil {
		return nil, err
	}
	files, err := report.NewFiles(string(r.dir))
	if err != nil {
		return nil, errors.Join(err, display.Close())
	}
	return report.Redact(report.Tee(display, files, unclosed{story}), r.redactor), nil
}

// unclosed is a sink that needs no closing.
type unclosed struct{ builder.Sink }

func (unclosed) Close() error { return nil }

func (r *run) engine(j builder.Journal, sink builder.Sink) *builder.Engine {
	work, err := filepath.Abs(r.dir.work())
	if err != nil {
		work = r.dir.work()
	}
	return &builder.Engine{
		Catalog: r.wiring.catalog, Journal: r.journal(j), Sink: sink, Env: r.loaded.template.Env, WorkDir: work, CacheDir: r.wiring.cacheDir,
		NoCache: r.flags.noCache, Parallel: r.flags.parallel, FailFast: r.flags.failFast,
		OnFailure: r.onFailure(),
	}
}

// pin completes the plan; the plan of a resumed run is complete.
func (r *run) pin(ctx context.Context, engine *builder.Engine, sink builder.Sink) error {
	plan := r.loaded.plan
	started := func() {
		sink.Emit(builder.Event{Time: r.now(), Run: r.id, Type: builder.RunStarted, Text: r.file, Plan: plan})
	}
	if r.resumed {
		started()
		return nil
	}
	if r.wiring.catalog.Makes(plan, builder.ImageArtifact) {
		plan.Annotations = annotations(plan.Dir)
	}
	began := time.Now()
	err := engine.Pin(ctx, r.id, plan)
	took := time.Since(began)
	started() // the display names what builds start from
	if err != nil {
		r.tellLookups(ctx, sink, took, err)
		return err
	}
	return nil
}

// tellLookups tells of each source that could not be looked up. They are looked
// up together: it took as long for each.
func (r *run) tellLookups(ctx context.Context, sink builder.Sink, took time.Duration, err error) {
	for _, se := range stepErrors(err) {
		ev := builder.Event{Time: r.now(), Run: r.id, Type: builder.StepFailed, Build: se.Step.ID.Build(), Step: se.Step.ID,
			Phase: se.Step.Phase, Kind: se.Step.Kind, Text: se.Step.Name, Pos: se.Pos(), Err: se.Err.Error(), Hint: builder.Hint(se.Err), Elapsed: took,
			Stopped: ctx.Err() != nil}
		if ev.Stopped {
			ev.Hint = ""
		}
		sink.Emit(ev)
	}
}

// stepErrors returns every step's error in err, in its order.
func stepErrors(err error) []*builder.StepError {
	switch e := err.(type) {
	case *builder.StepError:
		return []*builder.StepError{e}
	case interface{ Unwrap() []error }:
		var all []*builder.StepError
		for _, one := range e.Unwrap() {
			all = append(all, stepErrors(one)...)
		}
		return all
	case interface{ Unwrap() error }:
		return stepErrors(e.Unwrap())
	}
	return nil
}

// noticesTo has what the user should know told on the run's display until the
// function that it returns is called.
func (r *run) noticesTo(sink builder.Sink) func() {
	if r.notices == nil {
		return func() {}
	}
	tell := func(text string) {
		sink.Emit(builder.Event{Time: r.now(), Run: r.id, Type: builder.Notice, Text: text})
	}
	r.notices.Store(&tell)
	return func() { r.notices.Store(nil) }
}
