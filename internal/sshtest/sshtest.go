// Package sshtest gives tests a real OpenSSH server of their own: its host
// keys, its users, its boot id, its network. It runs in namespaces, so that
// nothing of the machine changes and nothing of it is left.
package sshtest

import (
	"bufio"
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"bake/internal/need"
)

// Options say what a server is like. The zero value is a server on loopback
// that lets root in with Server.KeyFile.
type Options struct {
	Config   []string      // more lines of sshd_config; they come first, so they win
	Accounts []Account     // users besides those of this machine
	Delay    time.Duration // each way; the server is then behind a link, in a network of its own
	HostKey  string        // "ed25519" (default), "ecdsa", "rsa"
	Keys     string        // lines for authorized_keys, besides that of KeyFile
	NoKey    bool          // KeyFile is not let in
	Private  bool          // what its commands change is not this machine's: all of it is thrown away
}

// An Account is a user of the server.
type Account struct {
	Name     string
	Password string
	Sudo     string // "", "password", "nopasswd"
}

// A Server is an OpenSSH server.
type Server struct {
	Host       string
	Port       int
	Dir        string // of its own files; Dir/home/NAME are its accounts' homes
	KeyFile    string // a private key (ed25519) that lets root and all accounts in
	KnownHosts string // a file that vouches for the server
	HostKey    ssh.PublicKey
	Link       *Link // with Options.Delay

	t       testing.TB
	options Options
	mu      sync.Mutex
	cmd     *exec.Cmd
	stdin   io.Closer
	log     *bytes.Buffer
	logDone chan struct{}
}

// Start starts a server for one test. It skips where that is not possible.
func Start(t testing.TB, o Options) *Server {
	t.Helper()
	need.Root(t)
	need.Tool(t, "sshd")
	if _, err := os.Stat("/usr/sbin/sshd"); err != nil {
		need.Missing(t, "no /usr/sbin/sshd")
	}
	s := &Server{Host: "127.0.0.1", Port: freePort(t), Dir: directory(t), t: t, options: o}
	s.keys()
	s.accounts()
	s.setBootID("11111111-1111-4111-8111-111111111111")
	if o.Delay > 0 {
		s.Link = newLink(t, o.Delay)
		s.Host, s.Port = s.Link.Far, 22
	}
	s.ReplaceHostKey()
	s.KnownHosts = filepath.Join(s.Dir, "known_hosts")
	s.write("known_hosts", knownhosts.Line([]string{s.Addr()}, s.HostKey)+"\n", 0o600)
	s.Up()
	t.Cleanup(func() {
		s.Down()
		if t.Failed() {
			t.Logf("sshd says:\n%s", tail(s.log.String(), 40))
		}
	})
	return s
}

// directory makes a directory that the server's users can reach, as those of
// testing.T cannot be.
func directory(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "sshtest-")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("removing the server's files: %v", err)
		}
	})
	return dir
}

// Addr is the server's address, HOST:PORT.
func (s *Server) Addr() string { return net.JoinHostPort(s.Host, strconv.Itoa(s.Port)) }

// ReplaceHostKey gives the server a new host key; it has it when it is next up.
func (s *Server) ReplaceHostKey() {
	signer, text := NewKey(s.t, s.options.HostKey)
	s.HostKey = signer.PublicKey()
	s.write("host_key", text, 0o600)
}

// setBootID says what the server's kernel gives as its boot id when it is next up.
func (s *Server) setBootID(id string) { s.write("boot_id", id+"\n", 0o444) }

// Up starts the server if it is down, and returns when it listens.
func (s *Server) Up() {
	s.t.Helper()
	if err := s.up(); err != nil {
		s.t.Fatalf("starting sshd: %v\n%s", err, s.log)
	}
}

// setup prepares the server's own view of the machine and becomes its first
// process. It ends with the test, since its stdin does.
const setup = `set -e
cd "$1"
mount --make-rprivate /
root=
if [ "$3" ]; then
mkdir -p top
mount -t tmpfs tmpfs top
root=$1/top/root
mkdir top/up top/work "$root"
mount -t overlay -o "lowerdir=/,upperdir=top/up,workdir=top/work" overlay "$root"
mount --rbind /dev "$root/dev"
mount --rbind /sys "$root/sys"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
mkdir -p "$root$1"
mount --bind "$1" "$root$1"
for f in passwd shadow group sudoers; do rm -f "$root/etc/$f"; cp -p "$f" "$root/etc/$f"; done
else
for f in passwd shadow group sudoers; do mount --bind "$f" /etc/$f; done
fi
mount -t proc proc "$root/proc"
mount -t tmpfs tmpfs "$root/run"
mkdir -m 755 "$root/run/sshd"
mount --bind boot_id "$root/proc/sys/kernel/random/boot_id"
if [ "$2" ]; then
read go
ip link set lo up
ip addr add "$2" dev tun0
ip link set tun0 up
fi
chroot "$root/" /usr/sbin/sshd -D -e -f "$1/sshd_config" &
read end || :
`

func (s *Server) up() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.log == nil {
		s.log = new(bytes.Buffer)
	}
	s.write("sshd_config", s.config(), 0o600)
	flags, far := uintptr(syscall.CLONE_NEWNS|syscall.CLONE_NEWPID), ""
	if s.Link != nil {
		flags, far = flags|syscall.CLONE_NEWNET, s.Link.Far+"/30"
	}
	private := ""
	if s.options.Private {
		private = "yes"
	}
	cmd := exec.Command("/bin/sh", "-c", setup, "sshd", s.Dir, far, private)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flags, Setpgid: true}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	s.cmd, s.stdin, s.logDone = cmd, stdin, make(chan struct{})
	if s.Link != nil {
		if err := s.Link.enter(cmd.Process.Pid); err != nil {
			return err
		}
		if _, err := io.WriteString(stdin, "go\n"); err != nil {
			return err
		}
	}
	return s.listening(stderr)
}

// listening reads the server's log, and returns when it says that it listens.
func (s *Server) listening(stderr io.Reader) error {
	ready := make(chan bool, 1)
	log, done := s.log, s.logDone
	go func() {
		defer close(done)
		sc := bufio.NewScanner(stderr)
		for sc.Scan() {
			fmt.Fprintln(log, sc.Text())
			if strings.HasPrefix(sc.Text(), "Server listening on ") {
				select {
				case ready <- true:
				default:
				}
			}
		}
	}()
	select {
	case <-ready:
		return nil
	case <-done:
		return fmt.Errorf("it ended")
	case <-time.After(20 * time.Second):
		return fmt.Errorf("it does not listen")
	}
}

// Down kills the server with everything that runs on it, as a power cut does.
func (s *Server) Down() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Kill() // the first process of its namespace takes all others along
	<-s.logDone
	_ = s.cmd.Wait()
	s.stdin.Close()
	if s.Link != nil {
		s.Link.leave()
	}
	s.cmd = nil
}

// Reboot takes the server down, and up again with another boot id.
func (s *Server) Reboot() error {
	s.Down()
	s.setBootID("22222222-2222-4222-8222-222222222222")
	return s.up()
}

func (s *Server) config() string {
	lines := append([]string(nil), s.options.Config...)
	lines = append(lines,
		"Port "+strconv.Itoa(s.Port),
		"ListenAddress "+s.Host,
		"HostKey "+s.Dir+"/host_key",
		"PidFile none",
		"AuthorizedKeysFile "+s.Dir+"/authorized_keys",
		"StrictModes no",
		"PermitRootLogin yes",
		"UsePAM yes",
		"PrintMotd no",
		"Subsystem sftp /usr/lib/openssh/sftp-server",
		"MaxStartups 100",
	)
	return strings.Join(lines, "\n") + "\n"
}

// keys makes the client's key and lets it in.
func (s *Server) keys() {
	signer, text := NewKey(s.t, "ed25519")
	s.KeyFile = filepath.Join(s.Dir, "id")
	s.write("id", text, 0o600)
	allowed := s.options.Keys
	if !s.options.NoKey {
		allowed += string(ssh.MarshalAuthorizedKey(signer.PublicKey()))
	}
	s.write("authorized_keys", allowed, 0o644)
}

// accounts writes what stands in /etc of the server.
func (s *Server) accounts() {
	s.t.Helper()
	var passwd, shadow, group, sudoers strings.Builder
	passwd.WriteString(s.root(s.machine("/etc/passwd")))
	shadow.WriteString(s.machine("/etc/shadow"))
	group.WriteString(s.machine("/etc/group"))
	sudoers.WriteString("root ALL=(ALL:ALL) NOPASSWD: ALL\n")
	for i, a := range s.options.Accounts {
		uid := 20001 + i
		home := filepath.Join(s.Dir, "home", a.Name)
		if err := os.MkdirAll(home, 0o755); err != nil {
			s.t.Fatal(err)
		}
		if err := os.Chown(home, uid, uid); err != nil {
			s.t.Fatal(err)
		}
		fmt.Fprintf(&passwd, "%s:x:%d:%d::%s:/bin/sh\n", a.Name, uid, uid, home)
		fmt.Fprintf(&group, "%s:x:%d:\n", a.Name, uid)
		fmt.Fprintf(&shadow, "%s:%s:19000:0:99999:7:::\n", a.Name, s.hash(a.Password))
		switch a.Sudo {
		case "password":
			fmt.Fprintf(&sudoers, "%s ALL=(ALL:ALL) ALL\n", a.Name)
		case "nopasswd":
			fmt.Fprintf(&sudoers, "%s ALL=(ALL:ALL) NOPASSWD: ALL\n", a.Name)
		}
	}
	s.write("passwd", passwd.String(), 0o644)
	s.write("shadow", shadow.String(), 0o600)
	s.write("group", group.String(), 0o644)
	s.write("sudoers", sudoers.String(), 0o440)
}

// root gives root a home and a shell without the startup files of this machine.
func (s *Server) root(passwd string) string {
	home := filepath.Join(s.Dir, "home", "root")
	if err := os.MkdirAll(home, 0o755); err != nil {
		s.t.Fatal(err)
	}
	var b strings.Builder
	for line := range strings.Lines(passwd) {
		if strings.HasPrefix(line, "root:") {
			line = "root:x:0:0:root:" + home + ":/bin/sh\n"
		}
		b.WriteString(line)
	}
	return b.String()
}

func (s *Server) machine(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		s.t.Fatal(err)
	}
	return strings.TrimRight(string(b), "\n") + "\n"
}

func (s *Server) hash(password string) string {
	if password == "" {
		return "*"
	}
	cmd := exec.Command(need.Tool(s.t, "openssl"), "passwd", "-6", "-stdin")
	cmd.Stdin = strings.NewReader(password)
	out, err := cmd.Output()
	if err != nil {
		s.t.Fatalf("hashing a password: %v", err)
	}
	return strings.TrimSpace(string(out))
}

// write replaces the content of a file, so that a bind mount of it sees the new one.
func (s *Server) write(name, content string, mode os.FileMode) {
	path := filepath.Join(s.Dir, name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		s.t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		s.t.Fatal(err)
	}
}

// NewKey makes a key of a kind ("ed25519", the default, "ecdsa" or "rsa") and
// returns it with its text in OpenSSH's format.
func NewKey(t testing.TB, kind string) (ssh.Signer, string) {
	t.Helper()
	var key crypto.PrivateKey
	var err error
	switch kind {
	case "", "ed25519":
		_, key, err = ed25519.GenerateKey(rand.Reader)
	case "ecdsa":
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "rsa":
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	default:
		t.Fatalf("key of kind %q", kind)
	}
	if err != nil {
		t.Fatal(err)
	}
	return marshal(t, key)
}

func marshal(t testing.TB, key crypto.PrivateKey) (ssh.Signer, string) {
	t.Helper()
	block, err := ssh.MarshalPrivateKey(key, "")
	if err != nil {
		t.Fatal(err)
	}
	text := pem.EncodeToMemory(block)
	signer, err := ssh.ParsePrivateKey(text)
	if err != nil {
		t.Fatal(err)
	}
	return signer, string(text)
}

func freePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func tail(s string, n int) string {
	lines := strings.Split(strings.TrimRight(s, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
