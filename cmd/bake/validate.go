package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"bake/templates"
)

func (a *app) validateCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:        "validate TEMPLATE...",
		SuggestFor: []string{"check", "lint", "fmt"},
		Short:      "Check templates without network or credentials",
		Long:       "Check templates: everything that is wrong with them is told at once, with its place.\nNothing is looked up, so no network and no credentials are needed.",
		Example: `  bake validate web.yaml
  bake validate *.yaml --output json`,
		Args: arguments(1, -1),
		RunE: func(cmd *cobra.Command, args []string) error { return a.validate(args) },
	}
	a.templateFlags(cmd)
	a.outputFlag(cmd, "text|json")
	return cmd
}

// validate checks each file. The diagnostics of all come before the verdict.
func (a *app) validate(files []string) error {
	cat, err := offlineCatalog()
	if err != nil {
		return err
	}
	var all templates.Diagnostics
	for _, file := range files {
		now := a.now()
		opts, err := a.options(file, newRunID(now), now)
		if err != nil {
			return err
		}
		l, err := a.load(file, cat, opts)
		wrong, ok := err.(*templateError)
		switch {
		case ok:
			all = append(all, wrong.diags...)
		case err != nil:
			return err
		case a.flags.output == "text":
			fmt.Fprintf(a.stdout, "%s: ok (%s)\n", file, strings.Join(names(l.template), ", "))
		}
	}
	if a.flags.output == "json" {
		if err := a.printJSON(struct {
			Diagnostics templates.Diagnostics `json:"diagnostics"`
		}{append(templates.Diagnostics{}, all...)}); err != nil {
			return err
		}
	} else {
		all.Format(a.stderr, a.color())
	}
	if len(all) > 0 {
		return exitError(exitUsage)
	}
	return nil
}
