package guest

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// bringUp is a boot: what systemd and cloud-init do before and after somebody can log in.
func (m *machine) bringUp() {
	m.say("[%s] Booting %s in %s", m.InstanceID, prettyName(), m.Region)
	for _, n := range m.Notes {
		m.say("[%s] %s", m.InstanceID, n)
	}
	m.all([]step{
		{"preparing directories", m.directories},
		{"making devices", m.devices},
		{"attaching volumes", func() error { m.attach(m.Volumes); return nil }},
		{"reading the configuration", m.readConfig},
		{"taking commands", m.control},
		{"setting up the network", m.network},
		{"remembering the instance", m.instance},
		{"making a machine id", machineID},
		{"mounting what /etc/fstab says", m.mountAtBoot},
	})
	m.early()
	m.all([]step{
		{"setting up users", m.users},
		{"setting up host keys", m.hostKeys},
		{"serving SSH", m.serve},
	})
	m.tell(Message{Serving: true, Login: m.Login})
	m.startServices()
	m.late()
	close(m.cloud.done)
	m.tell(Message{Done: true})
}

// A step is a part of a boot. One that fails does not keep the machine from coming up.
type step struct {
	name string
	do   func() error
}

func (m *machine) all(steps []step) {
	for _, s := range steps {
		if err := s.do(); err != nil {
			m.problem("%s: %v", s.name, err)
		}
	}
}

// directories makes what a boot finds: /run is new, /tmp is emptied.
func (m *machine) directories() error {
	for _, d := range []struct {
		path string
		mode os.FileMode
	}{{"/run/lock", 0o777 | os.ModeSticky}, {"/run/sshd", 0o755}, {"/run/user", 0o755}, {RunDir, 0o755}, {"/var/log", 0o755}} {
		if err := os.MkdirAll(d.path, 0o755); err != nil {
			return err
		}
		if err := os.Chmod(d.path, d.mode); err != nil {
			return err
		}
	}
	names, err := os.ReadDir("/tmp")
	if err != nil {
		return nil // the image has none
	}
	for _, n := range names {
		if err := os.RemoveAll(filepath.Join("/tmp", n.Name())); err != nil {
			return err
		}
	}
	return nil
}

// network makes what resolv.conf leads to where systemd-resolved would have
// made it; where it is a file, the host's side has put its own in its place.
func (m *machine) network() error {
	const file = "/etc/resolv.conf"
	if m.Resolver == "" || exists(file) {
		return nil
	}
	target, err := os.Readlink(file)
	if err != nil {
		return err
	}
	if !filepath.IsAbs(target) {
		target = filepath.Join(filepath.Dir(file), target)
	}
	return writeFile(target, []byte(m.Resolver), 0o644)
}

// machineID gives a root that knows machine-id(5) one, if it has none: images
// are made without, so that their instances differ.
func machineID() error {
	const file = "/etc/machine-id"
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) && !exists("/usr/bin/systemctl") {
		return nil
	}
	if text := strings.TrimSpace(string(data)); absent(err) != nil || text != "" && text != "uninitialized" {
		return absent(err)
	}
	var id [16]byte
	if _, err := rand.Read(id[:]); err != nil {
		return err
	}
	return writeFile(file, []byte(hex.EncodeToString(id[:])+"\n"), 0o444)
}

// devices makes the console, which is a pipe here that anybody may write to who
// may write to a console.
func (m *machine) devices() error {
	if err := syscall.Mkfifo("/dev/console", 0o620); err != nil {
		return err
	}
	f, err := os.OpenFile("/dev/console", os.O_RDWR, 0) // with a writer of its own it never ends
	if err != nil {
		return err
	}
	go func() { _, _ = io.Copy(m.console, f) }()
	return os.Symlink("console", "/dev/ttyS0")
}

func prettyName() string {
	if name := osRelease("PRETTY_NAME"); name != "" {
		return name
	}
	return "Linux"
}

// osRelease reads a field of os-release(5).
func osRelease(field string) string {
	data, err := os.ReadFile("/etc/os-release")
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(data)) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && name == field {
			return strings.Trim(value, `"'`)
		}
	}
	return ""
}

// exists reports whether there is a file, of whatever kind a link leads to.
func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// writeFile makes a file with exactly this mode.
func writeFile(path string, data []byte, mode os.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(path, data, mode); err != nil {
		return err
	}
	if err := os.Chmod(path, mode); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return nil
}
