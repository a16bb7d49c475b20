package provisioners

import (
	"bake/builder"
	"bake/internal/filetree"
)

// Deps are what provisioners share; the zero Deps will do.
type Deps struct {
	// Sums remembers the digests of files that steps bring to a machine.
	Sums *filetree.Sums
}

// All lists the provisioners a template may use. Adding one is a file, a line here and a test.
func All(d Deps) map[string]func() builder.Provisioner {
	return map[string]func() builder.Provisioner{
		// commands
		"run":     func() builder.Provisioner { return new(Run) },
		"script":  func() builder.Provisioner { return &Script{Sums: d.Sums} },
		"local":   func() builder.Provisioner { return new(Local) },
		"wait":    func() builder.Provisioner { return new(Wait) },
		"reboot":  func() builder.Provisioner { return new(Reboot) },
		"ansible": func() builder.Provisioner { return &Ansible{Sums: d.Sums} },

		// files
		"copy":      func() builder.Provisioner { return &Copy{Sums: d.Sums} },
		"write":     func() builder.Provisioner { return new(Write) },
		"template":  func() builder.Provisioner { return &Template{Sums: d.Sums} },
		"directory": func() builder.Provisioner { return new(Directory) },
		"link":      func() builder.Provisioner { return new(Link) },
		"line":      func() builder.Provisioner { return new(Line) },
		"download":  func() builder.Provisioner { return new(Download) },
		"fetch":     func() builder.Provisioner { return new(Fetch) },
		"checkout":  func() builder.Provisioner { return new(Checkout) },

		// the system
		"group":   func() builder.Provisioner { return new(Group) },
		"user":    func() builder.Provisioner { return new(User) },
		"package": func() builder.Provisioner { return new(Package) },
		"service": func() builder.Provisioner { return new(Service) },
	}
}
