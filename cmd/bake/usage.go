package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"bake/builder"
	"bake/templates"
)

// suggestWithin is how many letters may be wrong in the name of a command that
// is still recognized.
const suggestWithin = 2

// arguments wants at least min and at most max arguments; max < 0: any number.
func arguments(min, max int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) >= min && (max < 0 || len(args) <= max):
			return nil
		case len(args) > max && cmd.HasAvailableSubCommands():
			return noCommand(cmd, args[0])
		case len(args) < min:
			return usagef("usage: "+cmd.UseLine(), "`%s` needs %s", cmd.CommandPath(), wanted(cmd))
		case max == 0:
			return usagef("usage: "+cmd.UseLine(), "`%s` takes no arguments, not %q", cmd.CommandPath(), args[0])
		}
		return usagef("usage: "+cmd.UseLine(), "`%s` takes %s alone, not %d arguments", cmd.CommandPath(), wanted(cmd), len(args))
	}
}

// wanted is what a command's usage line says of its arguments.
func wanted(cmd *cobra.Command) string {
	_, words, _ := strings.Cut(cmd.Use, " ")
	return words
}

// noCommand is about a word that is none of a command's subcommands.
func noCommand(cmd *cobra.Command, word string) error {
	hint := fmt.Sprintf("`%s --help` lists the commands", cmd.CommandPath())
	if word == "list" || word == "ls" {
		hint = fmt.Sprintf("`%s` alone lists them", cmd.CommandPath())
	} else if near := nearCommand(cmd, word); near != "" {
		hint = fmt.Sprintf("did you mean `%s %s`?", cmd.CommandPath(), near)
	}
	return usagef(hint, "`%s` has no command %q", cmd.CommandPath(), word)
}

// nearCommand is the subcommand that a word probably means; empty: none.
func nearCommand(cmd *cobra.Command, word string) string {
	cmd.SuggestionsMinimumDistance = suggestWithin
	var names []string
	for _, sub := range cmd.Commands() {
		if slices.Contains(sub.SuggestFor, word) {
			return sub.Name()
		}
		if inner, _, err := sub.Find([]string{word}); err == nil && inner != sub {
			return sub.Name() + " " + inner.Name() // bake deploy for bake ecs deploy
		}
		if sub.IsAvailableCommand() {
			names = append(names, sub.Name())
		}
	}
	if near := templates.Nearest(word, names); near != "" {
		return near
	}
	if near := cmd.SuggestionsFor(word); len(near) == 1 {
		return near[0]
	}
	return ""
}

// flagError says which flag was probably meant.
func flagError(cmd *cobra.Command, err error) error {
	hint := "`" + cmd.CommandPath() + " --help` lists the flags"
	if unknown, ok := errors.AsType[*pflag.NotExistError](err); ok {
		var names []string
		cmd.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
		// -var and the like: one dash before a long name.
		word, single := unknown.GetSpecifiedName(), unknown.GetSpecifiedShortnames()
		if name, _, _ := strings.Cut(single, "="); len(name) > 1 {
			word = name
		}
		if near := templates.Nearest(word, names); len(word) > 1 && near != "" {
			hint = fmt.Sprintf("did you mean --%s?", near)
		}
	}
	if wrong, ok := errors.AsType[*pflag.InvalidValueError](err); ok {
		return wrongValue(wrong, hint)
	}
	return usagef(hint, "%w", err)
}

// wrongValue is about what a flag was given, in the words of other mistakes.
func wrongValue(wrong *pflag.InvalidValueError, hint string) error {
	if c, ok := errors.AsType[*choiceError](wrong); ok {
		return usagef(c.Hint(), "--%s %w", wrong.GetFlag().Name, c)
	}
	if f := wrong.GetFlag(); f.Value.Type() == "int" {
		return usagef(hint, "--%s must be a whole number, not %q", f.Name, wrong.GetValue())
	} else if f.Value.Type() == "duration" {
		return usagef(hint, "--%s must be a duration like 90s, 10m or 1h30m, not %q", f.Name, wrong.GetValue())
	}
	return usagef(hint, "--%s %q: %w", wrong.GetFlag().Name, wrong.GetValue(), wrong.Unwrap())
}

// noCommandOrFile is about a word after bake that is neither.
func (a *app) noCommandOrFile(word string) error {
	hint := "`bake --help` lists the commands"
	if near := nearCommand(a.root(), word); near != "" {
		hint = fmt.Sprintf("did you mean `bake %s`?", near)
	} else if found := notThere(word); strings.HasPrefix(builder.Hint(found), "did you mean") {
		hint = builder.Hint(found)
	}
	return usagef(hint, "%q is neither a command nor a template file", word)
}

// notThere is about a template that is not where the user says.
func notThere(file string) error {
	dir := filepath.Dir(file)
	there := templatesIn(dir)
	hint := "`bake init` writes one"
	stem := strings.TrimSuffix(filepath.Base(file), filepath.Ext(file))
	switch same := slices.IndexFunc(there, func(name string) bool { return strings.TrimSuffix(name, filepath.Ext(name)) == stem }); {
	case same >= 0:
		hint = fmt.Sprintf("did you mean %s?", filepath.Join(dir, there[same]))
	case templates.Nearest(filepath.Base(file), there) != "":
		hint = fmt.Sprintf("did you mean %s?", filepath.Join(dir, templates.Nearest(filepath.Base(file), there)))
	}
	return usagef(hint, "there is no file %s", file)
}

// isFolder is about a folder in the place of a template.
func isFolder(dir string) error {
	hint := "name the template file in it"
	if there := templatesIn(dir); len(there) == 1 || slices.Contains(there, "bake.yaml") {
		name := there[0]
		if len(there) > 1 {
			name = "bake.yaml"
		}
		hint = "did you mean " + filepath.Join(dir, name) + "?"
	}
	return usagef(hint, "%s is a folder", dir)
}

// templatesIn are the names of the YAML files in a folder.
func templatesIn(dir string) []string {
	var names []string
	for _, pattern := range []string{"*.yaml", "*.yml"} {
		found, _ := filepath.Glob(filepath.Join(dir, pattern)) // the pattern is right
		for _, f := range found {
			names = append(names, filepath.Base(f))
		}
	}
	return names
}
