package provisioners

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"

	"bake/builder"
	"bake/templates"
)

// Link makes a symbolic link, points one elsewhere, or removes it.
type Link struct {
	Path   string `yaml:"path" bake:"required" doc:"Where the link is on the machine."`
	Target string `yaml:"target" doc:"What it points to, as it stands in the link: absolute, or relative to the link's directory. It need not exist."`
	Force  bool   `yaml:"force" doc:"Replace a file that is in its place. A directory never is."`
	Owner  Owner  `yaml:"owner" doc:"Whom the link itself belongs to. Default: root."`
	State  string `yaml:"state" enum:"present|absent" default:"present" doc:"absent: remove the link."`
}

// Validate checks what the tags cannot say.
func (l *Link) Validate(b templates.Block) templates.Diagnostics {
	ds := absoluteFile(b, "path", l.Path)
	switch {
	case l.State == "absent" && b.Has("target"):
		ds = append(ds, b.At("target").Errorf("a link that is to be absent has no target"))
	case l.State != "absent" && l.Target == "" && !b.At("target").Unresolved():
		ds = append(ds, b.At("target").Errorf("target is missing: what the link points to"))
	}
	return ds
}

// Provision makes the link what it is to be.
func (l *Link) Provision(ctx context.Context, _ *builder.Scope, comm builder.Communicator) (builder.Outcome, error) {
	at := path.Clean(l.Path)
	have, err := stat(ctx, comm, at)
	there := err == nil
	isLink := there && have.Mode&fs.ModeSymlink != 0
	switch {
	case err != nil && !errors.Is(err, builder.ErrNotFound):
		return builder.Outcome{}, err
	case there && have.Mode.IsDir():
		return builder.Outcome{}, fmt.Errorf("%s: is a directory on the machine", at)
	case there && !isLink && !l.Force:
		return builder.Outcome{}, fmt.Errorf("%s: is a file on the machine; force: true replaces it", at)
	case l.State == "absent":
		removed, err := removeTree(ctx, comm, at)
		return builder.Outcome{Unchanged: !removed}, err
	}
	uid, gid, err := l.Owner.ids(ctx, comm)
	if err != nil {
		return builder.Outcome{}, err
	}
	if isLink && have.Link == l.Target && have.UID == uid && have.GID == gid {
		return builder.Outcome{Unchanged: true}, nil
	}
	f := builder.File{Path: path.Base(at), Mode: fs.ModeSymlink | 0o777, Link: l.Target, UID: uid, GID: gid, ModTime: now()}
	if err := comm.Put(ctx, path.Dir(at), files(f)); err != nil {
		return builder.Outcome{}, fmt.Errorf("linking %s: %w", at, err)
	}
	return builder.Outcome{Note: at + " -> " + l.Target}, nil
}
