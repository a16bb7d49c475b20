package main

import (
	"cmp"
	"context"
	"errors"
	"net"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"bake/internal/sandbox"
)

// sandboxDir is where --sandbox keeps its images, beside the runs.
var sandboxDir = filepath.Join(".bake", "sandbox")

// sandboxFlag is --sandbox, which every command takes.
func (a *app) sandboxFlag(root *cobra.Command) {
	f := root.PersistentFlags()
	f.StringVar(&a.flags.sandbox, "sandbox", "", "call a local AWS instead of AWS; it is kept in `WHERE`, a folder, or is a running one's URL (default "+sandboxDir+")")
	f.Lookup("sandbox").NoOptDefVal = sandboxDir
}

// openSandbox returns the endpoint that calls to AWS go to; empty: AWS. where is
// what --sandbox says. A sandbox that this process starts ends with stop; one
// that another process runs in the same folder is used as it is.
func (a *app) openSandbox(where string) (endpoint string, stop func(), err error) {
	stop = func() {}
	if where == "" || strings.HasPrefix(where, "http://") || strings.HasPrefix(where, "https://") {
		return where, stop, answers(where)
	}
	s, err := sandbox.Start(context.Background(), sandbox.Options{Dir: where})
	if busy, ok := errors.AsType[*sandbox.BusyError](err); ok {
		return busy.URL, stop, nil
	}
	if err != nil {
		return "", stop, err
	}
	return s.URL, func() { _ = s.Close() }, nil // what it leaves the next start finds
}

// answers tries whether anything listens at a sandbox's URL, before calls are
// repeated for minutes as AWS's are.
func answers(where string) error {
	at, err := url.Parse(where)
	if where == "" || err == nil && at.Scheme == "https" {
		return nil
	}
	if err != nil {
		return usagef("like --sandbox=http://127.0.0.1:4566", "--sandbox: %w", err)
	}
	c, err := net.DialTimeout("tcp", net.JoinHostPort(at.Hostname(), cmp.Or(at.Port(), "80")), 5*time.Second)
	if err != nil {
		return usagef("`bake sandbox` runs one; --sandbox alone needs none", "no sandbox answers at %s: %w", where, err)
	}
	return c.Close()
}

// absoluteSandbox is --sandbox so that it means the same from another folder.
func (a *app) absoluteSandbox() (string, error) {
	if where := a.flags.sandbox; where == "" || strings.Contains(where, "://") {
		return where, nil
	}
	return filepath.Abs(a.flags.sandbox)
}
