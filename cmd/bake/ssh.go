package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"bake/builder"
	"bake/builder/journal"
)

func (a *app) sshCommand() *cobra.Command {
	var build string
	cmd := &cobra.Command{
		Use:   "ssh [RUN] [-- COMMAND...]",
		Short: "Open a shell on the machine of a run that was kept",
		Long: "Open a shell, or run a command, on the machine of a run: an instance, a container or a workspace that\n" +
			"--on-error keep left, or one that is being built. RUN is an id, a unique part of one, or \"last\" (the\n" +
			"default). `bake clean RUN` removes the machine afterwards.",
		Example: `  bake web.yaml --on-error keep     when a step fails, its machine stays
  bake ssh                          a shell on it
  bake ssh last -- journalctl -n 50
  bake resume                       go on where it failed`,
		RunE: func(cmd *cobra.Command, args []string) error {
			name, command := "last", args
			if n := cmd.ArgsLenAtDash(); n != 0 && len(args) > 0 {
				name, command = args[0], args[1:]
				if n < 0 && len(command) > 0 {
					return usagef("write -- before a command: bake ssh "+name+" -- "+strings.Join(command, " "), "`bake ssh` takes one run")
				}
			}
			return a.ssh(cmd.Context(), name, build, command)
		},
	}
	cmd.Flags().StringVar(&build, "build", "", "the `BUILD` whose machine is meant, if the run has several")
	cmd.Flags().StringArrayVar(&a.flags.vars, "var", nil, "set a sensitive variable again: `NAME=VALUE`")
	return cmd
}

func (a *app) ssh(ctx context.Context, name, build string, command []string) error {
	dir, err := findRun(name)
	if err != nil {
		return err
	}
	entries, err := journal.Read(dir.journal())
	if err != nil {
		return fmt.Errorf("reading run %s: %w", dir.id(), err)
	}
	there := builder.Machines(entries)
	if build, err = chooseBuild(dir.id(), there, build); err != nil {
		return err
	}
	plan, _, err := journaled(dir)
	if err != nil {
		return err
	}
	req, err := dir.request()
	if err != nil {
		return err
	}
	a.flags.engine, a.flags.sandbox = req.Engine, req.Sandbox
	w, err := a.wire()
	if err != nil {
		return err
	}
	defer w.close()
	comm, err := a.visit(ctx, w, dir, req, plan, build, there[build])
	if err != nil {
		return err
	}
	err = a.session(ctx, comm, command)
	return errors.Join(err, comm.Close())
}

// chooseBuild finds the build that is meant among those whose machine is there.
func chooseBuild(run builder.RunID, there map[string]builder.Machine, build string) (string, error) {
	all := slices.Sorted(maps.Keys(there))
	if build != "" {
		if _, ok := there[build]; !ok {
			return "", usagef("machines are there of: "+strings.Join(all, ", "), "run %s has no machine of build %q", run, build)
		}
		return build, nil
	}
	switch len(all) {
	case 0:
		return "", usagef("with --on-error keep a failed run leaves its machine", "run %s has no machine any more", run)
	case 1:
		return all[0], nil
	}
	return "", usagef("say which: --build "+strings.Join(all, " or --build "), "run %s has %d machines", run, len(all))
}

// visit connects to the machine. The template is read again for its secrets.
func (a *app) visit(ctx context.Context, w *wiring, dir runDir, req request, plan *builder.Plan, build string, m builder.Machine) (builder.Communicator, error) {
	a.flags.varFiles = append(req.VarFiles, a.flags.varFiles...)
	for name, value := range req.Vars {
		a.flags.vars = append([]string{name + "=" + value}, a.flags.vars...)
	}
	opts, err := a.options(req.Template, dir.id(), req.Started)
	if err != nil {
		return nil, err
	}
	l, err := a.load(req.Template, w.catalog, opts)
	if err != nil {
		return nil, err
	}
	engine := &builder.Engine{Catalog: w.catalog, Journal: noJournal{}, Sink: noSink{}, Env: l.template.Env, WorkDir: dir.work()}
	return engine.Visit(ctx, dir.id(), plan, build, m)
}

// session runs a command, or a login shell if there is none, on this terminal.
func (a *app) session(ctx context.Context, comm builder.Communicator, command []string) error {
	cmd := builder.Command{Argv: command, Stdin: a.stdin, Stdout: a.stdout, Stderr: a.stderr}
	in, ok := a.stdin.(*os.File)
	if !ok || !isTerminal(in) || !isTerminal(a.stdout) {
		if len(command) == 0 {
			cmd.Argv = []string{"/bin/sh"}
		}
		return exitStatus(comm.Run(ctx, cmd))
	}
	cmd.TTY = true
	rows, cols := 24, 80
	if c, r, err := term.GetSize(int(in.Fd())); err == nil {
		rows, cols = r, c
	}
	// The machine's side of the terminal does not know this one's size.
	fit := fmt.Sprintf(`stty rows %d cols %d 2>/dev/null; export TERM=%s; `, rows, cols, terminalName(a.getenv("TERM")))
	if len(command) == 0 {
		cmd.Argv = []string{"/bin/sh", "-c", fit + `exec "$(command -v bash || echo /bin/sh)" -l`}
	} else {
		cmd.Argv = append([]string{"/bin/sh", "-c", fit + `exec "$@"`, "sh"}, command...)
	}
	before, err := term.MakeRaw(int(in.Fd()))
	if err != nil {
		return err
	}
	defer term.Restore(int(in.Fd()), before)
	return exitStatus(comm.Run(ctx, cmd))
}

// terminalName is TERM if it is a word, so that it can stand in a script.
func terminalName(name string) string {
	if name == "" || strings.ContainsFunc(name, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("-+._", r)
	}) {
		return "xterm"
	}
	return name
}

// exitStatus passes the command's exit code on as bake's own.
func exitStatus(err error) error {
	if exit, ok := errors.AsType[*builder.ExitError](err); ok {
		return exitError(exit.Code)
	}
	return err
}
