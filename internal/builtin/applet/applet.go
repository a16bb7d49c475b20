// Package applet holds the utilities of the built-in base image: what POSIX
// scripts expect beside the shell, each a function that works on a Call
// instead of the process, so that the shell runs it without starting one. Where
// u-root has a utility that does what scripts ask of it, that is used; the
// others are here, with the options of POSIX and the few of GNU that scripts
// cannot do without.
package applet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// A Func is one utility. An error other than *Exit is printed behind the
// utility's name and makes exit status 1.
type Func func(ctx context.Context, c *Call) error

// A Table is the utilities that a Call may run without a new process.
type Table map[string]Func

// A Call is one invocation of a utility.
type Call struct {
	Name           string   // as it was called
	Args           []string // without the name
	Dir            string   // working directory, absolute
	Env            []string // "K=V"
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Table          Table
	// Forward passes signals on to the program that Exec starts: it runs in
	// the place of its caller.
	Forward bool
	// Kill sends a signal; nil is the system's.
	Kill func(pid int, sig syscall.Signal) error

	failed bool
}

// Exit ends a utility with a status and no message.
type Exit struct{ Code int }

func (e *Exit) Error() string { return fmt.Sprintf("exit status %d", e.Code) }

// usageError is a mistake on the command line: status 2 where POSIX asks for
// "greater than 1", which is right for the others too.
type usageError struct{ text string }

func (e *usageError) Error() string { return e.text }

func usagef(format string, args ...any) error {
	return &usageError{fmt.Sprintf(format, args...)}
}

// statusPipe is what a shell reports for a process that SIGPIPE ended.
const statusPipe = 128 + int(syscall.SIGPIPE)

// Run calls f, prints what went wrong and returns the exit status.
func (f Func) Run(ctx context.Context, c *Call) int {
	err := f(ctx, c)
	exit, isExit := errors.AsType[*Exit](err)
	_, isUsage := errors.AsType[*usageError](err)
	switch {
	case err == nil && c.failed:
		return 1
	case err == nil:
		return 0
	case isExit:
		return exit.Code
	case errors.Is(err, syscall.EPIPE):
		return statusPipe
	}
	c.Warn(err)
	if isUsage {
		return 2
	}
	return 1
}

// Warn prints a message and lets the utility end with status 1.
func (c *Call) Warn(err error) {
	c.failed = true
	fmt.Fprintf(c.Stderr, "%s: %s\n", c.Name, message(err))
}

// message is "file: reason", as utilities say it.
func message(err error) string {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Path + ": " + e.Err.Error()
	}
	if e, ok := errors.AsType[*os.LinkError](err); ok {
		return e.New + ": " + e.Err.Error()
	}
	return err.Error()
}

// Path returns where a name that the caller gave lies.
func (c *Call) Path(name string) string {
	if filepath.IsAbs(name) || name == "" {
		return name
	}
	// Not filepath.Join: a trailing slash asks for a directory.
	return c.Dir + "/" + name
}

// Getenv returns a variable of the call's environment.
func (c *Call) Getenv(key string) string {
	v, _ := c.lookupEnv(key)
	return v
}

func (c *Call) lookupEnv(key string) (string, bool) {
	for i := len(c.Env) - 1; i >= 0; i-- {
		if v, ok := strings.CutPrefix(c.Env[i], key+"="); ok {
			return v, true
		}
	}
	return "", false
}

// printf writes to stdout.
func (c *Call) printf(format string, args ...any) error {
	_, err := fmt.Fprintf(c.Stdout, format, args...)
	return err
}

// eachInput calls do for each named file, "-" and no name at all being stdin.
// A file that cannot be read is a warning.
func (c *Call) eachInput(names []string, do func(name string, r io.Reader) error) error {
	if len(names) == 0 {
		names = []string{"-"}
	}
	for _, name := range names {
		if name == "-" {
			if err := do(name, c.Stdin); err != nil {
				return err
			}
			continue
		}
		f, err := os.Open(c.Path(name))
		if err != nil {
			c.Warn(relabel(err, name))
			continue
		}
		err = do(name, f)
		f.Close()
		if errors.Is(err, syscall.EISDIR) {
			c.Warn(relabel(err, name))
			continue
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// relabel names the file in err as the user did.
func relabel(err error, name string) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return &fs.PathError{Op: e.Op, Path: name, Err: e.Err}
	}
	return err
}
