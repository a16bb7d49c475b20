package guest

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Limits of what a service may take; systemd's own are longer, but nobody waits
// for them here.
const (
	startTime   = 60 * time.Second
	stopTime    = 10 * time.Second
	maxRestarts = 5
)

// A manager starts and stops services: a small part of what systemd does, for
// roots whose pid 1 it is not.
type manager struct {
	m *machine

	mu       sync.Mutex
	services map[string]*service
}

// A service is a unit that was started once. turn is held by who starts or stops it.
type service struct {
	turn sync.Mutex
	unit *unit

	mu       sync.Mutex
	pid      int // of the main process, 0 if there is none
	active   bool
	failed   bool
	stopping bool
	restarts int
}

func (g *manager) service(name string) (*service, error) {
	u, err := loadUnit(name)
	if err != nil {
		return nil, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.services == nil {
		g.services = map[string]*service{}
	}
	s := g.services[u.name]
	if s == nil {
		s = &service{}
		g.services[u.name] = s
	}
	s.mu.Lock()
	s.unit = u
	s.mu.Unlock()
	return s, nil
}

// start starts a service that does not run, after those that it needs.
func (g *manager) start(name string) error { return g.startWith(name, map[string]bool{}) }

func (g *manager) startWith(name string, under map[string]bool) error {
	if under[name] || skipped(name) {
		return nil
	}
	under[name] = true
	s, err := g.service(name)
	if err != nil {
		return err
	}
	for _, key := range []string{"Unit.Requires", "Unit.Wants", "Unit.BindsTo"} {
		for _, need := range s.unit.words(key) {
			if strings.HasSuffix(need, ".service") && g.startWith(need, under) != nil && key != "Unit.Wants" {
				return fmt.Errorf("%s needs %s, which does not start", name, need)
			}
		}
	}
	s.turn.Lock()
	defer s.turn.Unlock()
	if s.runs() {
		return nil
	}
	s.mu.Lock()
	s.restarts = 0
	s.mu.Unlock()
	return g.launch(s)
}

// launch starts the service. The caller holds s.turn.
func (g *manager) launch(s *service) error {
	err := g.begin(s)
	s.mu.Lock()
	s.active, s.failed, s.stopping = err == nil, err != nil, false
	s.mu.Unlock()
	if err != nil {
		return fmt.Errorf("starting %s: %w", s.unit.name, err)
	}
	return nil
}

func (g *manager) begin(s *service) error {
	u := s.unit
	if u.sysv != "" {
		return g.m.run(exec.Command(u.sysv, "start"))
	}
	if err := u.directories(); err != nil {
		return err
	}
	env := u.environment()
	if err := g.all(u, "Service.ExecStartPre", env); err != nil {
		return err
	}
	kind := u.get("Service.Type")
	var err error
	switch {
	case kind == "oneshot":
		err = g.all(u, "Service.ExecStart", env)
	case kind == "forking":
		if err = g.all(u, "Service.ExecStart", env); err == nil {
			s.adopt()
		}
	default:
		err = g.daemon(s, env, kind == "notify" || kind == "notify-reload")
	}
	if err != nil {
		return err
	}
	return g.all(u, "Service.ExecStartPost", env)
}

// all runs the commands of a setting, one after the other.
func (g *manager) all(u *unit, key string, env []string) error {
	for _, l := range u.commands(key, env) {
		cmd, err := u.command(l, env)
		if err == nil {
			err = g.finish(cmd)
		}
		if err != nil && !l.optional {
			return fmt.Errorf("%s: %w", l.argv[0], err)
		}
	}
	return nil
}

// finish runs a command that shall end.
func (g *manager) finish(cmd *exec.Cmd) error {
	cmd.Stdout, cmd.Stderr = g.m.cloud.output, g.m.cloud.output
	if err := cmd.Start(); err != nil {
		return err
	}
	timer := time.AfterFunc(startTime, func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
	defer timer.Stop()
	return cmd.Wait()
}

// command is a command with the unit's user, folder and environment.
func (u *unit) command(l line, env []string) (*exec.Cmd, error) {
	cmd := exec.Command(l.argv[0], l.argv[1:]...)
	cmd.Env, cmd.Dir = env, "/"
	if dir := strings.TrimPrefix(u.get("Service.WorkingDirectory"), "-"); dir != "" && exists(dir) {
		cmd.Dir = dir
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	user, group := u.get("Service.User"), u.get("Service.Group")
	if user == "" && group == "" {
		return cmd, nil
	}
	cred, home, err := credential(user, group)
	if err != nil {
		return nil, err
	}
	cmd.SysProcAttr.Credential = cred
	cmd.Env = append(cmd.Env, "HOME="+home, "USER="+user, "LOGNAME="+user)
	return cmd, nil
}

// credential is a user with all its groups.
func credential(user, group string) (*syscall.Credential, string, error) {
	if user == "" {
		user = "root"
	}
	uid, gid, err := idOf("/etc/passwd", user)
	if err == nil && group != "" {
		gid, _, err = idOf("/etc/group", group)
	}
	if err != nil {
		return nil, "", err
	}
	cred := &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	home := "/"
	if t, err := table("/etc/passwd"); err == nil {
		if f := t.find(user); len(f) > 5 {
			home = f[5]
		}
	}
	if t, err := table("/etc/group"); err == nil {
		for _, f := range t.lines {
			if len(f) < 4 {
				continue
			}
			for member := range strings.SplitSeq(f[3], ",") {
				if n, err := strconv.Atoi(f[2]); err == nil && member == user {
					cred.Groups = append(cred.Groups, uint32(n))
				}
			}
		}
	}
	return cred, home, nil
}

// directories makes RuntimeDirectory= and its like.
func (u *unit) directories() error {
	for key, parent := range map[string]string{"Runtime": "/run", "State": "/var/lib", "Cache": "/var/cache", "Logs": "/var/log", "Configuration": "/etc"} {
		for _, name := range u.words("Service." + key + "Directory") {
			path := filepath.Join(parent, name)
			if err := os.MkdirAll(path, 0o755); err != nil {
				return err
			}
			if mode, err := strconv.ParseUint(u.get("Service."+key+"DirectoryMode"), 8, 32); err == nil {
				if err := os.Chmod(path, modeOf(uint32(mode))); err != nil {
					return err
				}
			}
			user, group := u.get("Service.User"), u.get("Service.Group")
			if user == "" {
				continue
			}
			cred, _, err := credential(user, group)
			if err != nil {
				return err
			}
			if err := os.Chown(path, int(cred.Uid), int(cred.Gid)); err != nil {
				return err
			}
		}
	}
	return nil
}

// daemon starts a service whose command goes on running. One that tells when
// it is ready (sd_notify(3)) is waited for.
func (g *manager) daemon(s *service, env []string, notifies bool) error {
	lines := s.unit.commands("Service.ExecStart", env)
	if len(lines) == 0 {
		return errors.New("it has no ExecStart")
	}
	ready := make(chan struct{})
	if notifies {
		l, err := listenReady(s.unit.name, ready)
		if err != nil {
			return err
		}
		defer l.Close()
		env = append(env, "NOTIFY_SOCKET="+l.LocalAddr().String())
	} else {
		close(ready)
	}
	cmd, err := s.unit.command(lines[0], env)
	if err != nil {
		return err
	}
	cmd.Stdout, cmd.Stderr = g.m.cloud.output, g.m.cloud.output
	if err := cmd.Start(); err != nil {
		return err
	}
	s.mu.Lock()
	s.pid = cmd.Process.Pid
	s.mu.Unlock()
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case <-ready:
		go func() { g.ended(s, cmd.Process.Pid, <-ended) }()
		return nil
	case err := <-ended:
		if err == nil {
			err = errors.New("it ended before it was ready")
		}
		return err
	case <-time.After(startTime):
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		return fmt.Errorf("it is not ready after %v", startTime)
	}
}

// listenReady closes ready when a service says that it is.
func listenReady(name string, ready chan<- struct{}) (*net.UnixConn, error) {
	path := RunDir + "/notify-" + name
	if err := absent(os.Remove(path)); err != nil {
		return nil, err
	}
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o777); err != nil {
		return nil, err
	}
	go func() {
		buf := make([]byte, 4096)
		for {
			n, err := l.Read(buf)
			if err != nil {
				return
			}
			if strings.Contains("\n"+string(buf[:n]), "\nREADY=1") {
				close(ready)
				return
			}
		}
	}()
	return l, nil
}

// adopt finds the main process of a service that put itself in the background.
func (s *service) adopt() {
	file := s.unit.get("Service.PIDFile")
	if file == "" {
		return
	}
	if data, err := os.ReadFile(file); err == nil {
		if pid, err := strconv.Atoi(strings.TrimSpace(string(data))); err == nil {
			s.mu.Lock()
			s.pid = pid
			s.mu.Unlock()
		}
	}
}

// ended deals with a daemon that has ended: it may want to be started again.
func (g *manager) ended(s *service, pid int, err error) {
	s.mu.Lock()
	mine := s.pid == pid && !s.stopping
	if s.pid == pid {
		s.pid, s.active, s.failed = 0, false, err != nil && !s.stopping
	}
	policy := s.unit.get("Service.Restart")
	again := mine && s.restarts < maxRestarts && (policy == "always" || err != nil && (policy == "on-failure" || policy == "on-abnormal" || policy == "on-abort"))
	s.restarts++
	s.mu.Unlock()
	if !again {
		return
	}
	time.Sleep(100 * time.Millisecond) // RestartSec's default
	s.turn.Lock()
	defer s.turn.Unlock()
	if s.runs() {
		return
	}
	if err := g.launch(s); err != nil {
		g.m.problem("%v", err)
	}
}

// runs reports whether the service is active.
func (s *service) runs() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.unit.sysv != "":
		return exec.Command(s.unit.sysv, "status").Run() == nil
	case s.pid > 0:
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.pid))
		return err == nil && !zombie(data)
	case s.unit.get("Service.Type") == "oneshot":
		return s.active && s.unit.isTrue("Service.RemainAfterExit")
	}
	return s.active && s.unit.get("Service.Type") == "forking"
}

// stop ends a service and returns when it is gone.
func (g *manager) stop(name string) error {
	s, err := g.service(name)
	if err != nil {
		return err
	}
	s.turn.Lock()
	defer s.turn.Unlock()
	if s.unit.sysv != "" {
		return g.m.run(exec.Command(s.unit.sysv, "stop"))
	}
	s.mu.Lock()
	pid := s.pid
	s.stopping = true
	s.mu.Unlock()
	env := s.unit.environment()
	if pid > 0 {
		env = append(env, fmt.Sprintf("MAINPID=%d", pid))
	}
	if s.runs() {
		err = g.all(s.unit, "Service.ExecStop", env)
	}
	if pid > 0 {
		end(pid, s.unit.get("Service.KillMode") == "process")
	}
	s.mu.Lock()
	s.pid, s.active, s.failed = 0, false, false
	s.mu.Unlock()
	return errors.Join(err, g.all(s.unit, "Service.ExecStopPost", env))
}

// end asks a process, and those of its group, to end, and then makes them.
func end(pid int, alone bool) {
	to := -pid
	if group, err := syscall.Getpgid(pid); alone || err != nil || group != pid {
		to = pid
	}
	_ = syscall.Kill(to, syscall.SIGTERM)
	for deadline := time.Now().Add(stopTime); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil || zombie(data) {
			return
		}
	}
	_ = syscall.Kill(to, syscall.SIGKILL)
}

// reload has a service read its configuration again.
func (g *manager) reload(name string) error {
	s, err := g.service(name)
	if err != nil {
		return err
	}
	s.turn.Lock()
	defer s.turn.Unlock()
	if s.unit.sysv != "" {
		return g.m.run(exec.Command(s.unit.sysv, "reload"))
	}
	s.mu.Lock()
	pid := s.pid
	s.mu.Unlock()
	if !s.runs() {
		return fmt.Errorf("%s is not active", s.unit.name)
	}
	if len(s.unit.settings["Service.ExecReload"]) == 0 {
		return syscall.Kill(pid, syscall.SIGHUP)
	}
	return g.all(s.unit, "Service.ExecReload", append(s.unit.environment(), fmt.Sprintf("MAINPID=%d", pid)))
}
