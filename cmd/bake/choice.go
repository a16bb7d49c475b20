package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// A choice is a flag that takes one of a few words.
type choice struct {
	value *string
	of    []string
}

// choiceFlag adds a flag to a command that takes one of the words of, which
// are written like text|json; the first is its default.
func choiceFlag(cmd *cobra.Command, value *string, name, short, of, usage string) {
	c := &choice{value, strings.Split(of, "|")}
	*value = c.of[0]
	cmd.Flags().VarP(c, name, short, usage)
}

func (c *choice) String() string { return *c.value }
func (c *choice) Type() string   { return strings.Join(c.of, "|") }
func (c *choice) Set(word string) error {
	if !slices.Contains(c.of, word) {
		return &choiceError{word, c.of}
	}
	*c.value = word
	return nil
}

// choiceError is a word that a flag does not take.
type choiceError struct {
	word string
	of   []string
}

func (e *choiceError) Error() string { return fmt.Sprintf("%q is not a choice", e.word) }

// Hint lists the words.
func (e *choiceError) Hint() string { return "choose one of " + strings.Join(e.of, ", ") }
