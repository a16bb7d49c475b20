package guest

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"bake/internal/sandbox/machine/cloudinit"

	"bake/internal/sandbox/machine/sshd"
)

// users makes the users: the one that logs in, unless user data leaves it out, and those of user data.
func (m *machine) users() error {
	c := m.cloud.user.Config
	if m.Login == "" || m.OneID {
		m.Login = m.defaultLogin()
	}
	if m.OneID {
		m.once("ssh", func() error { return authorize("root", m.keys(), "") })
		return nil
	}
	if len(c.Users) > 0 && !slices.ContainsFunc(c.Users, func(a cloudinit.Account) bool { return a.Default }) {
		m.Login = "" // user data leaves the image's own user out
	}
	m.once("users_groups", func() error { return m.makeUsers(c) })
	m.once("set_passwords", func() error { return m.setPasswords(c) })
	m.once("ssh", m.authorizeLogin)
	return nil
}

func (m *machine) keys() []string {
	return append(slices.Clone(m.AuthorizedKeys), m.cloud.user.Config.SSHAuthorizedKeys...)
}

// makeUsers makes users and groups. Without a list it is the default user alone.
func (m *machine) makeUsers(c cloudinit.Config) error {
	var errs []error
	for name := range c.Groups {
		errs = append(errs, addGroup(name))
	}
	list := c.Users
	if len(list) == 0 {
		list = cloudinit.Accounts{{Default: true}}
	}
	for _, a := range list {
		if a.Default {
			errs = append(errs, addUser(user{Name: m.Login, Sudo: []string{"ALL=(ALL) NOPASSWD:ALL"}, Groups: []string{"adm", "sudo", "wheel", "admin"}}))
			continue
		}
		if a.Name == "" {
			errs = append(errs, errors.New("a user without a name"))
			continue
		}
		for _, g := range a.Groups {
			errs = append(errs, addGroup(g))
		}
		errs = append(errs, addUser(user{Name: a.Name, Gecos: a.Gecos, Home: a.Home, Shell: a.Shell, Primary: a.PrimaryGroup, UID: a.UID,
			Groups: a.Groups, Sudo: a.Sudo, System: a.System, NoHome: a.NoCreateHome || a.System, PasswordHash: a.Hash}))
		if len(a.SSHAuthorizedKeys) > 0 {
			errs = append(errs, authorize(a.Name, a.SSHAuthorizedKeys, ""))
		}
	}
	for group, members := range c.Groups {
		for _, name := range members {
			errs = append(errs, join(name, []string{group}))
		}
	}
	return errors.Join(errs...)
}

// setPasswords sets passwords, by chpasswd(8), which knows how to hash them.
func (m *machine) setPasswords(c cloudinit.Config) error {
	var plain, hashed strings.Builder
	set := func(name, password string) {
		to := &plain
		if strings.HasPrefix(password, "$") {
			to = &hashed
		}
		fmt.Fprintf(to, "%s:%s\n", name, password)
	}
	if c.Password != "" && m.Login != "" {
		set(m.Login, c.Password)
	}
	for _, line := range c.Chpasswd.List {
		if name, password, ok := strings.Cut(line, ":"); ok {
			set(name, password)
		}
	}
	for _, u := range c.Chpasswd.Users {
		set(u.Name, u.Password)
	}
	for _, u := range c.Users {
		if u.Password != "" {
			set(u.Name, u.Password)
		}
	}
	var errs []error
	for flags, lines := range map[string]string{"": plain.String(), "-e": hashed.String()} {
		if lines == "" {
			continue
		}
		cmd := exec.Command("chpasswd", strings.Fields(flags)...)
		cmd.Stdin = strings.NewReader(lines)
		errs = append(errs, m.run(cmd))
	}
	if c.SSHPasswords != nil {
		answer := map[bool]string{true: "yes", false: "no"}[*c.SSHPasswords]
		errs = append(errs, writeFile("/etc/ssh/sshd_config.d/50-cloud-init.conf", []byte("PasswordAuthentication "+answer+"\n"), 0o600))
	}
	return errors.Join(errs...)
}

// authorizeLogin lets in who has the keys, and tells those who try it as root who to be.
func (m *machine) authorizeLogin() error {
	if m.Login != "" {
		if err := authorize(m.Login, m.keys(), ""); err != nil || m.Login == "root" {
			return err
		}
	}
	options := ""
	if disable := cmp.Or(m.cloud.user.Config.DisableRoot, m.cloud.image.DisableRoot); disable == nil || *disable {
		options = disabledRoot(cmp.Or(m.Login, "NONE"))
	}
	return authorize("root", m.keys(), options)
}

// addGroup makes a group, unless there is one of this name.
func addGroup(name string) error {
	t, err := table("/etc/group")
	if err != nil || t.find(name) != nil {
		return err
	}
	t.add(name, "x", freeID(1000, t), "")
	return t.write()
}

// disabledRoot are the options that cloud-init puts before root's keys.
func disabledRoot(login string) string {
	return `no-port-forwarding,no-agent-forwarding,no-X11-forwarding,command="echo 'Please login as the user \"` + login +
		`\" rather than the user \"root\".';echo;sleep 10;exit 142" `
}

// defaultLogin is the user that images of this distribution have on AWS. What
// has no sudo is of no use to any but root.
func (m *machine) defaultLogin() string {
	if m.OneID {
		return "root"
	}
	for _, name := range []string{m.cloud.user.Config.User.Name, m.cloud.image.SystemInfo.DefaultUser.Name} {
		if name != "" {
			return name
		}
	}
	if !exists("/usr/bin/sudo") && !exists("/usr/local/bin/sudo") && !exists("/usr/bin/doas") {
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

// trust lets a key in until its time is over (see sshd.Lent).
func trust(k Key) error {
	if k.User != filepath.Base(k.User) {
		return fmt.Errorf("%q is not a user", k.User)
	}
	if err := os.MkdirAll(sshd.Lent, 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(sshd.Lent, k.User), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(f, "%d %s\n", k.Until.UnixNano(), strings.TrimSpace(k.Line))
	return errors.Join(err, f.Close())
}
