package provisioners

import (
	"context"
	"strings"

	"bake/builder"
	"bake/templates"
)

// Run runs a script on the machine. A list is one script, a line for each
// item, read by one shell.
type Run struct {
	Script    templates.Strings `yaml:"script" bake:"main,required" doc:"Commands to run on the machine: one or several lines, or a list; all of them are one script."`
	Shell     string            `yaml:"shell" doc:"What reads the script: a name or path (bash, python3) or a whole command line. Default: the script's own #! line, else sh."`
	Strict    bool              `yaml:"strict" default:"true" doc:"Stop at the first command that fails: sh -e, bash -euo pipefail. A command line in shell, or a #! line, is taken as it stands."`
	ExitCodes []int             `yaml:"exit_codes" doc:"Exit codes that are success; default [0]."`
	Creates   templates.Strings `yaml:"creates" doc:"Do nothing if all these paths exist on the machine."`
	Unless    string            `yaml:"unless" doc:"Do nothing if this sh command succeeds."`
	OnlyIf    string            `yaml:"only_if" doc:"Do nothing if this sh command fails."`
}

// Validate checks what the tags cannot say.
func (r *Run) Validate(b templates.Block) templates.Diagnostics {
	ds := checkCodes(b, r.ExitCodes)
	if len(r.Script) > 0 && strings.TrimSpace(strings.Join(r.Script, "")) == "" && !b.At("script").Unresolved() {
		ds = append(ds, b.At("script").Errorf("nothing to run"))
	}
	for _, p := range r.Creates {
		ds = append(ds, absolute(b, "creates", p)...)
	}
	return ds
}

// Provision runs the script.
func (r *Run) Provision(ctx context.Context, sc *builder.Scope, comm builder.Communicator) (builder.Outcome, error) {
	g := guard{r.Creates, r.Unless, r.OnlyIf}
	if why, err := g.skip(ctx, comm); why != "" || err != nil {
		return builder.Outcome{Unchanged: err == nil, Note: why}, err
	}
	script := strings.Join(r.Script, "\n")
	out, errs := sc.Stdout(), sc.Stderr()
	defer out.Close()
	defer errs.Close()
	err := comm.Run(ctx, builder.Command{Script: script, Shell: interpreter(r.Shell, script, r.Strict), Stdout: out, Stderr: errs})
	note, err := allowed(err, r.ExitCodes)
	return builder.Outcome{Note: note}, err
}
