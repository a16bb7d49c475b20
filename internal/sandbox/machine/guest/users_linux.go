package guest

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// users makes the user that logs in, and lets in who has the keys.
func (m *machine) users() error {
	if m.Login == "" || m.OneID {
		m.Login = m.defaultLogin()
	}
	if err := addUser(user{Name: m.Login, Sudo: []string{"ALL=(ALL) NOPASSWD:ALL"}, Groups: []string{"adm", "sudo", "wheel", "admin"}}); err != nil {
		return err
	}
	if err := authorize(m.Login, m.AuthorizedKeys, ""); err != nil || m.Login == "root" {
		return err
	}
	return authorize("root", m.AuthorizedKeys, disabledRoot(m.Login))
}

// disabledRoot are the options that cloud-init puts before root's keys.
func disabledRoot(login string) string {
	return `no-port-forwarding,no-agent-forwarding,no-X11-forwarding,command="echo 'Please login as the user \"` + login +
		`\" rather than the user \"root\".';echo;sleep 10;exit 142" `
}

// defaultLogin is the user that images of this distribution have on AWS. What
// has no sudo is of no use to any but root.
func (m *machine) defaultLogin() string {
	if m.OneID || !exists("/usr/bin/sudo") && !exists("/usr/local/bin/sudo") && !exists("/usr/bin/doas") {
		return "root"
	}
	names := map[string]string{"debian": "admin", "ubuntu": "ubuntu", "alpine": "alpine", "fedora": "fedora", "arch": "arch",
		"centos": "ec2-user", "rhel": "ec2-user", "amzn": "ec2-user", "sles": "ec2-user", "opensuse-leap": "ec2-user", "bake": "root"}
	for _, id := range append([]string{osRelease("ID")}, strings.Fields(osRelease("ID_LIKE"))...) {
		if name := names[id]; name != "" {
			return name
		}
	}
	return "ec2-user"
}

// A user is one to be made.
type user struct {
	Name, Gecos, Home, Shell, Primary string
	UID                               string
	Groups                            []string // those that there are
	Sudo                              []string
	System, NoHome                    bool
	PasswordHash                      string
}

// addUser makes a user, unless there is one of this name.
func addUser(u user) error {
	if err := u.add(); err != nil {
		return fmt.Errorf("making user %s: %w", u.Name, err)
	}
	return nil
}

func (u user) add() error {
	passwd, err := table("/etc/passwd")
	if err != nil {
		return err
	}
	if passwd.find(u.Name) == nil {
		if err := u.create(passwd); err != nil {
			return err
		}
	}
	if err := join(u.Name, u.Groups); err != nil {
		return err
	}
	if len(u.Sudo) == 0 || u.Name == "root" || !exists("/etc/sudoers.d") {
		return nil
	}
	var rules strings.Builder
	for _, rule := range u.Sudo {
		fmt.Fprintf(&rules, "%s %s\n", u.Name, rule)
	}
	return appendLines("/etc/sudoers.d/90-cloud-init-users", rules.String(), 0o440)
}

func (u user) create(passwd *records) error {
	group, err := table("/etc/group")
	if err != nil {
		return err
	}
	from := 1000
	if u.System {
		from = 100
	}
	if u.UID == "" {
		u.UID = freeID(from, passwd, group)
	}
	gid := u.UID
	name := u.Name
	if u.Primary != "" {
		name = u.Primary
	}
	if g := group.find(name); g != nil {
		gid = g[2]
	} else {
		group.add(name, "x", gid, "")
		if err := group.write(); err != nil {
			return err
		}
	}
	if u.Shell == "" {
		u.Shell = "/bin/sh"
		if exists("/bin/bash") {
			u.Shell = "/bin/bash"
		}
	}
	if u.Home == "" {
		u.Home = "/home/" + u.Name
	}
	passwd.add(u.Name, "x", u.UID, gid, u.Gecos, u.Home, u.Shell)
	if err := passwd.write(); err != nil {
		return err
	}
	if err := u.shadow(); err != nil || u.NoHome {
		return err
	}
	return u.makeHome(gid)
}

// shadow adds the user without a password; "*" is not "locked", which sshd
// without PAM would refuse.
func (u user) shadow() error {
	shadow, err := table("/etc/shadow")
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	hash := u.PasswordHash
	if hash == "" {
		hash = "*"
	}
	shadow.add(u.Name, hash, "19700", "0", "99999", "7", "", "", "")
	return shadow.write()
}

func (u user) makeHome(gid string) error {
	uid, err := strconv.Atoi(u.UID)
	if err != nil {
		return err
	}
	g, err := strconv.Atoi(gid)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(u.Home), 0o755); err != nil {
		return err
	}
	if err := os.Mkdir(u.Home, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if exists("/etc/skel") {
		if err := os.CopyFS(u.Home, os.DirFS("/etc/skel")); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return filepath.WalkDir(u.Home, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, uid, g)
	})
}

// join makes a user a member of those groups that there are.
func join(name string, groups []string) error {
	for _, file := range []string{"/etc/group", "/etc/gshadow"} {
		t, err := table(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		changed := false
		for _, g := range groups {
			f := t.find(g)
			if len(f) < 4 || slices.Contains(strings.Split(f[3], ","), name) {
				continue
			}
			f[3] = strings.TrimPrefix(f[3]+","+name, ",")
			changed = true
		}
		if changed {
			if err := t.write(); err != nil {
				return err
			}
		}
	}
	return nil
}

// authorize adds keys to a user's authorized_keys, each with options before it.
func authorize(name string, keys []string, options string) error {
	passwd, err := table("/etc/passwd")
	if err != nil {
		return err
	}
	f := passwd.find(name)
	if len(f) < 6 {
		return fmt.Errorf("letting in %s: there is no such user", name)
	}
	var lines strings.Builder
	for _, k := range keys {
		fmt.Fprintf(&lines, "%s%s\n", options, strings.TrimSpace(k))
	}
	dir := filepath.Join(f[5], ".ssh")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	file := filepath.Join(dir, "authorized_keys")
	if err := appendLines(file, lines.String(), 0o600); err != nil {
		return err
	}
	uid, err1 := strconv.Atoi(f[2])
	gid, err2 := strconv.Atoi(f[3])
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	return errors.Join(os.Chown(dir, uid, gid), os.Chown(file, uid, gid))
}

// appendLines adds those lines that a file lacks.
func appendLines(file, lines string, mode os.FileMode) error {
	data, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	have := strings.Split(string(data), "\n")
	text := string(data)
	if text != "" && !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	for line := range strings.Lines(lines) {
		if !slices.Contains(have, strings.TrimSuffix(line, "\n")) {
			text += line
		}
	}
	return writeFile(file, []byte(text), mode)
}
