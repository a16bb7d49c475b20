package provisioners

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"bake/builder"
	"bake/internal/lazyregexp"
	"bake/templates"
)

// Owner says whom files belong to: "name", "uid", "name:group", "uid:gid".
// Names mean what the machine's own /etc/passwd and /etc/group say. Without a
// group it is the user's login group, for a bare number the group of the same
// number. Empty means root.
type Owner string

var ownerPattern = lazyregexp.New(`^[A-Za-z0-9_][-A-Za-z0-9_.]*\$?(:[A-Za-z0-9_][-A-Za-z0-9_.]*\$?)?$`)

// UnmarshalBlock reads a string or a number.
func (o *Owner) UnmarshalBlock(b templates.Block) templates.Diagnostics {
	text, ok := b.Text()
	*o = Owner(text)
	if !ok || !ownerPattern.MatchString(text) {
		d := b.Errorf("not an owner: %s", b.JSON())
		d.Hint = `write a name or a number, with a group if it is to be another: "app", 1000, "app:www-data"`
		return templates.Diagnostics{d}
	}
	return nil
}

// JSONSchema describes the field to editors.
func (Owner) JSONSchema() map[string]any {
	return map[string]any{"anyOf": []any{
		map[string]any{"type": "string", "pattern": `^([A-Za-z0-9_]|\$\{\{)`},
		map[string]any{"type": "integer", "minimum": 0},
	}}
}

// An UnknownOwnerError is a user or group that the machine does not have.
type UnknownOwnerError struct {
	Kind string // "user" or "group"
	Name string
}

func (e *UnknownOwnerError) Error() string {
	return fmt.Sprintf("%s %q: not known on the machine", e.Kind, e.Name)
}

// Hint tells what to do about it.
func (e *UnknownOwnerError) Hint() string {
	return fmt.Sprintf("make it in an earlier step (`- %s: %s`), or write its number", e.Kind, e.Name)
}

// ids returns the numbers of the owner on the machine. It reads the machine's
// account files only if there is a name to look up.
func (o Owner) ids(ctx context.Context, comm builder.Communicator) (uid, gid int, err error) {
	if o == "" {
		return 0, 0, nil
	}
	user, group, hasGroup := strings.Cut(string(o), ":")
	uid, err = strconv.Atoi(user)
	gid = uid
	if err != nil {
		if uid, gid, err = lookUp(ctx, comm, "user", "/etc/passwd", user); err != nil {
			return 0, 0, err
		}
	}
	if !hasGroup {
		return uid, gid, nil
	}
	if gid, err = strconv.Atoi(group); err != nil {
		gid, _, err = lookUp(ctx, comm, "group", "/etc/group", group)
	}
	return uid, gid, err
}

// lookUp returns the third and fourth field of the line of an account file.
func lookUp(ctx context.Context, comm builder.Communicator, kind, file, name string) (id, group int, err error) {
	text, err := readFile(ctx, comm, file)
	if err != nil && !errors.Is(err, builder.ErrNotFound) {
		return 0, 0, err
	}
	table := parseAccounts(text.content)
	row := table.row(name)
	if row < 0 {
		return 0, 0, &UnknownOwnerError{Kind: kind, Name: name}
	}
	if id, err = table.number(row, 2); err != nil {
		return 0, 0, fmt.Errorf("%s: %s: %w", file, name, err)
	}
	if kind == "user" {
		group, err = table.number(row, 3)
	}
	return id, group, err
}
