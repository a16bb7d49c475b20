package sshd

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"
)

// searchPath is what commands get as PATH, as Debian's sshd gives root.
const searchPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// A session is one channel: what was asked for so far, and what runs.
type session struct {
	server  *Server
	conn    *ssh.ServerConn
	who     account
	channel ssh.Channel
	env     []string
	master  *os.File // of the terminal, if one was asked for
	slave   *os.File
	term    string

	mu   sync.Mutex
	cmd  *exec.Cmd
	done sync.WaitGroup
}

// session serves one channel. The requests end when the peer or we close it.
func (s *Server) session(conn *ssh.ServerConn, who account, channel ssh.Channel, requests <-chan *ssh.Request) {
	x := &session{server: s, conn: conn, who: who, channel: channel}
	for r := range requests {
		ok := x.request(r)
		if r.WantReply {
			_ = r.Reply(ok, nil)
		}
	}
	x.hangUp()
	x.done.Wait()
	x.closeTerminal()
}

func (x *session) request(r *ssh.Request) bool {
	switch r.Type {
	case "env":
		var v struct{ Name, Value string }
		if ssh.Unmarshal(r.Payload, &v) != nil || v.Name != "LANG" && !strings.HasPrefix(v.Name, "LC_") {
			return false
		}
		x.env = append(x.env, v.Name+"="+v.Value)
		return true
	case "pty-req":
		return x.openTerminal(r.Payload)
	case "window-change":
		return x.resize(r.Payload)
	case "signal":
		return x.signal(r.Payload)
	case "shell":
		return x.begin("", true)
	case "exec":
		var v struct{ Command string }
		return ssh.Unmarshal(r.Payload, &v) == nil && x.begin(v.Command, false)
	case "subsystem":
		var v struct{ Name string }
		return ssh.Unmarshal(r.Payload, &v) == nil && v.Name == "sftp" && x.sftp()
	}
	return false
}

// begin starts a command, or the user's shell.
func (x *session) begin(command string, login bool) bool {
	shell := x.who.shell
	cmd := exec.Command(shell, "-c", command)
	if login {
		cmd = exec.Command(shell)
		cmd.Args[0] = "-" + filepath.Base(shell)
	}
	if forced := x.conn.Permissions.Extensions[forcedCommand]; forced != "" {
		cmd = exec.Command(shell, "-c", forced)
		x.env = append(x.env, "SSH_ORIGINAL_COMMAND="+command)
	}
	return x.start(cmd)
}

// sftp serves files: to root in this process, to others in one that has their rights.
func (x *session) sftp() bool {
	if x.who.credential() != nil {
		cmd := exec.Command(x.server.Program)
		cmd.Args = []string{x.server.SFTPName}
		return x.start(cmd)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.cmd != nil {
		return false
	}
	x.cmd = &exec.Cmd{}
	x.done.Go(func() {
		status := uint32(0)
		if err := ServeFiles(x.channel, x.who.dir()); err != nil {
			status = 1
		}
		x.exit(status)
	})
	return true
}

// ServeFiles speaks the server's side of SFTP; relative names lie below dir.
func ServeFiles(channel interface {
	Read([]byte) (int, error)
	Write([]byte) (int, error)
	Close() error
}, dir string) error {
	server, err := sftp.NewServer(channel, sftp.WithServerWorkingDirectory(dir))
	if err != nil {
		return err
	}
	return server.Serve()
}

func (x *session) start(cmd *exec.Cmd) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.cmd != nil {
		return false
	}
	cmd.Dir = x.who.dir()
	cmd.Env = x.environment()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Credential: x.who.credential()}
	p := &pipes{}
	var err error
	if x.slave != nil {
		cmd.Stdin, cmd.Stdout, cmd.Stderr = x.slave, x.slave, x.slave
		cmd.SysProcAttr.Setctty = true
		p.in, p.outs = x.master, []output{{x.master, x.channel}}
	} else if err = p.open(cmd, x.channel); err != nil {
		return false
	}
	if err = cmd.Start(); err != nil {
		p.close()
		_, _ = x.channel.Stderr().Write([]byte(err.Error() + "\r\n"))
		return false
	}
	x.cmd = cmd
	p.closeFar()
	if x.slave != nil {
		x.slave.Close()
		x.slave = nil
	}
	x.done.Go(func() { x.run(cmd, p) })
	return true
}

// run moves what is read and written until the command ends, and tells how it did.
func (x *session) run(cmd *exec.Cmd, p *pipes) {
	p.copy(x.channel)
	_ = cmd.Wait() // the state says all
	p.finish()
	status, _ := cmd.ProcessState.Sys().(syscall.WaitStatus)
	if status.Signaled() {
		name := strings.TrimPrefix(unix.SignalName(status.Signal()), "SIG")
		_, _ = x.channel.SendRequest("exit-signal", false, ssh.Marshal(struct {
			Name  string
			Core  bool
			Error string
			Lang  string
		}{Name: name, Core: status.CoreDump()}))
		_ = x.channel.Close()
		return
	}
	x.exit(uint32(status.ExitStatus()))
}

func (x *session) exit(status uint32) {
	_ = x.channel.CloseWrite()
	_, _ = x.channel.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{status}))
	_ = x.channel.Close()
}

func (x *session) environment() []string {
	env := append([]string{
		"PATH=" + searchPath, "HOME=" + x.who.home, "USER=" + x.who.name, "LOGNAME=" + x.who.name, "SHELL=" + x.who.shell,
		"SSH_CLIENT=" + words(x.conn.RemoteAddr(), false) + " " + port(x.conn.LocalAddr()),
		"SSH_CONNECTION=" + words(x.conn.RemoteAddr(), false) + " " + words(x.conn.LocalAddr(), false),
	}, x.env...)
	if data, err := os.ReadFile("/etc/environment"); err == nil {
		for line := range strings.Lines(string(data)) {
			if name, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && !strings.HasPrefix(name, "#") {
				env = append(env, name+"="+strings.Trim(value, `"'`))
			}
		}
	}
	if x.term != "" {
		env = append(env, "TERM="+x.term)
	}
	if x.slave != nil {
		env = append(env, "SSH_TTY="+x.slave.Name())
	}
	return env
}

// words is an address as OpenSSH writes it: "HOST PORT".
func words(a net.Addr, hostOnly bool) string {
	host, p, err := net.SplitHostPort(a.String())
	if err != nil || hostOnly {
		return a.String()
	}
	return host + " " + p
}

func port(a net.Addr) string {
	_, p, _ := net.SplitHostPort(a.String())
	return p
}

// signals are those of RFC 4254, 6.10, that a peer may send.
func signals() map[string]syscall.Signal {
	return map[string]syscall.Signal{"ABRT": syscall.SIGABRT, "ALRM": syscall.SIGALRM, "FPE": syscall.SIGFPE, "HUP": syscall.SIGHUP,
		"ILL": syscall.SIGILL, "INT": syscall.SIGINT, "KILL": syscall.SIGKILL, "PIPE": syscall.SIGPIPE, "QUIT": syscall.SIGQUIT,
		"SEGV": syscall.SIGSEGV, "TERM": syscall.SIGTERM, "USR1": syscall.SIGUSR1, "USR2": syscall.SIGUSR2}
}

// signal sends a signal to the command's process group.
func (x *session) signal(payload []byte) bool {
	var v struct{ Name string }
	if ssh.Unmarshal(payload, &v) != nil {
		return false
	}
	sig, ok := signals()[v.Name]
	x.mu.Lock()
	defer x.mu.Unlock()
	if !ok || x.cmd == nil || x.cmd.Process == nil {
		return false
	}
	return syscall.Kill(-x.cmd.Process.Pid, sig) == nil
}

// hangUp tells a command on a terminal that its user is gone. Others notice
// when they read or write.
func (x *session) hangUp() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.master != nil && x.cmd != nil && x.cmd.Process != nil {
		_ = syscall.Kill(-x.cmd.Process.Pid, syscall.SIGHUP) // it may have ended
	}
}
