package provisioners

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"bake/builder"
	"bake/templates"
)

// Download brings files of the machine to this one: a test's report, a package
// that was built, a list of what is installed. A slash at the end of to means
// into that directory, as in Copy; without one it is the name. What is there is
// replaced, file by file. Owners and times are this machine's own; devices and
// sockets stay behind.
//
// Like any step it does not run again while nothing before it has changed;
// `cache: false` beside it makes it run every time.
type Download struct {
	From     templates.Strings `yaml:"from" bake:"required" doc:"Files or directories on the machine."`
	To       string            `yaml:"to" bake:"required" doc:"Where on this machine, relative to the template: a directory if it ends in a slash, else the name."`
	Optional bool              `yaml:"optional" doc:"It is fine if there is nothing to download."`
}

// Validate checks what the tags cannot say.
func (d *Download) Validate(b templates.Block) templates.Diagnostics {
	var ds templates.Diagnostics
	for i, from := range d.From {
		if from != "" && !path.IsAbs(from) {
			ds = append(ds, b.At("from", fmt.Sprint(i)).Errorf("from must be an absolute path on the machine, not %q", from))
		}
	}
	if d.To != "" && len(d.From) > 1 && !strings.HasSuffix(d.To, "/") {
		diag := b.At("to").Errorf("%s must end in a slash: %d things are downloaded into it", d.To, len(d.From))
		diag.Hint = fmt.Sprintf("to: %s/", d.To)
		ds = append(ds, diag)
	}
	return ds
}

// FilesOnly says that no program of the machine is run.
func (d *Download) FilesOnly() bool { return true }

// Provision downloads.
func (d *Download) Provision(ctx context.Context, sc *builder.Scope, comm builder.Communicator) (builder.Outcome, error) {
	to := d.To
	if !filepath.IsAbs(to) {
		to = filepath.Join(sc.Dir, to)
	}
	into := strings.HasSuffix(d.To, "/")
	dir := to
	if !into {
		dir = filepath.Dir(to)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return builder.Outcome{}, fmt.Errorf("downloading to %s: %w", d.To, err)
	}
	// Nothing in a tree, and no link in it, leads out of the directory.
	root, err := os.OpenRoot(dir)
	if err != nil {
		return builder.Outcome{}, fmt.Errorf("downloading to %s: %w", d.To, err)
	}
	defer root.Close()
	in := download{root: root, progress: sc.Progress}
	for _, from := range d.From {
		name := path.Base(path.Clean(from))
		if !into {
			name = filepath.Base(to)
		}
		err := in.tree(ctx, comm, path.Clean(from), name)
		if errors.Is(err, builder.ErrNotFound) && d.Optional {
			sc.Log("%s is not there", from)
			continue
		}
		if err != nil {
			return builder.Outcome{}, fmt.Errorf("downloading %s: %w", from, err)
		}
	}
	for _, name := range in.left {
		sc.Log("%s is not a file, a directory or a link: left out", name)
	}
	return builder.Outcome{Note: fmt.Sprintf("%d files, %s", in.files, byteCount(in.bytes))}, nil
}

// A download writes trees below a directory of this machine.
type download struct {
	root     *os.Root
	progress func(builder.Progress)
	files    int
	bytes    int64
	left     []string
}

// tree downloads what is at from, under another name for its top.
func (in *download) tree(ctx context.Context, comm builder.Communicator, from, name string) error {
	for f, err := range comm.Get(ctx, from) {
		if err != nil {
			return err
		}
		_, below, _ := strings.Cut(f.Path, "/")
		if err := in.entry(path.Join(name, below), name, f); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// entry writes one entry; top is the name of the tree it belongs to.
func (in *download) entry(name, top string, f builder.File) error {
	switch {
	case f.Mode.IsDir():
		return in.directory(name)
	case f.Mode&fs.ModeSymlink != 0:
		return in.replace(name, func(temporary string) error { return in.root.Symlink(f.Link, temporary) })
	case f.Hard:
		_, below, _ := strings.Cut(f.Link, "/")
		return in.replace(name, func(temporary string) error { return in.root.Link(path.Join(top, below), temporary) })
	case !f.Mode.IsRegular():
		in.left = append(in.left, f.Path)
		return nil
	}
	in.files++
	return in.replace(name, func(temporary string) error { return in.file(temporary, f) })
}

// directory makes a directory, or takes the one that is there.
func (in *download) directory(name string) error {
	err := in.root.Mkdir(name, 0o755)
	if errors.Is(err, fs.ErrExist) {
		if info, serr := in.root.Lstat(name); serr == nil && info.IsDir() {
			return nil
		}
		return fmt.Errorf("%s is there and is not a directory", name)
	}
	return err
}

// replace makes something beside name and puts it in name's place, so that
// nobody sees half of it and a link that is there is not followed.
func (in *download) replace(name string, make func(temporary string) error) error {
	temporary := path.Join(path.Dir(name), ".bake-download-"+path.Base(name))
	if err := in.root.Remove(temporary); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	err := make(temporary)
	if err == nil {
		err = in.root.Rename(temporary, name)
	}
	if err != nil {
		return errors.Join(err, ignoreMissing(in.root.Remove(temporary)))
	}
	return nil
}

func (in *download) file(name string, f builder.File) error {
	content, err := f.Open()
	if err != nil {
		return err
	}
	defer content.Close()
	out, err := in.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, f.Mode.Perm()|0o600)
	if err != nil {
		return err
	}
	n, err := io.Copy(out, content)
	in.bytes += n
	in.progress(builder.Progress{ID: f.Path, Verb: "downloading", Done: n, Total: f.Size, Unit: "B", Ended: true})
	if err == nil && n != f.Size {
		err = fmt.Errorf("%s: %d of %d bytes came", f.Path, n, f.Size)
	}
	return errors.Join(err, out.Close())
}
