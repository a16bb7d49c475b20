package main

import (
	"github.com/spf13/cobra"

	"bake/templates"
)

func (a *app) schemaCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON schema of templates, for editors",
		Example: `  bake schema > bake.schema.json
  # then, as the first line of a template:
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
