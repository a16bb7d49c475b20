package guest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// writeFiles makes the files of user data: those that wait for users and packages, or the others.
func (m *machine) writeFiles(deferred bool) error {
	var errs []error
	for _, f := range m.cloud.user.Config.WriteFiles {
		if f.Defer != deferred {
			continue
		}
		content := f.Content
		if f.Append {
			old, err := os.ReadFile(f.Path)
			if absent(err) != nil {
				errs = append(errs, err)
				continue
			}
			content = append(old, content...)
		}
		err := writeFile(f.Path, content, os.FileMode(f.Permissions&0o777))
		if err == nil && f.Owner != "" {
			err = chown(f.Path, f.Owner)
		}
		if err == nil && f.Permissions&0o7000 != 0 {
			err = os.Chmod(f.Path, modeOf(f.Permissions)) // after chown, which takes these bits
		}
		if err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func modeOf(bits uint32) os.FileMode {
	mode := os.FileMode(bits & 0o777)
	for bit, m := range map[uint32]os.FileMode{0o4000: os.ModeSetuid, 0o2000: os.ModeSetgid, 0o1000: os.ModeSticky} {
		if bits&bit != 0 {
			mode |= m
		}
	}
	return mode
}

// chown gives a file to "user", "user:group" or their numbers.
func chown(path, owner string) error {
	user, group, both := strings.Cut(owner, ":")
	uid, gid, err := idOf("/etc/passwd", user)
	if err != nil {
		return err
	}
	if both {
		if gid, _, err = idOf("/etc/group", group); err != nil {
			return err
		}
	}
	return os.Lchown(path, uid, gid)
}

// idOf returns the third field of a name's record as a number, and the fourth
// if it is one. A name that is a number stands for itself.
func idOf(file, name string) (int, int, error) {
	t, err := table(file)
	if err != nil {
		return 0, 0, err
	}
	f := t.find(name)
	if f == nil {
		n, err := strconv.Atoi(name)
		if err != nil {
			return 0, 0, fmt.Errorf("there is no %q in %s", name, file)
		}
		return n, n, nil
	}
	id, err := strconv.Atoi(f[2])
	if err != nil {
		return 0, 0, err
	}
	group := id
	if len(f) > 3 {
		if n, err := strconv.Atoi(f[3]); err == nil {
			group = n
		}
	}
	return id, group, nil
}

// hostname gives the machine its name: at each boot, as cloud-init does, since
// the root may be another instance's image.
func (m *machine) hostname() error {
	c := m.cloud.user.Config
	if c.PreserveHostname || m.cloud.image.PreserveHostname {
		data, err := os.ReadFile("/etc/hostname")
		if name := strings.TrimSpace(string(data)); err == nil && name != "" {
			return m.callIt(name)
		}
		return absent(err)
	}
	name := m.Hostname
	switch {
	case c.Hostname != "":
		name = c.Hostname
	case c.FQDN != "":
		name, _, _ = strings.Cut(c.FQDN, ".")
	}
	if err := writeFile("/etc/hostname", []byte(name+"\n"), 0o644); err != nil {
		return err
	}
	if err := m.callIt(name); err != nil {
		return err
	}
	if manage := c.ManageEtcHosts; manage != "" && manage != "false" {
		names := name
		if c.FQDN != "" {
			names = c.FQDN + " " + name
		}
		return appendLines("/etc/hosts", "127.0.1.1 "+names+"\n", 0o644)
	}
	return nil
}

// callIt has the host's side set the name of the system, and returns when it is set.
func (m *machine) callIt(name string) error {
	m.tell(Message{Hostname: name})
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); {
		if got, err := os.Hostname(); err != nil || got == name {
			m.Hostname = name
			return err
		}
		time.Sleep(time.Millisecond) // the kernel tells nobody
	}
	return fmt.Errorf("the name %q was not set", name)
}

func setTimezone(zone string) error {
	file := filepath.Join("/usr/share/zoneinfo", filepath.Clean("/"+zone))
	if !exists(file) {
		return fmt.Errorf("%s does not exist", file)
	}
	if err := absent(os.Remove("/etc/localtime")); err != nil {
		return err
	}
	if err := os.Symlink(file, "/etc/localtime"); err != nil {
		return err
	}
	return writeFile("/etc/timezone", []byte(zone+"\n"), 0o644)
}

// packages installs packages with what the distribution has.
func (m *machine) packages() error {
	c := m.cloud.user.Config
	managers := []struct {
		program                  string
		update, upgrade, install []string
	}{
		{"apt-get", []string{"-q", "update"}, []string{"-q", "-y", "-o", "Dpkg::Options::=--force-confold", "dist-upgrade"},
			[]string{"-q", "-y", "-o", "Dpkg::Options::=--force-confold", "install"}},
		{"dnf", []string{"-y", "makecache"}, []string{"-y", "upgrade"}, []string{"-y", "install"}},
		{"yum", []string{"-y", "makecache"}, []string{"-y", "upgrade"}, []string{"-y", "install"}},
		{"zypper", []string{"-n", "refresh"}, []string{"-n", "update"}, []string{"-n", "install"}},
		{"apk", []string{"update"}, []string{"upgrade"}, []string{"add"}},
	}
	for _, pm := range managers {
		path, err := exec.LookPath(pm.program)
		if err != nil {
			continue
		}
		do := func(args ...string) error {
			cmd := exec.Command(path, args...)
			cmd.Env = []string{"DEBIAN_FRONTEND=noninteractive"}
			return m.run(cmd)
		}
		var errs []error
		if c.PackageUpdate || len(c.Packages) > 0 {
			errs = append(errs, do(pm.update...))
		}
		if c.PackageUpgrade {
			errs = append(errs, do(pm.upgrade...))
		}
		if len(c.Packages) > 0 {
			errs = append(errs, do(append(pm.install, c.Packages...)...))
		}
		return errors.Join(errs...)
	}
	return errors.New("there is no package manager that is known")
}
