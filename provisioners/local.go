package provisioners

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"bake/builder"
	"bake/internal/filetree"
	"bake/templates"
)

// Local runs a script on this machine, in the template's directory. Like any
// step it does not run again while nothing before it has changed; `cache: false`
// beside it makes it run every time. It sees, besides the step's env:
// BAKE_RUN, BAKE_BUILD, BAKE_STEP, BAKE_DIR (the template's directory) and
// BAKE_WORKDIR (a directory for the run's own files, removed with it).
type Local struct {
	Script    templates.Strings `yaml:"script" bake:"main,required" doc:"Commands to run on this machine: one or several lines, or a list; all of them are one script."`
	Shell     string            `yaml:"shell" doc:"What reads the script: a name or path (bash, python3) or a whole command line. Default: the script's own #! line, else sh."`
	Strict    bool              `yaml:"strict" default:"true" doc:"Stop at the first command that fails: sh -e, bash -euo pipefail."`
	ExitCodes []int             `yaml:"exit_codes" doc:"Exit codes that are success; default [0]."`
	Inputs    templates.Strings `yaml:"inputs" doc:"Local files, directories or patterns whose change makes the step run again."`
}

// Validate checks what the tags cannot say.
func (l *Local) Validate(b templates.Block) templates.Diagnostics {
	ds := checkCodes(b, l.ExitCodes)
	if len(l.Script) > 0 && strings.TrimSpace(strings.Join(l.Script, "")) == "" && !b.At("script").Unresolved() {
		ds = append(ds, b.At("script").Errorf("nothing to run"))
	}
	return ds
}

// Check reports inputs that are not there.
func (l *Local) Check(dir string, b templates.Block) (ds templates.Diagnostics) {
	return checkInputs(dir, l.Inputs, b)
}

// Fingerprint covers the inputs.
func (l *Local) Fingerprint(ctx context.Context, dir string) (builder.Digest, error) {
	return digestOf(ctx, dir, l.Inputs, filetree.Options{})
}

// Provision runs the script here.
func (l *Local) Provision(ctx context.Context, sc *builder.Scope, _ builder.Communicator) (builder.Outcome, error) {
	script := strings.Join(l.Script, "\n")
	dir := sc.Dir
	if sc.Workdir != "" {
		dir = filepath.Join(dir, sc.Workdir)
		if filepath.IsAbs(sc.Workdir) {
			dir = sc.Workdir
		}
	}
	words := interpreter(l.Shell, script, l.Strict)
	cmd := exec.CommandContext(ctx, words[0], words[1:]...)
	cmd.Dir, cmd.Env = dir, localEnv(sc)
	out, errs := sc.Stdout(), sc.Stderr()
	defer out.Close()
	defer errs.Close()
	cmd.Stdout, cmd.Stderr = out, errs
	note, err := allowed(runHere(cmd, script), l.ExitCodes)
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	return builder.Outcome{Note: note}, err
}

// localEnv is the environment of programs that a step runs on this machine.
func localEnv(sc *builder.Scope) []string {
	env := append(os.Environ(),
		"BAKE_RUN="+string(sc.Run), "BAKE_BUILD="+sc.Step.Build(), "BAKE_STEP="+string(sc.Step),
		"BAKE_DIR="+sc.Dir, "BAKE_WORKDIR="+sc.WorkDir)
	for _, k := range slices.Sorted(maps.Keys(sc.Env)) {
		env = append(env, k+"="+sc.Env[k])
	}
	return env
}

// runHere starts a program of this machine in a process group of its own, all
// of which ends with its context. A script reaches it on descriptor 3.
func runHere(cmd *exec.Cmd, script string) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	if script != "" {
		r, w, err := os.Pipe()
		if err != nil {
			return err
		}
		cmd.ExtraFiles, cmd.Args = []*os.File{r}, append(cmd.Args, "/dev/fd/3")
		done := make(chan struct{})
		go func() {
			defer close(done)
			io.WriteString(w, script) // who ends without reading it all has its reasons
			w.Close()
		}()
		defer func() { r.Close(); <-done }()
	}
	err := cmd.Start()
	if err != nil {
		return fmt.Errorf("starting %s: %w", cmd.Path, err)
	}
	err = cmd.Wait()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exitError(exit)
	}
	return err
}

func exitError(exit *exec.ExitError) error {
	status, ok := exit.Sys().(syscall.WaitStatus)
	if ok && status.Signaled() {
		name := strings.TrimPrefix(strings.ToUpper(unix.SignalName(status.Signal())), "SIG")
		return &builder.ExitError{Code: 128 + int(status.Signal()), Signal: name}
	}
	return &builder.ExitError{Code: exit.ExitCode()}
}
