package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"bake/builder"
	"bake/steps/amazon"
	"bake/steps/amazon/image"
)

func (a *app) destroyCommand() *cobra.Command {
	var d destruction
	cmd := &cobra.Command{
		Use:        "destroy AMI|NAME|TEMPLATE...",
		SuggestFor: []string{"delete", "deregister", "rm"},
		Short:      "Remove AMIs with their copies and snapshots",
		Long: "Remove AMIs: by id, by name, or all that a template's builds have ever made. With each go its copies\n" +
			"in all regions, those under other names, and the snapshots that no other image has. Without --yes it\n" +
			"only shows what would be removed. What instances or launch templates still use stays unless --force\n" +
			"is given, and what is protected against being deregistered unless --unprotect is.",
		Example: `  bake destroy ami-0123456789abcdef0          what would be removed, and what uses it
  bake destroy web-1.4.2 --region eu-west-1 --yes
  bake destroy web.yaml --only web --older-than 30d --yes`,
		Args: arguments(1, -1),
		RunE: func(cmd *cobra.Command, args []string) error { return a.destroy(cmd.Context(), args, d) },
	}
	f := cmd.Flags()
	a.awsFlags(cmd)
	a.templateFlags(cmd)
	a.outputFlag(cmd, "text|json")
	f.BoolVarP(&d.yes, "yes", "y", false, "remove them, instead of showing them")
	f.BoolVar(&d.force, "force", false, "also what instances or launch templates use")
	f.BoolVar(&d.unprotect, "unprotect", false, "end the protection against being deregistered first")
	f.Var((*daysFlag)(&d.olderThan), "older-than", "only what was made so long ago: `AGE` like 30d")
	return cmd
}

// daysFlag is a flag that takes a duration, also in days.
type daysFlag time.Duration

func (d *daysFlag) String() string { return "" }
func (d *daysFlag) Type() string   { return "age" }
func (d *daysFlag) Set(text string) error {
	if days, ok := strings.CutSuffix(text, "d"); ok {
		text = days + "h"
		defer func() { *d *= 24 }()
	}
	age, err := time.ParseDuration(text)
	*d = daysFlag(age)
	return err
}

// A destruction says what to do with the images that are found.
type destruction struct {
	yes, force, unprotect bool
	olderThan             time.Duration
}

// stays returns why an image is not removed; "" if it is.
func (d destruction) stays(t image.Target) string {
	switch {
	case t.Protected && !d.unprotect:
		return "protected (--unprotect)"
	case len(t.Uses) > 0 && !d.force:
		return "in use (--force)"
	}
	return ""
}

func (a *app) destroy(parent context.Context, args []string, d destruction) error {
	ctx, stop := interruptible(parent, func() { os.Exit(exitInterrupted) })
	defer stop()
	w, err := a.wire()
	if err != nil {
		return err
	}
	defer w.close()
	targets, err := a.targets(ctx, w, args, d)
	if err != nil {
		return err
	}
	gone := map[string]error{}
	if d.yes {
		gone = destroyAll(ctx, w.cloud, targets, d)
	}
	if err := a.printTargets(targets, d, gone); err != nil {
		return err
	}
	var errs []error
	for _, t := range targets {
		errs = append(errs, gone[t.Region+t.ID])
	}
	if !d.yes && len(targets) > 0 {
		fmt.Fprintln(a.stderr, "nothing was removed: --yes removes them")
	}
	return errors.Join(errs...)
}

// targets finds what the arguments mean.
func (a *app) targets(ctx context.Context, w *wiring, args []string, d destruction) ([]image.Target, error) {
	var all []image.Target
	seen := map[string]bool{}
	for _, arg := range args {
		found, err := a.find(ctx, w, arg)
		if err != nil {
			return nil, err
		}
		for _, t := range found {
			made, err := time.Parse(time.RFC3339, t.Created)
			if id := t.Account + t.Region + t.ID; !seen[id] && (d.olderThan == 0 || err == nil && time.Since(made) > d.olderThan) {
				seen[id] = true
				all = append(all, t)
			}
		}
	}
	return all, nil
}

func (a *app) find(ctx context.Context, w *wiring, arg string) ([]image.Target, error) {
	if !isTemplate(arg) {
		found, err := image.Find(ctx, w.cloud, a.flags.aws, image.Query{Name: arg})
		if errors.Is(err, builder.ErrNotFound) {
			err = usagef("images are looked for in one region first: say which with --region", "%w", err)
		}
		return found, err
	}
	r, err := a.prepare(arg, w)
	if err != nil {
		return nil, err
	}
	access := a.flags.aws
	if access.Where() == "" {
		if access, err = image.SourceAccess(r.loaded.plan); err != nil {
			return nil, err
		}
	}
	return image.Find(ctx, w.cloud, access, image.Query{Plan: r.loaded.plan})
}

// isTemplate tells a file from an image's name, which may have a slash or a dot in it.
func isTemplate(arg string) bool {
	info, err := os.Stat(arg)
	return err == nil && !info.IsDir() || strings.HasSuffix(arg, ".yaml") || strings.HasSuffix(arg, ".yml")
}

// destroyAll removes all that need not stay, at once, and returns what was
// tried: with nil if it is gone.
func destroyAll(ctx context.Context, cloud *amazon.Cloud, targets []image.Target, d destruction) map[string]error {
	gone := map[string]error{}
	var mu sync.Mutex
	var all sync.WaitGroup
	for _, t := range targets {
		if d.stays(t) != "" {
			continue
		}
		all.Go(func() {
			err := image.Destroy(ctx, cloud, t, d.unprotect)
			mu.Lock()
			defer mu.Unlock()
			gone[t.Region+t.ID] = err
		})
	}
	all.Wait()
	return gone
}

func (a *app) printTargets(targets []image.Target, d destruction, gone map[string]error) error {
	if a.flags.output == "json" {
		return a.printJSON(jsonTargets(targets, d, gone))
	}
	if len(targets) == 0 {
		fmt.Fprintln(a.stdout, "there are no such images")
		return nil
	}
	w := tabwriter.NewWriter(a.stdout, 0, 4, 2, ' ', 0)
	for _, t := range targets {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d snapshots\t%s\n", t.Region, t.ID, t.Name, day(t.Created), len(t.Snapshots), verdict(t, d, gone))
		printUses(w, t)
	}
	return w.Flush()
}

func day(created string) string { return created[:min(len(created), len(time.DateOnly))] }

func printUses(w io.Writer, t image.Target) {
	for _, use := range t.Uses {
		fmt.Fprintf(w, "\t\tused by %s\t\t\t\n", use)
	}
}

// verdict is what becomes of an image, in one word or two.
func verdict(t image.Target, d destruction, gone map[string]error) string {
	err, tried := gone[t.Region+t.ID]
	switch why := d.stays(t); {
	case why != "":
		return "stays: " + why
	case !tried:
		return "would be removed"
	case err != nil:
		return "not removed"
	}
	return "removed"
}

type jsonTarget struct {
	Account   string   `json:"account"`
	Region    string   `json:"region"`
	ID        string   `json:"id"`
	Name      string   `json:"name"`
	Created   string   `json:"created"`
	Template  string   `json:"template,omitempty"`
	Build     string   `json:"build,omitempty"`
	Snapshots []string `json:"snapshots"`
	Protected bool     `json:"protected,omitempty"`
	Uses      []string `json:"uses,omitempty"`
	Stays     string   `json:"stays,omitempty"`
	Removed   bool     `json:"removed"`
}

func jsonTargets(targets []image.Target, d destruction, gone map[string]error) []jsonTarget {
	out := []jsonTarget{}
	for _, t := range targets {
		err, tried := gone[t.Region+t.ID]
		out = append(out, jsonTarget{t.Account, t.Region, t.ID, t.Name, t.Created, t.Template, t.Build, t.Snapshots, t.Protected, t.Uses, d.stays(t), tried && err == nil})
	}
	return out
}
