package guest

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// bringUp is a boot: what systemd and cloud-init do before and after somebody can log in.
func (m *machine) bringUp() {
	m.say("[%s] Booting %s in %s", m.InstanceID, prettyName(), m.Region)
	for _, n := range m.Notes {
		m.say("[%s] %s", m.InstanceID, n)
	}
	steps := []struct {
		name string
		do   func() error
	}{
		{"preparing directories", m.directories},
		{"finding out whether this is a new instance", m.instance},
		{"taking commands", m.control},
		{"setting up the network", m.network},
		{"setting up users", m.users},
		{"setting up host keys", m.hostKeys},
		{"serving SSH", m.serve},
	}
	for _, s := range steps {
		if err := s.do(); err != nil {
			m.say("[%s] %s: %v", m.InstanceID, s.name, err)
		}
	}
	if err := m.remember(); err != nil {
		m.say("[%s] remembering the instance: %v", m.InstanceID, err)
	}
	m.tell(Message{Serving: true, Login: m.Login})
	m.tell(Message{Done: true})
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

// cloudDir is where cloud-init keeps what it knows.
const cloudDir = "/var/lib/cloud"

// instance finds out whether the root has been this instance's before. If not,
// it is a new machine's: of an image, perhaps, that another instance became.
func (m *machine) instance() error {
	id, err := os.ReadFile(cloudDir + "/data/instance-id")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	m.fresh = strings.TrimSpace(string(id)) != m.InstanceID
	return nil
}

// remember makes this instance the one that the root belongs to, as cloud-init does.
func (m *machine) remember() error {
	own := cloudDir + "/instances/" + m.InstanceID
	if err := os.MkdirAll(own+"/sem", 0o755); err != nil {
		return err
	}
	if err := os.Remove(cloudDir + "/instance"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Symlink(own, cloudDir+"/instance"); err != nil {
		return err
	}
	return writeFile(cloudDir+"/data/instance-id", []byte(m.InstanceID+"\n"), 0o644)
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
