package provisioners

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"

	"bake/builder"
	"bake/internal/filetree"
	"bake/templates"
)

// Copy puts files of this machine on the other one. Where they go depends on
// what is written, never on what is there:
//
//	from: site     to: /srv/      -> /srv/site/...  (a slash at the end of to: into it)
//	from: site/    to: /srv/      -> /srv/...       (a slash at the end of from: its contents)
//	from: site     to: /srv/www   -> /srv/www/...   (no slash at the end of to: it is the name)
//	from: a.conf   to: /etc/      -> /etc/a.conf
//	from: a.conf   to: /etc/b     -> /etc/b
//	from: [a, b]   to: /etc/      -> /etc/a, /etc/b (several files, or a pattern: to must end in a slash)
//
// Links are copied as links; only one that from names itself is followed, and
// only inside the context. A link on the machine in the place of a file is
// replaced; directories that are there keep their owner and mode. Files are
// 0644, or 0755 if their owner may execute them; times are those of the step.
type Copy struct {
	From     templates.Strings `yaml:"from" bake:"required" doc:"Files, directories or patterns (*, **, ?, {a,b}), relative to the template. A slash at the end of a directory means what is in it."`
	To       string            `yaml:"to" bake:"required" doc:"Where on the machine: a directory if it ends in a slash, else the name of what is copied."`
	Exclude  templates.Strings `yaml:"exclude" doc:"Patterns of files to leave out, as in .dockerignore, relative to the directory in from. .bakeignore or .dockerignore beside the template count too."`
	Owner    Owner             `yaml:"owner" doc:"Whom the files belong to: name or number, with :group if it is another. Default: root."`
	Mode     templates.Mode    `yaml:"mode" doc:"Mode of the files. Default: 0755 for what is executable, 0644 for the rest."`
	DirMode  templates.Mode    `yaml:"dir_mode" doc:"Mode of the directories that are made. Default: 0755."`
	KeepMode bool              `yaml:"keep_mode" doc:"Keep the modes that the files have on this machine; mode and dir_mode still win."`
	Parents  bool              `yaml:"parents" doc:"Keep the directories between the fixed part of a pattern and what it matches."`

	Sums *filetree.Sums `yaml:"-"`
}

// Validate checks what the tags cannot say.
func (c *Copy) Validate(b templates.Block) templates.Diagnostics {
	ds := absolute(b, "to", c.To)
	if c.To != "" && !strings.HasSuffix(c.To, "/") && len(c.From) > 1 {
		d := b.At("to").Errorf("%s must end in a slash: %d things are copied into it", c.To, len(c.From))
		d.Hint = fmt.Sprintf("to: %s/", c.To)
		ds = append(ds, d)
	}
	return ds
}

func (c *Copy) options() filetree.Options {
	return filetree.Options{Exclude: c.Exclude, KeepModes: c.KeepMode}
}

// Check reports files that are not there.
func (c *Copy) Check(dir string, b templates.Block) (ds templates.Diagnostics) {
	for i, from := range c.From {
		at := b.At("from", fmt.Sprint(i))
		if found := checkFiles(dir, from, c.options(), at); found != nil {
			ds = append(ds, found...)
			continue
		}
		if c.To == "" || strings.HasSuffix(c.To, "/") || len(c.From) > 1 || at.Unresolved() {
			continue
		}
		if s, err := filetree.Open(dir, from, c.options()); err == nil {
			if len(s.Sources) > 1 {
				d := b.At("to").Errorf("%s must end in a slash: %s matches %d files", c.To, from, len(s.Sources))
				d.Hint = fmt.Sprintf("to: %s/", c.To)
				ds = append(ds, d)
			}
			s.Close()
		}
	}
	return ds
}

// Fingerprint covers all files that would be copied.
func (c *Copy) Fingerprint(ctx context.Context, dir string) (builder.Digest, error) {
	opts := c.options()
	opts.Sums = c.Sums
	return digestOf(ctx, dir, c.From, opts)
}

// digestOf is the fingerprint of several paths or patterns.
func digestOf(ctx context.Context, dir string, from []string, opts filetree.Options) (builder.Digest, error) {
	all := sha256.New()
	for _, f := range from {
		sum, err := filetree.Digest(ctx, dir, f, opts)
		if err != nil {
			return "", err
		}
		io.WriteString(all, sum)
	}
	return builder.Digest("sha256:" + hex.EncodeToString(all.Sum(nil))), nil
}

// Provision copies what is missing or different.
func (c *Copy) Provision(ctx context.Context, sc *builder.Scope, comm builder.Communicator) (builder.Outcome, error) {
	uid, gid, err := c.Owner.ids(ctx, comm)
	if err != nil {
		return builder.Outcome{}, err
	}
	l := &layout{c: c, uid: uid, gid: gid, seen: map[string]bool{}}
	for _, from := range c.From {
		s, err := filetree.Open(sc.Dir, from, c.options())
		if err != nil {
			return builder.Outcome{}, err
		}
		defer s.Close()
		if err := l.addSelection(from, s); err != nil {
			return builder.Outcome{}, err
		}
	}
	t := l.tree()
	return t.ensure(ctx, sc, comm)
}

// A layout gathers where the files of a copy go.
type layout struct {
	c        *Copy
	uid, gid int
	files    []builder.File // Path is absolute, without its first slash
	seen     map[string]bool
}

func (l *layout) addSelection(from string, s *filetree.Selection) error {
	into := strings.HasSuffix(l.c.To, "/")
	if !into && (len(s.Sources) > 1 || len(l.c.From) > 1) {
		return fmt.Errorf("to: %s must end in a slash: several files are copied into it (%s)", l.c.To, from)
	}
	for _, src := range s.Sources {
		top := path.Clean(l.c.To)
		switch {
		case into && src.Dir && src.Contents && !l.c.Parents:
			l.directory(top)
		case into && l.c.Parents:
			l.directory(top)
			l.parents(top, path.Dir(src.Rel))
			top = path.Join(top, src.Rel)
		case into:
			l.directory(top)
			top = path.Join(top, path.Base(src.Rel))
		}
		if src.Dir {
			l.directory(top)
		}
		for e, err := range s.Walk(src) {
			if err != nil {
				return err
			}
			at := top
			if src.Dir {
				at = path.Join(top, e.Path)
			}
			l.entry(at, e)
		}
	}
	return nil
}

func (l *layout) parents(top, rel string) {
	if rel == "." {
		return
	}
	l.parents(top, path.Dir(rel))
	l.directory(path.Join(top, rel))
}

func (l *layout) directory(at string) {
	if at != "/" {
		l.entry(at, filetree.Entry{Mode: fs.ModeDir | 0o755})
	}
}

func (l *layout) entry(at string, e filetree.Entry) {
	if e.Mode.IsDir() {
		if l.seen[at] {
			return
		}
		l.seen[at] = true
	}
	f := builder.File{Path: strings.TrimPrefix(at, "/"), Mode: e.Mode, UID: l.uid, GID: l.gid, Size: e.Size, Link: e.Link, ModTime: now()}
	switch {
	case e.Mode.IsDir():
		f.Mode = fs.ModeDir | fileMode(l.c.DirMode, e.Mode&^fs.ModeType)
	case e.Mode.IsRegular():
		f.Mode = fileMode(l.c.Mode, e.Mode)
		f.Open = func() (io.ReadCloser, error) { return e.Open() }
	}
	l.files = append(l.files, f)
}

// tree returns what was gathered, below the directory that all of it is in.
func (l *layout) tree() *tree {
	dir := path.Dir(path.Clean(l.c.To))
	if path.Clean(l.c.To) == "/" {
		dir = "/"
	}
	prefix := strings.TrimPrefix(strings.TrimSuffix(dir, "/")+"/", "/")
	for i := range l.files {
		l.files[i].Path = strings.TrimPrefix(l.files[i].Path, prefix)
	}
	return &tree{dir: dir, entries: l.files}
}
