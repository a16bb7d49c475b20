package provisioners

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"bake/builder"
	"bake/internal/shell"
	"bake/templates"
)

// Directory makes directories, sets their owner and mode, or removes them.
// What is not given stays as it is if the directory is there.
type Directory struct {
	Path  templates.Strings `yaml:"path" bake:"main,required" doc:"The directory on the machine, or several; missing ones above are made too."`
	Owner Owner             `yaml:"owner" doc:"Whom it belongs to: name or number, with :group if it is another. Default for a new one: root."`
	Mode  templates.Mode    `yaml:"mode" doc:"Its mode. Default for a new one: 0755."`
	State string            `yaml:"state" enum:"present|absent" default:"present" doc:"absent: remove it and all that is in it."`
}

// Validate checks what the tags cannot say.
func (d *Directory) Validate(b templates.Block) (ds templates.Diagnostics) {
	for _, p := range d.Path {
		ds = append(ds, absolute(b, "path", p)...)
		if p != "" && path.Clean(p) == "/" {
			ds = append(ds, b.At("path").Errorf("the root directory is not for a template to make or remove"))
		}
	}
	return ds
}

// Provision makes or removes what is not yet as asked.
func (d *Directory) Provision(ctx context.Context, _ *builder.Scope, comm builder.Communicator) (builder.Outcome, error) {
	uid, gid, err := d.Owner.ids(ctx, comm)
	if err != nil {
		return builder.Outcome{}, err
	}
	var changed []string
	for _, p := range d.Path {
		p = path.Clean(p)
		done := false
		if d.State == "absent" {
			done, err = removeTree(ctx, comm, p)
		} else {
			done, err = d.ensure(ctx, comm, p, uid, gid)
		}
		if err != nil {
			return builder.Outcome{}, err
		}
		if done {
			changed = append(changed, p)
		}
	}
	return builder.Outcome{Unchanged: len(changed) == 0, Note: strings.Join(changed, ", ")}, nil
}

// ensure makes one directory and reports whether it had to.
func (d *Directory) ensure(ctx context.Context, comm builder.Communicator, at string, uid, gid int) (bool, error) {
	want := builder.File{Path: path.Base(at), Mode: fs.ModeDir | fileMode(d.Mode, 0o755), UID: uid, GID: gid, ModTime: now()}
	have, err := stat(ctx, comm, at)
	switch {
	case errors.Is(err, builder.ErrNotFound):
	case err != nil:
		return false, err
	case have.Mode&fs.ModeSymlink != 0:
		return false, fmt.Errorf("%s: is a link to %s on the machine; name that directory", at, have.Link)
	case !have.Mode.IsDir():
		return false, fmt.Errorf("%s: is a file on the machine", at)
	default:
		if d.Mode == 0 {
			want.Mode = have.Mode
		}
		if d.Owner == "" {
			want.UID, want.GID = have.UID, have.GID
		}
		if want.Mode == have.Mode && want.UID == have.UID && want.GID == have.GID {
			return false, nil
		}
		want.ModTime, want.Xattrs = have.ModTime, have.Xattrs
	}
	if err := comm.Put(ctx, path.Dir(at), files(want)); err != nil {
		return false, fmt.Errorf("making %s: %w", at, err)
	}
	return true, nil
}

// removeTree removes a file or tree and reports whether it was there.
func removeTree(ctx context.Context, comm builder.Communicator, at string) (bool, error) {
	if _, err := stat(ctx, comm, at); errors.Is(err, builder.ErrNotFound) {
		return false, nil
	} else if err != nil {
		return false, err
	}
	var said strings.Builder
	if err := comm.Run(ctx, builder.Command{Script: "rm -rf " + shell.Quote(at) + "\n", Stdout: &said, Stderr: &said}); err != nil {
		return false, fmt.Errorf("removing %s: %w%s", at, err, lastLine(said.String()))
	}
	return true, nil
}

// lastLine is what a program said last, for the end of an error.
func lastLine(said string) string {
	said = strings.TrimSpace(said)
	if said == "" {
		return ""
	}
	return ": " + said[strings.LastIndexByte(said, '\n')+1:]
}
