// Package starter holds the templates that `bake init` writes. Each file is a
// valid template as it stands. Its first comment line says what it is for; a
// line that ends in "#? KEY QUESTION" holds the default answer of a question,
// and one that ends in "#= KEY" the same answer again. Package
// internal/starter asks and fills in.
package starter

import (
	"embed"
	"io/fs"
)

//go:embed *.yaml
var files embed.FS

// Files returns the starters, NAME.yaml each, in one flat directory.
func Files() fs.FS { return files }
