package provisioners

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"bake/builder"
	"bake/internal/lazyregexp"
	"bake/internal/shell"
	"bake/templates"
)

// Package installs, removes and updates packages with the machine's own
// manager. It leaves no lists, downloads and logs of its own behind, so that a
// layer holds the packages and nothing else. Nothing is downloaded if all is
// installed already.
type Package struct {
	Install    templates.Strings `yaml:"install" bake:"main" doc:"Packages to install; name=version pins one (apt takes 1.2* as well)."`
	Remove     templates.Strings `yaml:"remove" doc:"Packages to remove, with their configuration where the manager can."`
	Update     templates.Strings `yaml:"update" doc:"Installed packages to bring to their newest version, or all."`
	Recommends bool              `yaml:"recommends" doc:"Install what packages recommend as well (apt, dnf, zypper)."`
	KeepCache  bool              `yaml:"keep_cache" doc:"Leave package lists and downloads on the machine."`
	Manager    string            `yaml:"manager" enum:"apt|dnf|yum|microdnf|zypper|apk" doc:"The package manager. Default: the one the machine has."`
	Options    templates.Strings `yaml:"options" doc:"More options for the manager's command line."`
}

var packageName = lazyregexp.New(`^[A-Za-z0-9@/.][-A-Za-z0-9_.+:~@/^*]*(=[-A-Za-z0-9_.+:~^*]+)?$`)

// Validate checks what the tags cannot say.
func (p *Package) Validate(b templates.Block) (ds templates.Diagnostics) {
	if len(p.Install)+len(p.Remove)+len(p.Update) == 0 && !b.Unresolved() {
		ds = append(ds, b.Errorf("nothing to install, remove or update"))
	}
	for key, names := range map[string][]string{"install": p.Install, "remove": p.Remove, "update": p.Update} {
		for i, name := range names {
			if name == "" || packageName.MatchString(name) && (key == "install" || !strings.Contains(name, "=")) {
				continue // empty: not known yet
			}
			d := b.At(key, fmt.Sprint(i)).Errorf("not a package: %q", name)
			if key != "install" && strings.Contains(name, "=") {
				d.Hint = "a version can be pinned under install"
			} else if strings.ContainsAny(name, " ,") {
				d.Hint = "write several packages as a list"
			}
			ds = append(ds, d)
		}
	}
	return ds
}

// A NoManagerError is a machine without a package manager that bake knows.
type NoManagerError struct{ Wanted string }

func (e *NoManagerError) Error() string {
	if e.Wanted != "" {
		return fmt.Sprintf("the machine has no %s", e.Wanted)
	}
	return "the machine has no package manager: looked for apt-get, dnf, yum, microdnf, zypper, apk"
}

// Hint tells what to do about it.
func (e *NoManagerError) Hint() string {
	return "start from an image that has one, or copy the files in"
}

// Provision makes the machine's packages what they are to be, in one exchange.
func (p *Package) Provision(ctx context.Context, sc *builder.Scope, comm builder.Communicator) (builder.Outcome, error) {
	out := sc.Stdout()
	defer out.Close()
	answers, err := ask(ctx, comm, p.script(), out)
	switch exit, ok := errors.AsType[*builder.ExitError](err); {
	case ok && len(answers["no-manager"]) > 0:
		return builder.Outcome{}, &NoManagerError{Wanted: p.Manager}
	case ok && len(answers["failed"]) > 0:
		return builder.Outcome{}, fmt.Errorf("%s: %w", answers["failed"][0], exit)
	case err != nil:
		return builder.Outcome{}, err
	}
	return builder.Outcome{Unchanged: len(answers["changed"]) == 0, Note: strings.Join(answers["note"], ", ")}, nil
}

// script is what the machine is asked to do: the functions of all managers,
// what is wanted, and the common course of it.
func (p *Package) script() string {
	var s strings.Builder
	s.WriteString(packageFunctions)
	flag := func(b bool) string {
		if b {
			return "1"
		}
		return ""
	}
	for _, v := range []struct{ name, value string }{
		{"manager", p.Manager},
		{"install", strings.Join(p.Install, " ")},
		{"remove", strings.Join(p.Remove, " ")},
		{"update", strings.Join(p.Update, " ")},
		{"recommends", flag(p.Recommends)},
		{"keep_cache", flag(p.KeepCache)},
	} {
		fmt.Fprintf(&s, "%s=%s\n", v.name, shell.Quote(v.value))
	}
	fmt.Fprintf(&s, "set -- %s\n", shell.Join(p.Options...))
	s.WriteString(packageCourse)
	return s.String()
}
