package provisioners

import (
	"context"
	"fmt"
	"strconv"

	"bake/builder"
	"bake/internal/lazyregexp"
	"bake/templates"
)

var accountName = lazyregexp.New(`^[a-zA-Z_][-a-zA-Z0-9_.]{0,31}\$?$`)

// Group makes a group, changes its number, or removes it. It edits the
// machine's /etc/group, so that it needs no program there.
type Group struct {
	Name   string `yaml:"name" bake:"main,required" doc:"The group."`
	GID    int    `yaml:"gid" min:"1" max:"4294967294" doc:"Its number. Default: a free one."`
	System bool   `yaml:"system" doc:"A free number is taken from those of the system, below 1000."`
	State  string `yaml:"state" enum:"present|absent" default:"present" doc:"absent: remove it."`
}

// Validate checks what the tags cannot say.
func (g *Group) Validate(b templates.Block) templates.Diagnostics {
	return checkAccountName(b, "name", g.Name)
}

func checkAccountName(b templates.Block, key, name string) templates.Diagnostics {
	if name == "" || accountName.MatchString(name) {
		return nil
	}
	d := b.At(key).Errorf("not a name of a user or group: %q", name)
	d.Hint = "letters, digits, - _ and ., at most 32, beginning with a letter or _"
	return templates.Diagnostics{d}
}

// Provision edits the account files if need be.
func (g *Group) Provision(ctx context.Context, _ *builder.Scope, comm builder.Communicator) (builder.Outcome, error) {
	a, err := readAccounts(ctx, comm)
	if err != nil {
		return builder.Outcome{}, err
	}
	if g.State == "absent" {
		for i := range a.passwd.table.rows {
			row := a.group.table.row(g.Name)
			if row >= 0 && a.passwd.table.field(i, 3) == a.group.table.field(row, 2) {
				return builder.Outcome{}, fmt.Errorf("group %s: is the login group of user %s", g.Name, a.passwd.table.rows[i][0])
			}
		}
		a.group.dropped(g.Name)
		a.gshadow.dropped(g.Name)
		return a.save(ctx, comm, "")
	}
	gid, err := a.ensureGroup(g.Name, g.GID, g.System)
	if err != nil {
		return builder.Outcome{}, err
	}
	return a.save(ctx, comm, "gid "+strconv.Itoa(gid))
}
