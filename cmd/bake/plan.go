package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"bake/builder"
	"bake/templates"
)

func (a *app) planCommand() *cobra.Command {
	var detailed bool
	cmd := &cobra.Command{
		Use:        "plan TEMPLATE",
		SuggestFor: []string{"inspect", "diff", "show", "dry-run"},
		Short:      "Show what would be done, without doing it",
		Long: "Show what would be done: names that move are looked up (an image's tag becomes a digest),\n" +
			"input files are hashed, and what exists already is found. It only reads.",
		Example: `  bake plan web.yaml
  bake plan web.yaml --output json
  bake plan web.yaml --detailed      exit code 4 if there is something to build`,
		Args: arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error { return a.plan(cmd.Context(), args[0], detailed) },
	}
	a.templateFlags(cmd)
	a.engineFlags(cmd)
	a.outputFlag(cmd, "text|json")
	cmd.Flags().BoolVar(&detailed, "detailed", false, "exit code 4 if there is something to build")
	return cmd
}

func (a *app) plan(parent context.Context, file string, detailed bool) error {
	ctx, stop := interruptible(parent, func() {})
	defer stop()
	w, err := a.wire()
	if err != nil {
		return err
	}
	defer w.close()
	r, err := a.prepare(file, w)
	if err != nil {
		return err
	}
	engine := &builder.Engine{Catalog: w.catalog, Journal: noJournal{}, Sink: noSink{}, Env: r.loaded.template.Env}
	plan := r.loaded.plan
	if err := engine.Pin(ctx, r.id, plan); err != nil {
		return a.planError(ctx, err)
	}
	made, err := engine.Made(ctx, r.id, plan)
	if err != nil {
		return a.planError(ctx, err)
	}
	if a.flags.output == "json" {
		enc := json.NewEncoder(a.stdout)
		enc.SetIndent("", "  ")
		err = enc.Encode(struct {
			*builder.Plan
			Made map[string]builder.Artifact `json:"made"`
		}{plan, made})
	} else {
		err = printPlan(a.stdout, plan, made)
	}
	if err == nil && detailed && toBuild(plan, made) {
		return exitError(exitDiffers)
	}
	return err
}

// planError says where in the template what could not be looked up stands, for
// each source, and nothing if it was the user who ended it.
func (a *app) planError(ctx context.Context, err error) error {
	if errors.Is(context.Cause(ctx), errInterrupted) {
		return errInterrupted
	}
	failed := stepErrors(err)
	if len(failed) == 0 {
		return err
	}
	told := map[string]bool{} // what several builds share is told once
	for _, se := range failed {
		text := fmt.Sprintf("%s: %v", se.Step.Name, se.Err)
		if pos := se.Pos(); pos.Line > 0 {
			text = pos.String() + ": " + text
		}
		if !told[text] {
			exitCode(&hinted{errors.New(text), builder.Hint(se.Err)}, a.stderr, a.color())
		}
		told[text] = true
	}
	return exitError(runCode(err))
}

func toBuild(p *builder.Plan, made map[string]builder.Artifact) bool {
	for _, b := range p.Builds {
		if _, ok := made[b.Name]; !ok && b.Steps[0].Phase == builder.Open {
			return true
		}
	}
	return false
}

func printPlan(out io.Writer, p *builder.Plan, made map[string]builder.Artifact) error {
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	for _, b := range p.Builds {
		what := "to build"
		if a, ok := made[b.Name]; ok {
			what = "exists: " + artifactWords(a)
		} else if b.Steps[0].Phase == builder.Join {
			what = "index of the platforms"
		}
		fmt.Fprintf(w, "%s\t%s\n", b.Name, what)
		for _, s := range b.Steps {
			switch s.Phase {
			case builder.Open:
				if b.Pin.Summary != "" {
					fmt.Fprintf(w, "  from\t%s\n", b.Pin.Summary)
				}
				printSettings(w, s, b.Pin.Summary+s.Name)
			case builder.Publish:
				fmt.Fprintf(w, "  output\t%s\n", s.Name)
				printSettings(w, s, s.Name)
			case builder.Provision:
				fmt.Fprintf(w, "  step\t%s\n", s.Name)
			case builder.Test:
				fmt.Fprintf(w, "  test\t%s\n", s.Name)
			}
		}
	}
	return w.Flush()
}

// artifactWords names an artifact as its cloud or engine does.
func artifactWords(a builder.Artifact) string {
	switch a.Kind() {
	case builder.AMIArtifact:
		return a.AMI.ID + " in " + a.AMI.Region
	case builder.HostArtifact:
		return "the machine itself"
	}
	return a.Image.ID
}

// printSettings writes what a step's block says, a line for each key. What the
// line above says already is left out.
func printSettings(w io.Writer, s builder.Step, said string) {
	for _, v := range templates.Settings(s.Config) {
		if !v.Scalar || !strings.Contains(said, v.Value) {
			fmt.Fprintf(w, "  \t%s: %s\n", v.Key, v.Value)
		}
	}
}

// noJournal and noSink serve an engine that only reads.
type noJournal struct{}

func (noJournal) Append(context.Context, builder.Entry) error {
	return errors.New("a plan only reads: nothing may be written to a journal")
}
func (noJournal) Entries(context.Context) ([]builder.Entry, error) { return nil, nil }

type noSink struct{}

func (noSink) Emit(builder.Event) {}
