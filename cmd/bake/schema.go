package main

import (
	"github.com/spf13/cobra"

	"bake/templates"
)

func (a *app) schemaCommand() *cobra.Command {
	return &cobra.Command{
		Use:        "schema",
		SuggestFor: []string{"hcl2_upgrade"},
		Short:      "Print the JSON schema of templates, for editors",
		Example: `  bake schema > bake.schema.json
  bake schema | jq '.definitions | keys'

  # as the first line of a template, for editors:
  # yaml-language-server: $schema=./bake.schema.json`,
		Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, args []string) error {
			cat, err := offlineCatalog()
			if err != nil {
				return err
			}
			_, err = a.stdout.Write(templates.Schema(cat.Language()))
			return err
		},
	}
}
