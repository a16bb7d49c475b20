package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"bake/internal/registry"
	"bake/steps/amazon/ecr"
)

func (a *app) imagesCommand() *cobra.Command {
	var list registry.List
	var insecure bool
	cmd := &cobra.Command{
		Use:        "images REPOSITORY",
		SuggestFor: []string{"tags", "pull"},
		Short:      "List the tags of a repository, on Docker Hub, in ECR or any registry",
		Example: `  bake images debian                            on Docker Hub
  bake images debian:bookworm-slim              one tag
  bake images registry.example.com/team/api     on any registry
  bake images 123456789012.dkr.ecr.eu-west-1.amazonaws.com/api
  bake images ecr:api --region eu-west-1        in the caller's registry of ECR, untagged images too
  bake images ecr:                              its repositories
  bake images api --sandbox                     in the ECR of a local AWS
  bake images debian --match bookworm -o json`,
		Args: arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if name, ok := ecr.IsRepository(args[0]); ok {
				return a.ecrImages(cmd.Context(), name, list)
			}
			if a.flags.sandbox != "" && bareName(args[0]) {
				// Who names a sandbox means its registry, not Docker Hub.
				return a.ecrImages(cmd.Context(), args[0], list)
			}
			return a.images(cmd.Context(), args[0], list, insecure)
		},
	}
	f := cmd.Flags()
	f.IntVar(&list.Limit, "limit", 25, "at most `N` tags, the newest; 0: all")
	f.StringVar(&list.Match, "match", "", "only tags that contain this `TEXT`")
	f.BoolVar(&insecure, "insecure", false, "allow plain HTTP; to this machine it is always allowed")
	a.awsFlags(cmd)
	a.outputFlag(cmd, "text|json")
	return cmd
}

// bareName reports whether a repository is named without its registry, as those
// of Docker Hub may be.
func bareName(repository string) bool {
	host, _, found := strings.Cut(repository, "/")
	return !found || !strings.ContainsAny(host, ".:") && host != "localhost"
}

func (a *app) images(parent context.Context, repository string, list registry.List, insecure bool) error {
	ctx, stop := interruptible(parent, func() {})
	defer stop()
	ref, err := registry.ParseRepository(repository, insecure)
	if err != nil {
		return usagef("like debian, or registry.example.com/team/api", "%w", err)
	}
	w, err := a.wire()
	if err != nil {
		return err
	}
	defer w.close()
	found, err := w.registries.List(ctx, ref, list)
	if err != nil && bareName(repository) {
		return &hinted{err, fmt.Sprintf("%s is looked for on Docker Hub: is this machine online? ecr:%[1]s is a repository of ECR", repository)}
	}
	if err != nil {
		return err
	}
	if a.flags.output == "json" {
		return a.printJSON(found)
	}
	if err := printTags(a.stdout, found.Tags); err != nil {
		return err
	}
	if n := len(found.Tags); n < found.Total {
		fmt.Fprintf(a.stderr, "%d of %d tags; --limit 0 shows all\n", n, found.Total)
	}
	if r := found.Rate; r != nil {
		fmt.Fprintf(a.stderr, "%d of %d pulls left within %s\n", r.Remaining, r.Limit, r.Window)
	}
	return nil
}

func printTags(out io.Writer, tags []registry.TagInfo) error {
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "TAG\tDIGEST\tSIZE\tCREATED\tPLATFORMS")
	for _, t := range tags {
		if t.Err != "" {
			fmt.Fprintf(w, "%s\t%s\n", t.Tag, t.Err)
			continue
		}
		var platforms []string
		for _, i := range t.Images {
			platforms = append(platforms, i.Platform.String())
		}
		digest := strings.TrimPrefix(t.Digest, "sha256:")
		fmt.Fprintf(w, "%s\t%.12s\t%s\t%s\t%s\n", t.Tag, digest, sizeWord(t.Size()), when(t.Created), strings.Join(platforms, " "))
	}
	return w.Flush()
}
