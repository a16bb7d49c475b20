package provisioners

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path"
	"strconv"

	"bake/builder"
)

// accounts are the account files of a machine. passwd and group are made if
// the machine has none; shadow and gshadow are kept up only where they exist.
type accounts struct {
	passwd, group, shadow, gshadow accountFile
}

type accountFile struct {
	text
	table  *accountTable
	exists bool
}

func readAccounts(ctx context.Context, comm builder.Communicator) (*accounts, error) {
	a := &accounts{}
	for name, f := range map[string]*accountFile{"/etc/passwd": &a.passwd, "/etc/group": &a.group, "/etc/shadow": &a.shadow, "/etc/gshadow": &a.gshadow} {
		t, err := readFile(ctx, comm, name)
		switch {
		case errors.Is(err, builder.ErrNotFound):
			t = text{path: name, File: builder.File{Mode: 0o644}}
		case err != nil:
			return nil, err
		default:
			f.exists = true
		}
		f.text, f.table = t, parseAccounts(t.content)
	}
	return a, nil
}

// dropped removes a line if there is one.
func (f *accountFile) dropped(name string) { f.table.drop(name) }

// ensureGroup makes the group or gives it its number, and returns that. 0 is
// any number.
func (a *accounts) ensureGroup(name string, gid int, system bool) (int, error) {
	t := a.group.table
	row := t.row(name)
	if row >= 0 {
		have, err := t.number(row, 2)
		if err != nil || gid == 0 || have == gid {
			return have, err
		}
	}
	if gid == 0 {
		var err error
		// A number that is free in both files lets a user have the same one.
		if gid, err = freeID(system, t, a.passwd.table); err != nil {
			return 0, err
		}
	} else if other := t.holder(gid); other != "" {
		return 0, fmt.Errorf("gid %d belongs to group %s", gid, other)
	}
	if row >= 0 {
		t.set(row, 2, strconv.Itoa(gid))
		return gid, nil
	}
	t.add(name, "x", strconv.Itoa(gid), "")
	if a.gshadow.exists && a.gshadow.table.row(name) < 0 {
		a.gshadow.table.add(name, "!", "", "")
	}
	return gid, nil
}

// save writes the files that have changed, in one exchange.
func (a *accounts) save(ctx context.Context, comm builder.Communicator, note string) (builder.Outcome, error) {
	byDir := map[string][]builder.File{}
	for _, f := range []*accountFile{&a.passwd, &a.group, &a.shadow, &a.gshadow} {
		content := f.table.bytes()
		if bytes.Equal(content, f.content) || len(content) == 0 && !f.exists {
			continue
		}
		dir := path.Dir(f.path)
		byDir[dir] = append(byDir[dir], f.withContent(content))
	}
	for dir, changed := range byDir {
		if err := comm.Put(ctx, dir, files(changed...)); err != nil {
			return builder.Outcome{}, fmt.Errorf("writing the accounts in %s: %w", dir, err)
		}
	}
	if len(byDir) == 0 {
		return builder.Outcome{Unchanged: true}, nil
	}
	return builder.Outcome{Note: note}, nil
}
