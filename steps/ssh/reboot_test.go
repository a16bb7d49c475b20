package ssh

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bake/builder"
	"bake/builder/buildertest"
	"bake/internal/sshtest"
)

func scope(t *testing.T) *builder.Scope {
	return buildertest.Scope(t, builder.Catalog{}, t.TempDir())
}

// whenAsked calls do once the machine was told to reboot: by a file, since a
// machine made of namespaces cannot restart itself.
func whenAsked(t *testing.T, s *sshtest.Server, do func()) string {
	ask := filepath.Join(s.Dir, "home", "root", "reboot")
	done := make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			if _, err := os.Stat(ask); err == nil {
				do()
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
	}()
	t.Cleanup(func() { cancel(); <-done })
	return "touch " + ask + "; sleep 100" // the connection breaks under it
}

func TestRebootProvesThatTheMachineStartedAnew(t *testing.T) {
	s := sshtest.Start(t, sshtest.Options{})
	m := connect(t, config(s))
	before := output(t, m, rootCommand("cat /proc/sys/kernel/random/boot_id"))
	command := whenAsked(t, s, func() {
		if err := s.Reboot(); err != nil {
			t.Error(err)
		}
	})
	if err := m.Reboot(t.Context(), scope(t), command, time.Minute); err != nil {
		t.Fatal(err)
	}
	if after := output(t, m, rootCommand("cat /proc/sys/kernel/random/boot_id")); after == before {
		t.Error("the boot id is the same")
	}
}

func TestRebootOfAMachineThatDoesNotGoFails(t *testing.T) {
	m := connect(t, config(sshtest.Start(t, sshtest.Options{})))
	err := m.Reboot(t.Context(), scope(t), "true", 2*time.Second)
	if e, ok := errors.AsType[*RebootError](err); !ok || e.Gone || !strings.Contains(err.Error(), "still up") {
		t.Errorf("error %v", err)
	}
	err = m.Reboot(t.Context(), scope(t), "echo no >&2; exit 3", time.Minute)
	if exit, ok := errors.AsType[*builder.ExitError](err); !ok || exit.Code != 3 || !strings.Contains(err.Error(), "no") {
		t.Errorf("a command that fails: %v", err)
	}
}

func TestRebootOfAMachineThatStaysAwayFails(t *testing.T) {
	s := sshtest.Start(t, sshtest.Options{})
	m := connect(t, config(s))
	err := m.Reboot(t.Context(), scope(t), whenAsked(t, s, s.Down), 4*time.Second)
	if e, ok := errors.AsType[*RebootError](err); !ok || !e.Gone {
		t.Errorf("error %v", err)
	}
}

func TestRebootIntoAnotherMachineFails(t *testing.T) {
	s := sshtest.Start(t, sshtest.Options{})
	m := connect(t, config(s))
	command := whenAsked(t, s, func() {
		s.ReplaceHostKey()
		if err := s.Reboot(); err != nil {
			t.Error(err)
		}
	})
	err := m.Reboot(t.Context(), scope(t), command, time.Minute)
	if e, ok := errors.AsType[*HostKeyError](err); !ok || !e.Changed {
		t.Errorf("error %v", err)
	}
}
