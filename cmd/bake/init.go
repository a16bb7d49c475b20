package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"bake/internal/starter"
)

func (a *app) initCommand() *cobra.Command {
	var name, file string
	var set []string
	var list bool
	cmd := &cobra.Command{
		Use:        "init",
		SuggestFor: []string{"new", "plugins"},
		Short:      "Write a first template by answering a few questions",
		Example: `  bake init                                         asks
  bake init --list                                  what there is to begin with
  bake init --starter debian --set name=web --yes   asks nothing`,
		Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, args []string) error {
			if list {
				return a.listStarters()
			}
			return a.init(cmd.Context(), name, file, set)
		},
	}
	f := cmd.Flags()
	f.StringVar(&name, "starter", "", "begin with this `STARTER` instead of asking")
	f.StringArrayVar(&set, "set", nil, "answer a question: `KEY=VALUE` (repeatable)")
	f.StringVar(&file, "file", "bake.yaml", "write to this `FILE`")
	f.BoolVar(&list, "list", false, "list the starters and their questions")
	f.BoolVarP(&a.flags.yes, "yes", "y", false, "take the default for every other question")
	return cmd
}

func (a *app) listStarters() error {
	all, err := starter.List()
	if err != nil {
		return err
	}
	for _, s := range all {
		fmt.Fprintf(a.stdout, "%-15s %s\n", s.Name, s.Title)
		for _, q := range s.Questions {
			fmt.Fprintf(a.stdout, "  %-13s %s [%s]\n", q.Key, q.Text, q.Default)
		}
	}
	return nil
}

// init writes the template. It never overwrites a file.
func (a *app) init(ctx context.Context, name, file string, set []string) error {
	answers := map[string]string{}
	for _, kv := range set {
		key, value, ok := strings.Cut(kv, "=")
		if !ok {
			return usagef("write --set KEY=VALUE", "--set %q has no value", kv)
		}
		answers[key] = value
	}
	if _, err := os.Stat(file); err == nil {
		return usagef("choose another with --file, or remove it", "there is a file %s already", file)
	}
	text, err := a.answered(ctx, name, answers)
	if unknown, ok := errors.AsType[*starter.UnknownError](err); ok {
		return usagef(unknown.Hint(), "%w", err)
	}
	if err != nil {
		return err
	}
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return usagef("choose another with --file, or remove it", "there is a file %s already", file)
	}
	if err != nil {
		return err
	}
	if _, err := f.Write(text); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := f.Close(); err != nil {
		return err
	}
	fmt.Fprintf(a.stderr, "wrote %s\nnext: bake %s\n", file, file)
	return nil
}

func (a *app) answered(ctx context.Context, name string, answers map[string]string) ([]byte, error) {
	prompt := starter.NewPrompter(a.stdin, a.stderr)
	s, err := a.chosen(ctx, prompt, name)
	if err != nil {
		return nil, err
	}
	if !a.flags.yes {
		if answers, err = prompt.Ask(ctx, s, answers); err != nil {
			return nil, err
		}
	}
	return s.Render(answers)
}

func (a *app) chosen(ctx context.Context, prompt *starter.Prompter, name string) (starter.Starter, error) {
	if name != "" {
		return starter.Find(name)
	}
	all, err := starter.List()
	if err != nil {
		return starter.Starter{}, err
	}
	if a.flags.yes {
		return all[0], nil
	}
	return prompt.Choose(ctx, all)
}
