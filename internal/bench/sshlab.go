package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"bake/internal/sshtest"
)

// A stand lets the SSH servers of the tests be used here. They end their test
// where they cannot go on; here that is an error of the case.
type stand struct {
	testing.TB // its other methods are not used
	cleanups   []func()
	failed     bool
}

// broken is what a server's Fatal throws.
type broken struct{ error }

func (s *stand) Helper()                        {}
func (s *stand) Failed() bool                   { return s.failed }
func (s *stand) Cleanup(f func())               { s.cleanups = append(s.cleanups, f) }
func (s *stand) Logf(string, ...any)            {}
func (s *stand) Errorf(format string, a ...any) { s.failed = true }
func (s *stand) Fatal(a ...any)                 { panic(broken{errors.New(strings.TrimSpace(fmt.Sprintln(a...)))}) }
func (s *stand) Fatalf(format string, a ...any) { panic(broken{fmt.Errorf(format, a...)}) }
func (s *stand) Skipf(format string, a ...any)  { panic(broken{fmt.Errorf(format, a...)}) }

func (s *stand) close() error {
	for _, f := range slices.Backward(s.cleanups) {
		f()
	}
	if s.failed {
		return errors.New("an SSH server did not end well")
	}
	return nil
}

// An sshServer is an OpenSSH server, near or behind a link with a delay. What
// is written on it is in memory and its own.
type sshServer struct {
	*lab
	delay  time.Duration // round trip
	server *sshtest.Server
}

// up starts the server before its first case.
func (s *sshServer) up(context.Context) error {
	return s.once(fmt.Sprint("an SSH server at ", s.delay), func() (err error) {
		st := &stand{}
		s.closers = append(s.closers, st.close)
		defer func() {
			if b, ok := recover().(broken); ok {
				err = b.error
			}
		}()
		s.server = sshtest.Start(st, sshtest.Options{Private: true, Delay: s.delay / 2, Config: []string{"MaxSessions 100", "MaxStartups 100"}})
		return nil
	})
}

// options are those of OpenSSH's programs for the server.
func (s *sshServer) options() []string {
	return []string{"-i", s.server.KeyFile, "-o", "UserKnownHostsFile=" + s.server.KnownHosts, "-o", "StrictHostKeyChecking=yes", "-o", "IdentitiesOnly=yes", "-o", "LogLevel=ERROR", "-F", "none"}
}

// line is how a shell calls ssh for the server.
func (s *sshServer) line() string {
	return "ssh -p " + fmt.Sprint(s.server.Port) + " " + strings.Join(s.options(), " ") + " root@" + s.server.Host
}

// source is the server in a template.
func (s *sshServer) source() string {
	return fmt.Sprintf("source: {ssh: {host: %s, port: %d, user: root, key: %s, known_hosts: %s}}", s.server.Host, s.server.Port, s.server.KeyFile, s.server.KnownHosts)
}

// packer is packer's builder for a machine that exists.
func (s *sshServer) packer(provisioners ...string) string {
	return fmt.Sprintf(`{"builders": [{"type": "null", "communicator": "ssh", "ssh_host": %q, "ssh_port": %d, "ssh_username": "root", "ssh_private_key_file": %q}], "provisioners": [%s]}`,
		s.server.Host, s.server.Port, s.server.KeyFile, strings.Join(provisioners, ", ")) + "\n"
}

// remove clears what a case copies to, so that each run copies all of it.
func (s *sshServer) remove(path string) func(context.Context) error {
	return func(ctx context.Context) error {
		return s.do(ctx, s.cmd("sh", "-c", s.line()+" 'rm -rf "+path+"'"))
	}
}

// bakeRuns is bake with a template of one build. A machine's steps are never
// taken from a cache; what bake remembers of files it has read is.
func (s *sshServer) bakeRuns(name string, rest func() string, before func(context.Context) error) contestant {
	file := name + ".yaml"
	return contestant{tool: "bake", before: before,
		setup: func(ctx context.Context) error {
			if err := s.up(ctx); err != nil {
				return err
			}
			_, err := s.file(file, "name: bench\n"+s.source()+"\nsteps:\n"+rest())
			return err
		},
		command: func() *exec.Cmd { return s.cmd(s.bake, file) }}
}

// packerRuns is the same for packer.
func (s *sshServer) packerRuns(name string, provisioners func() []string, before func(context.Context) error) contestant {
	file := name + ".json"
	return contestant{tool: "packer", needs: "packer", before: before,
		setup: func(ctx context.Context) error {
			if err := s.up(ctx); err != nil {
				return err
			}
			_, err := s.file(file, s.packer(provisioners()...))
			return err
		},
		command: func() *exec.Cmd { return s.cmd("packer", "build", file) }}
}

// shell is a peer that a line of shell calls.
func (s *sshServer) shell(tool, needs string, line func() string, before func(context.Context) error) contestant {
	return contestant{tool: tool, needs: needs, setup: s.up, before: before, command: func() *exec.Cmd { return s.cmd("sh", "-ec", line()) }}
}

// floor is the least that the case can cost: this program, called again.
func (s *sshServer) floor(tool string, before func(context.Context) error, args func() []string) contestant {
	return contestant{tool: tool, setup: s.up, before: before, command: func() *exec.Cmd {
		words := args()
		return s.cmd("/proc/self/exe", append([]string{floorWord, words[0], s.server.Addr(), s.server.KeyFile}, words[1:]...)...)
	}}
}

// data makes what is copied, once: a file, or a folder of small ones.
func (s *sshServer) data(name string, size int64, files int) (string, error) {
	path := filepath.Join(s.dir, "data", fmt.Sprintf("%s-%d", name, size))
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	if files == 0 {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return "", err
		}
		return path, writeHalfCompressible(path, size, 7)
	}
	for i := range files {
		dir := filepath.Join(path, fmt.Sprint(i%100))
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return "", err
		}
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), []byte(strings.Repeat(fmt.Sprintf("%08d", i), 128)), 0o644); err != nil {
			return "", err
		}
	}
	return path, nil
}
