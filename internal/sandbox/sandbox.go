// Package sandbox is a local AWS: it joins the services below it into one
// server on loopback, which speaks AWS's own protocols, keeps what they know,
// and stops what they started.
package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"bake/internal/sandbox/api"
)

// DefaultAccount is whose sandbox it is if nothing else is said.
const DefaultAccount = "000000000000"

// Options of a sandbox. The zero value is one in memory, on a free port, whose
// states take no time.
type Options struct {
	// Addr is where it listens, on loopback; empty: a free port of 127.0.0.1.
	Addr string
	// Dir keeps its state and disks for the next start; empty: a temporary folder.
	Dir string
	// Pace is how long states take: 1 as on AWS, 0.01 a hundredth, 0 no time.
	Pace float64
	// Account is the account of callers with any key; empty: DefaultAccount.
	Account string
	// Faults go wrong from the start.
	Faults []api.Fault
	// Log is told of what the sandbox cannot tell a caller; nil: nobody.
	Log *log.Logger
	// Calls is told of every call that was answered; nil: nobody.
	Calls func(api.Entry)
}

// regions that the sandbox has: all that need no opting in.
func regions() []string {
	return []string{"us-east-1", "us-east-2", "us-west-1", "us-west-2", "ca-central-1", "sa-east-1",
		"eu-west-1", "eu-west-2", "eu-west-3", "eu-central-1", "eu-north-1",
		"ap-south-1", "ap-southeast-1", "ap-southeast-2", "ap-northeast-1", "ap-northeast-2", "ap-northeast-3"}
}

// A Sandbox is a local AWS that runs.
type Sandbox struct {
	// URL is the endpoint of all its services.
	URL string
	// World is what its services share.
	World *api.World
	// Faults go wrong on demand, and count calls.
	Faults *api.Faults
	// Services are the parts, for tests that set them up.
	Services Services

	keeper *keeper
	calls  *api.Server
	server *http.Server
	remove string // temporary folder
	over   chan error
}

// Start starts a sandbox. It runs until Close; ctx bounds the start alone.
func Start(ctx context.Context, o Options) (_ *Sandbox, err error) {
	s := &Sandbox{over: make(chan error, 1)}
	if o.Log == nil {
		o.Log = log.New(io.Discard, "", 0)
	}
	dir := o.Dir
	if dir == "" {
		if _, err := sweep(os.TempDir(), time.Now()); err != nil {
			o.Log.Printf("what a killed sandbox left: %v", err)
		}
		if dir, err = os.MkdirTemp("", temporary); err != nil {
			return nil, err
		}
		s.remove = dir
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	s.keeper = &keeper{dir: dir, persistent: o.Dir != ""}
	if err := s.keeper.lock(); err != nil {
		return nil, err
	}
	listener, err := listen(ctx, o.Addr)
	if err != nil {
		return nil, err
	}
	s.URL = "http://" + listener.Addr().String()
	if err := s.join(dir, o); err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	s.serve(listener, o.Log)
	return s, s.keeper.announce(s.URL)
}

// listen wants an address on loopback: the sandbox gives everybody every right.
func listen(ctx context.Context, addr string) (net.Listener, error) {
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("address %q of the sandbox: %w", addr, err)
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return nil, fmt.Errorf("address %q of the sandbox is not on loopback, and it asks nobody for a password", addr)
	}
	return new(net.ListenConfig).Listen(ctx, "tcp", addr)
}

// join makes the services, loads what they kept, and puts them behind one server.
func (s *Sandbox) join(dir string, o Options) error {
	account := o.Account
	if account == "" {
		account = DefaultAccount
	}
	s.Faults = new(api.Faults)
	s.Faults.Watch(o.Calls)
	s.World = &api.World{Dir: dir, Account: account, Regions: regions(), Pace: o.Pace, Now: time.Now, URL: s.URL, Faults: s.Faults}
	parts, err := s.Services.make(s.World, o.Log.Printf)
	if err != nil {
		return err
	}
	if err := s.keeper.load(parts); err != nil {
		return err
	}
	handler := api.NewServer(s.World)
	s.calls = handler
	for _, p := range parts {
		handler.Add(p.Service())
	}
	handler.Keys, handler.Authorize = s.Services, s.Services.guard().Authorize
	handler.State = s.keeper.state
	if s.keeper.persistent {
		s.World.Changed = s.keeper.save
	}
	s.server = &http.Server{Handler: handler, ReadHeaderTimeout: 30 * time.Second}
	return s.Faults.Add(o.Faults...)
}

func (s *Sandbox) serve(l net.Listener, logger *log.Logger) {
	s.server.ErrorLog = logger
	go func() { s.over <- s.server.Serve(l) }()
}

// ServeHTTP answers a call as the sandbox at URL does, for tests that stand
// between a process and its sandbox.
func (s *Sandbox) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.calls.ServeHTTP(w, r) }

// Refuse answers a call with an error and does nothing, for the same tests.
func (s *Sandbox) Refuse(w http.ResponseWriter, r *http.Request, why *api.Error) {
	s.calls.Refuse(w, r, why)
}

// Close stops everything that the sandbox started, keeps its state if it has a
// folder, and removes its files if it has not.
func (s *Sandbox) Close() error {
	var errs []error
	if s.server != nil {
		errs = append(errs, s.server.Close())
		<-s.over
	}
	if s.keeper != nil {
		errs = append(errs, s.keeper.close())
	}
	if s.remove != "" {
		errs = append(errs, os.RemoveAll(s.remove))
	}
	return errors.Join(errs...)
}
