package main

import (
	"io"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// everyCommand calls fn with each command that users see.
func everyCommand(t *testing.T, fn func(t *testing.T, cmd *cobra.Command)) {
	var walk func(cmd *cobra.Command)
	walk = func(cmd *cobra.Command) {
		t.Run(strings.ReplaceAll(cmd.CommandPath(), " ", "_"), func(t *testing.T) { fn(t, cmd) })
		for _, sub := range cmd.Commands() {
			if sub.Name() != "completion" && sub.Name() != "help" { // cobra's own
				walk(sub)
			}
		}
	}
	a := &app{stdin: strings.NewReader(""), stdout: io.Discard, stderr: io.Discard}
	walk(a.root())
}

// TestEveryHelpTeaches holds each command's help to the same form.
func TestEveryHelpTeaches(t *testing.T) {
	everyCommand(t, func(t *testing.T, cmd *cobra.Command) {
		if cmd.Short == "" || strings.Contains(cmd.Short, "\n") || len(cmd.Short) > 90 {
			t.Errorf("it has no line that says what it is for: %q", cmd.Short)
		}
		for _, line := range strings.Split(cmd.Long+"\n"+cmd.Example, "\n") {
			if len(line) > 120 {
				t.Errorf("too wide for a terminal: %s", line)
			}
		}
		if n := len(examples(cmd)); n < 2 {
			t.Errorf("%d examples, want at least 2", n)
		}
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			name, usage := pflag.UnquoteUsage(f)
			if usage == "" {
				t.Errorf("--%s does not say what it does", f.Name)
			}
			switch name {
			case "int", "float", "duration", "string", "strings", "stringArray", "bytes":
				t.Errorf("--%s says %s instead of what is meant and in which unit", f.Name, name)
			}
			if len(name) > 40 {
				t.Errorf("--%s pushes all other flags to the right: %s", f.Name, name)
			}
		})
	})
}

// TestTheExamplesOfHelpAreReal parses each as the command line would be.
func TestTheExamplesOfHelpAreReal(t *testing.T) {
	everyCommand(t, func(t *testing.T, cmd *cobra.Command) {
		for _, words := range examples(cmd) {
			if err := parsed(words); err != nil {
				t.Errorf("%s: %v", strings.Join(words, " "), err)
			}
		}
	})
}

// parsed is what the command line says of words, without running them.
func parsed(words []string) error {
	a := &app{stdin: strings.NewReader(""), stdout: io.Discard, stderr: io.Discard}
	found, rest, err := a.root().Find(words[1:])
	if err != nil {
		return err
	}
	if err := found.ParseFlags(rest); err != nil {
		return err
	}
	return found.ValidateArgs(found.Flags().Args())
}

// examples are the command lines of a command's help, as words.
func examples(cmd *cobra.Command) [][]string {
	text := cmd.Example
	if cmd.Parent() == nil {
		text = cmd.Long
	}
	var all [][]string
	for _, line := range strings.Split(text, "\n") {
		line, ok := strings.CutPrefix(line, "  bake ")
		if !ok {
			continue
		}
		line, _, _ = strings.Cut(line, "  ") // what the line does
		line, _, _ = strings.Cut(line, " | ")
		line, _, _ = strings.Cut(line, " >")
		for one := range strings.SplitSeq(line, " && bake ") {
			all = append(all, append([]string{"bake"}, shellWords(one)...))
		}
	}
	return all
}

// shellWords splits a line at spaces outside of quotes.
func shellWords(line string) []string {
	var words []string
	var quote rune
	word, begun := "", false
	for _, r := range line + " " {
		switch {
		case quote != 0 && r == quote:
			quote = 0
		case quote == 0 && (r == '\'' || r == '"'):
			quote, begun = r, true
		case quote == 0 && r == ' ':
			if begun {
				words = append(words, word)
			}
			word, begun = "", false
		default:
			word, begun = word+string(r), true
		}
	}
	return words
}
