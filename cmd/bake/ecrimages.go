package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"bake/builder"
	"bake/internal/registry"
	"bake/steps/amazon/ecr"
)

// ecrImages lists a repository of ECR through its API, which knows more than a
// registry tells: untagged images, when they were pushed, what scans found. An
// empty name lists the repositories.
func (a *app) ecrImages(parent context.Context, name string, list registry.List) error {
	ctx, stop := interruptible(parent, func() {})
	defer stop()
	w, err := a.wire()
	if err != nil {
		return err
	}
	defer w.close()
	if name == "" {
		return a.ecrRepositories(ctx, w)
	}
	found, err := w.ecr.List(ctx, ecr.List{Repository: name, Access: a.flags.aws, Limit: list.Limit, Match: list.Match})
	if errors.Is(err, builder.ErrNotFound) {
		return &hinted{err, "`bake images ecr:` lists the repositories; --region and --profile look elsewhere"}
	}
	if err != nil {
		return err
	}
	if a.flags.output == "json" {
		return a.printJSON(found)
	}
	if err := printImages(a.stdout, found.Images); err != nil {
		return err
	}
	if n := len(found.Images); n < found.Total {
		fmt.Fprintf(a.stderr, "%d of %d images; --limit 0 shows all\n", n, found.Total)
	}
	return nil
}

func (a *app) ecrRepositories(ctx context.Context, w *wiring) error {
	all, err := w.ecr.Repositories(ctx, a.flags.aws)
	if err != nil {
		return err
	}
	if a.flags.output == "json" {
		return a.printJSON(all)
	}
	table := tabwriter.NewWriter(a.stdout, 0, 4, 2, ' ', 0)
	fmt.Fprintln(table, "REPOSITORY\tREGISTRY\tCREATED\tTAGS\tENCRYPTION\tADDRESS")
	for _, r := range all {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\n", r.Repository, r.RegistryID, date(r.CreatedAt), strings.ToLower(r.Settings.Tags), r.Settings.Encryption, r.URI)
	}
	return table.Flush()
}

func printImages(out io.Writer, images []ecr.ImageInfo) error {
	table := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(table, "TAGS\tDIGEST\tSIZE\tPUSHED\tSCAN")
	for _, i := range images {
		tags := strings.Join(i.Tags, " ")
		if tags == "" {
			tags = "-"
		}
		fmt.Fprintf(table, "%s\t%.12s\t%s\t%s\t%s\n", tags, strings.TrimPrefix(i.Digest, "sha256:"), sizeWord(i.Size), date(i.PushedAt), i.Scan())
	}
	return table.Flush()
}

// date is a time as tables have it; empty if there is none.
func date(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.DateTime)
}
