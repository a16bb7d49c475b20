package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"bake/builder"
	"bake/steps/amazon/ecs"
	"bake/templates"
)

// The exit codes of every command; `bake --help` lists them.
const (
	exitDone        = 0   // done, or nothing to do
	exitFailed      = 1   // the run failed
	exitUsage       = 2   // the template or the command line is wrong
	exitLeft        = 3   // done, but something was left behind, or a deployment was rolled back
	exitDiffers     = 4   // plan --detailed or ecs diff found something to do
	exitInterrupted = 130 // by Ctrl-C or a signal
)

// errInterrupted is why the context of a run ended when a signal came.
var errInterrupted = errors.New("interrupted")

// usageError is a mistake on the command line.
type usageError struct {
	err  error
	hint string
}

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }
func (e *usageError) Hint() string  { return e.hint }

func usagef(hint, format string, args ...any) error {
	return &usageError{fmt.Errorf(format, args...), hint}
}

// hinted is an error with what to do about it.
type hinted struct {
	error
	hint string
}

func (e *hinted) Unwrap() error { return e.error }
func (e *hinted) Hint() string  { return e.hint }

// templateError is a template that is wrong; its diagnostics are printed in full.
type templateError struct{ diags templates.Diagnostics }

func (e *templateError) Error() string { return e.diags.Err().Error() }

// exitError ends the program with a code and prints nothing: all was said.
type exitError int

func (e exitError) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// exitCode maps what a command returned to the program's exit code, and
// prints what was not printed yet.
func exitCode(err error, stderr io.Writer, color bool) int {
	if err == nil {
		return exitDone
	}
	if e, ok := errors.AsType[exitError](err); ok {
		return int(e)
	}
	if e, ok := errors.AsType[*templateError](err); ok {
		e.diags.Format(stderr, color)
		return exitUsage
	}
	if errors.Is(err, context.Canceled) && runCode(err) == exitInterrupted {
		// Which call it was that did not come to its end tells the user nothing.
		fmt.Fprintln(stderr, "bake: interrupted")
		return exitInterrupted
	}
	fmt.Fprintf(stderr, "bake: %v\n", err)
	if hint := builder.Hint(err); hint != "" {
		fmt.Fprintf(stderr, "hint: %s\n", hint)
	}
	return runCode(err)
}

// runCode is the exit code of a run that ended with err.
func runCode(err error) int {
	usage, isUsage := errors.AsType[*usageError](err)
	switch {
	case err == nil:
		return exitDone
	case isUsage && usage != nil:
		return exitUsage
	case errors.Is(err, errInterrupted), errors.Is(err, context.Canceled):
		return exitInterrupted
	case turnedBack(err):
		return exitLeft
	case failed(err):
		return exitFailed
	case errors.Is(err, builder.ErrLeft):
		return exitLeft
	}
	return exitFailed
}

// failed reports whether a step failed, as opposed to something being left
// behind by a run that did its work.
func failed(err error) bool {
	_, ok := errors.AsType[*builder.StepError](err)
	return ok
}

// turnedBack reports whether a deployment was rolled back, or not finished in time.
func turnedBack(err error) bool {
	d, ok := errors.AsType[*ecs.DeploymentError](err)
	return ok && d.TurnedBack()
}
