// Package ecr is Amazon's container registry as bake uses it: the output that
// pushes to it and keeps its repositories as the template says, credentials
// for it wherever an image is pulled or pushed, and what its repositories hold.
package ecr

import (
	"bake/builder"
	"bake/internal/registry"
	"bake/steps/amazon"
)

// Deps is what the output needs.
type Deps struct {
	Cloud    *amazon.Cloud
	Tokens   *Tokens
	Registry *registry.Client
}

// Outputs returns the kind of output that this package has.
func Outputs(d Deps) map[string]func() builder.Output {
	return map[string]func() builder.Output{
		"ecr": func() builder.Output { return &Output{deps: d} },
	}
}

// The kinds of resources that repositories are.
const (
	repositoryKind = "ecr-repository"
	publicKind     = "ecr-public-repository"
)

// Cleaners returns what removes what the output makes.
func Cleaners(d Deps) map[string]builder.Cleaner {
	return map[string]builder.Cleaner{
		repositoryKind: &cleaner{open: d.privateRepositories},
		publicKind:     &cleaner{open: d.publicRepositories},
	}
}
