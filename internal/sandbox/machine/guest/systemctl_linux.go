package guest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
)

// A verb is what systemctl is asked to do with a unit; it may print.
type verb func(g *manager, name string) (string, error)

// verbs are those that are about what runs.
func verbs() map[string]verb {
	quiet := func(f func(g *manager, name string) error) verb {
		return func(g *manager, name string) (string, error) { return "", f(g, name) }
	}
	again := quiet(func(g *manager, name string) error { return errors.Join(g.stop(name), g.start(name)) })
	ifUp := func(f verb) verb {
		return func(g *manager, name string) (string, error) {
			if s, err := g.service(name); err != nil || !s.runs() {
				return "", err
			}
			return f(g, name)
		}
	}
	reload := quiet((*manager).reload)
	nothing := quiet(func(*manager, string) error { return nil })
	power := nothing // done by systemctl itself
	return map[string]verb{
		"start": quiet((*manager).start), "stop": quiet((*manager).stop), "restart": again, "reload": reload,
		"try-restart": ifUp(again), "condrestart": ifUp(again), "reload-or-restart": again, "force-reload": again, "try-reload-or-restart": ifUp(again),
		"is-active": (*manager).isActive, "is-failed": (*manager).isFailed, "status": (*manager).status, "show": (*manager).show,
		"daemon-reload": nothing, "daemon-reexec": nothing, "reset-failed": nothing, "list-units": nothing, "list-jobs": nothing, "isolate": nothing,
		"is-system-running": nothing, "kill": quiet((*manager).kill),
		"reboot": power, "poweroff": power, "halt": power,
	}
}

// An exitStatus is a verb's answer that is no failure.
type exitStatus int

func (e exitStatus) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// systemctl is systemctl(1) for what runs.
func (m *machine) systemctl(cmd command) answer {
	verb, names := verbOf(cmd.Args)
	reading := slices.Contains([]string{"", "is-active", "is-failed", "status", "show", "list-units", "is-system-running", "list-jobs"}, verb)
	if cmd.uid != 0 && !reading {
		return answer{Err: fmt.Sprintf("Failed to %s: Interactive authentication required.\n", verb), Code: 1}
	}
	switch verb {
	case "reboot", "poweroff", "halt":
		return m.power(command{Name: verb, uid: cmd.uid})
	case "is-system-running":
		return answer{Out: "running\n"}
	case "enable", "disable":
		return m.enable(cmd.Args, verb, names)
	}
	m.services.m = m
	a := answer{}
	for _, name := range names {
		if isSSH(name) && !reading {
			if err := m.reloadSSH(verb); err != nil {
				a.Err, a.Code = err.Error()+"\n", 1
			}
			continue
		}
		out, err := verbs()[verb](&m.services, name)
		if !slices.Contains(cmd.Args, "--quiet") && !slices.Contains(cmd.Args, "-q") {
			a.Out += out
		}
		var status exitStatus
		switch {
		case err == nil:
		case errors.As(err, &status):
			a.Code = int(status)
		case errors.Is(err, errNoUnit):
			a.Code = 5
			a.Err += fmt.Sprintf("Failed to %s %s: Unit %s not found.\n", verb, name, name)
		default:
			a.Code = 1
			a.Err += fmt.Sprintf("Failed to %s %s: %v\n", verb, name, err)
		}
	}
	return a
}

// enable has the image's systemctl change the files, and does the rest of --now.
func (m *machine) enable(args []string, verb string, names []string) answer {
	files := slices.DeleteFunc(slices.Clone(args), func(a string) bool { return a == "--now" })
	cmd := exec.Command("/usr/bin/systemctl", files...)
	cmd.Env = append(os.Environ(), offline)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return answer{Err: string(out), Code: 1}
	}
	do := "start"
	if verb == "disable" {
		do = "stop"
	}
	a := m.systemctl(command{Args: append([]string{do}, names...)})
	a.Err = string(out) + a.Err
	return a
}

// offline has systemctl work on files, since no systemd runs.
const offline = "SYSTEMD_OFFLINE=1"

// isSSH reports whether a service is the one that lets people in, which is not the manager's.
func isSSH(name string) bool {
	return slices.Contains([]string{"ssh", "sshd"}, strings.TrimSuffix(name, ".service"))
}

// reloadSSH has OpenSSH read its configuration again. Connections stay, as
// with a restart of the service.
func (m *machine) reloadSSH(verb string) error {
	if !strings.Contains(verb, "start") && !strings.Contains(verb, "reload") || m.sshd == nil {
		return nil
	}
	return m.sshd.Process.Signal(syscall.SIGHUP)
}

func (g *manager) isActive(name string) (string, error) {
	switch s, err := g.service(name); {
	case err == nil && s.runs():
		return "active\n", nil
	case err == nil && s.state() == "failed":
		return "failed\n", exitStatus(3)
	}
	if isSSH(name) {
		return "active\n", nil
	}
	return "inactive\n", exitStatus(3)
}

func (g *manager) isFailed(name string) (string, error) {
	s, err := g.service(name)
	if err != nil {
		return "inactive\n", exitStatus(1)
	}
	if state := s.state(); state != "failed" {
		return state + "\n", exitStatus(1)
	}
	return "failed\n", nil
}

func (s *service) state() string {
	if s.runs() {
		return "active"
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed {
		return "failed"
	}
	return "inactive"
}

func (g *manager) status(name string) (string, error) {
	s, err := g.service(name)
	if errors.Is(err, errNoUnit) {
		return "", exitStatus(4)
	}
	if err != nil {
		return "", err
	}
	state := s.state()
	text := fmt.Sprintf("%s - %s\n     Active: %s\n", s.unit.name, s.unit.get("Unit.Description"), state)
	if state != "active" {
		return text, exitStatus(3)
	}
	return text, nil
}

func (g *manager) show(name string) (string, error) {
	s, err := g.service(name)
	if err != nil {
		return fmt.Sprintf("Id=%s\nLoadState=not-found\nActiveState=inactive\nSubState=dead\n", name), nil
	}
	state := s.state()
	sub := map[string]string{"active": "running", "inactive": "dead", "failed": "failed"}[state]
	s.mu.Lock()
	defer s.mu.Unlock()
	return fmt.Sprintf("Id=%s\nLoadState=loaded\nActiveState=%s\nSubState=%s\nMainPID=%d\nCanReload=yes\n", s.unit.name, state, sub, s.pid), nil
}

func (g *manager) kill(name string) error {
	s, err := g.service(name)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pid == 0 {
		return fmt.Errorf("%s is not active", strings.TrimSuffix(name, ".service"))
	}
	return syscall.Kill(s.pid, syscall.SIGTERM)
}
