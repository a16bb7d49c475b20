// Package provisioners holds everything that changes a running machine, one file per kind.
package provisioners

import "bake/builder"

// All lists the provisioners a template may use. Adding one is a file, a line here and a test.
func All() map[string]func() builder.Provisioner {
	return map[string]func() builder.Provisioner{}
}
