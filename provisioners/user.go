package provisioners

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"

	"bake/builder"
	"bake/templates"
)

// User makes a user, changes one, or removes it. It edits the machine's account
// files, so that it needs no program there. A new user has no password and
// cannot log in with one. What is not given stays as it is.
type User struct {
	Name       string            `yaml:"name" bake:"main,required" doc:"The user."`
	UID        int               `yaml:"uid" min:"1" max:"4294967294" doc:"Its number. Default: a free one. Files of an earlier number are not touched."`
	Group      string            `yaml:"group" doc:"Its login group, a name or number that exists. Default: a group of its own name, which is made."`
	Groups     templates.Strings `yaml:"groups" doc:"Other groups that it is in as well; they must exist."`
	Home       string            `yaml:"home" doc:"Home directory. Default: /home/NAME."`
	CreateHome *bool             `yaml:"create_home" doc:"Make the home directory with what is in /etc/skel. Default: only if the user is not one of the system."`
	Shell      string            `yaml:"shell" doc:"Login shell. Default: /bin/sh, for users of the system /usr/sbin/nologin."`
	System     bool              `yaml:"system" doc:"A user of the system: its free number is below 1000, it has no home and no shell unless they are given."`
	Comment    string            `yaml:"comment" doc:"Who it is."`
	State      string            `yaml:"state" enum:"present|absent" default:"present" doc:"absent: remove it; its files stay."`
}

// Validate checks what the tags cannot say.
func (u *User) Validate(b templates.Block) templates.Diagnostics {
	ds := checkAccountName(b, "name", u.Name)
	ds = append(ds, absolute(b, "home", u.Home)...)
	ds = append(ds, absolute(b, "shell", u.Shell)...)
	for key, s := range map[string]string{"comment": u.Comment, "home": u.Home, "shell": u.Shell} {
		if strings.ContainsAny(s, ":\n") {
			ds = append(ds, b.At(key).Errorf("%s must not hold a colon or a line break", key))
		}
	}
	return ds
}

// Provision edits the account files and makes the home directory if need be.
func (u *User) Provision(ctx context.Context, _ *builder.Scope, comm builder.Communicator) (builder.Outcome, error) {
	a, err := readAccounts(ctx, comm)
	if err != nil {
		return builder.Outcome{}, err
	}
	if u.State == "absent" {
		u.remove(a)
		return a.save(ctx, comm, "")
	}
	uid, gid, home, err := u.ensure(a)
	if err != nil {
		return builder.Outcome{}, err
	}
	out, err := a.save(ctx, comm, fmt.Sprintf("uid %d, gid %d", uid, gid))
	if err != nil {
		return out, err
	}
	if u.CreateHome == nil && u.System || u.CreateHome != nil && !*u.CreateHome {
		return out, nil
	}
	made, err := makeHome(ctx, comm, home, uid, gid)
	out.Unchanged = out.Unchanged && !made
	return out, err
}

func (u *User) remove(a *accounts) {
	a.passwd.dropped(u.Name)
	a.shadow.dropped(u.Name)
	for _, t := range []*accountTable{a.group.table, a.gshadow.table} {
		for i := range t.rows {
			if len(t.rows[i]) >= 4 {
				t.member(i, u.Name, false)
			}
		}
	}
	row := a.group.table.row(u.Name)
	if row < 0 || a.group.table.field(row, 3) != "" {
		return
	}
	gid := a.group.table.field(row, 2)
	if !slices.ContainsFunc(a.passwd.table.rows, func(r []string) bool { return len(r) > 3 && r[3] == gid }) {
		a.group.dropped(u.Name)
		a.gshadow.dropped(u.Name)
	}
}

// ensure changes the tables and returns what the user's numbers and home are.
func (u *User) ensure(a *accounts) (uid, gid int, home string, err error) {
	t := a.passwd.table
	row := t.row(u.Name)
	if uid, err = u.number(a, row); err != nil {
		return 0, 0, "", err
	}
	if gid, err = u.loginGroup(a, row, uid); err != nil {
		return 0, 0, "", err
	}
	if row < 0 {
		home, shell := "/home/"+u.Name, "/bin/sh"
		if u.System {
			shell = "/usr/sbin/nologin"
		}
		t.add(u.Name, "x", "", "", "", home, shell)
		row = len(t.rows) - 1
		if a.shadow.exists && a.shadow.table.row(u.Name) < 0 {
			a.shadow.table.add(u.Name, "!", "", "0", "99999", "7", "", "", "")
		}
	}
	t.set(row, 2, strconv.Itoa(uid))
	t.set(row, 3, strconv.Itoa(gid))
	for i, value := range map[int]string{4: u.Comment, 5: u.Home, 6: u.Shell} {
		if value != "" {
			t.set(row, i, value)
		}
	}
	for _, name := range u.Groups {
		g := a.group.table.row(name)
		if g < 0 || len(a.group.table.rows[g]) < 4 {
			return 0, 0, "", &UnknownOwnerError{Kind: "group", Name: name}
		}
		a.group.table.member(g, u.Name, true)
		if g := a.gshadow.table.row(name); g >= 0 {
			a.gshadow.table.member(g, u.Name, true)
		}
	}
	return uid, gid, t.field(row, 5), nil
}

func (u *User) number(a *accounts, row int) (int, error) {
	if row >= 0 {
		have, err := a.passwd.table.number(row, 2)
		if err != nil || u.UID == 0 || u.UID == have {
			return have, err
		}
	}
	if u.UID == 0 {
		return freeID(u.System, a.passwd.table, a.group.table)
	}
	if other := a.passwd.table.holder(u.UID); other != "" {
		return 0, fmt.Errorf("uid %d belongs to user %s", u.UID, other)
	}
	return u.UID, nil
}

func (u *User) loginGroup(a *accounts, row, uid int) (int, error) {
	switch gid, err := strconv.Atoi(u.Group); {
	case u.Group == "" && row >= 0:
		return a.passwd.table.number(row, 3)
	case u.Group == "":
		want := 0
		if a.group.table.row(u.Name) < 0 && a.group.table.holder(uid) == "" {
			want = uid
		}
		return a.ensureGroup(u.Name, want, u.System)
	case err == nil:
		return gid, nil
	}
	g := a.group.table.row(u.Group)
	if g < 0 {
		return 0, &UnknownOwnerError{Kind: "group", Name: u.Group}
	}
	return a.group.table.number(g, 2)
}

// makeHome makes a home directory with what is in /etc/skel and reports
// whether it was not there.
func makeHome(ctx context.Context, comm builder.Communicator, home string, uid, gid int) (bool, error) {
	if _, err := stat(ctx, comm, home); !errors.Is(err, builder.ErrNotFound) {
		return false, err
	}
	base := path.Base(home)
	entries := []builder.File{{Path: base, Mode: fs.ModeDir | 0o755, UID: uid, GID: gid, ModTime: now()}}
	for f, err := range comm.Get(ctx, "/etc/skel") {
		if errors.Is(err, builder.ErrNotFound) {
			break
		}
		if err != nil {
			return false, fmt.Errorf("/etc/skel: %w", err)
		}
		rel := strings.TrimPrefix(f.Path, "skel")
		if rel == "" || f.Hard {
			continue
		}
		if f, err = inMemory(f); err != nil {
			return false, fmt.Errorf("/etc/skel: %w", err)
		}
		f.Path, f.UID, f.GID, f.ModTime = base+rel, uid, gid, now()
		entries = append(entries, f)
	}
	if err := comm.Put(ctx, path.Dir(home), files(entries...)); err != nil {
		return false, fmt.Errorf("making %s: %w", home, err)
	}
	return true, nil
}
