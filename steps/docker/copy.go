package docker

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"path"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"

	"bake/builder"
)

// The engine unpacks an archive in a process whose root is the container's, so
// that no name and no link of the machine leads out of it, not even one that
// changes meanwhile. Names are from the root: the engine refuses links that
// lead out of the directory that it unpacks in.

// xattrRecord is the prefix of the PAX records that hold extended attributes.
const xattrRecord = "SCHILY.xattr."

// Put writes files below dst.
func (c *communicator) Put(ctx context.Context, dst string, files iter.Seq2[builder.File, error]) error {
	existing, missing, err := c.split(ctx, path.Join("/", dst))
	if err != nil {
		return err
	}
	p := putter{comm: c, below: path.Join(".", existing, missing), fresh: map[string]bool{}, files: map[string]meta{}}
	if err := p.write(ctx, missing, files); err != nil {
		return fmt.Errorf("writing below %s: %w", dst, p.fail(err))
	}
	return nil
}

// split divides a path into the directory that is there and the rest.
func (c *communicator) split(ctx context.Context, dst string) (existing, missing string, err error) {
	for existing = dst; ; {
		kind, err := c.stat(ctx, existing)
		switch {
		case err == nil && kind.IsDir():
			return existing, missing, nil
		case err == nil:
			return "", "", fmt.Errorf("writing below %s: %s is not a directory", dst, existing)
		case !errors.Is(err, builder.ErrNotFound) || existing == "/":
			return "", "", fmt.Errorf("writing below %s: %w", dst, err)
		}
		missing = path.Join(path.Base(existing), missing)
		existing = path.Dir(existing)
	}
}

// stat returns the type of what a path leads to, symlinks followed.
func (c *communicator) stat(ctx context.Context, name string) (fs.FileMode, error) {
	st, err := c.lstat(ctx, name)
	if err != nil || st&fs.ModeSymlink == 0 {
		return st, err
	}
	st, err = c.lstat(ctx, name+"/.")
	if errors.Is(err, builder.ErrNotFound) || err != nil && strings.Contains(err.Error(), "not a directory") {
		return fs.ModeSymlink, nil // it leads to no directory
	}
	return st, err
}

func (c *communicator) lstat(ctx context.Context, name string) (fs.FileMode, error) {
	st, err := c.docker.ContainerStatPath(ctx, c.id, name)
	if errdefs.IsNotFound(err) {
		return 0, fmt.Errorf("%s: %w", name, builder.ErrNotFound)
	}
	return st.Mode, err
}

// A putter writes archives that the engine unpacks; most often one.
type putter struct {
	comm  *communicator
	below string          // directory that files are relative to, from the root
	fresh map[string]bool // directories that were made here: nothing else stands below them
	files map[string]meta // regular files that were written: see header

	// Of the request that runs; nil if none does.
	out  *tar.Writer
	pipe *io.PipeWriter
	done chan error
}

// write makes the end of below that is missing, and then the files.
func (p *putter) write(ctx context.Context, missing string, files iter.Seq2[builder.File, error]) error {
	if err := p.makeParents(ctx, missing); err != nil {
		return err
	}
	for f, err := range files {
		if err == nil {
			err = context.Cause(ctx)
		}
		if err != nil {
			return err
		}
		if err := p.file(ctx, f); err != nil {
			return fmt.Errorf("%s: %w", f.Path, err)
		}
	}
	return p.flush()
}

// archive returns the archive of the request that runs, or of a new one.
func (p *putter) archive(ctx context.Context) *tar.Writer {
	if p.out != nil {
		return p.out
	}
	r, w := io.Pipe()
	p.out, p.pipe, p.done = tar.NewWriter(w), w, make(chan error, 1)
	go func(done chan<- error) {
		err := p.comm.docker.CopyToContainer(ctx, p.comm.id, "/", r, container.CopyToContainerOptions{})
		r.CloseWithError(errStopped)
		done <- err
	}(p.done)
	return p.out
}

// flush ends the request that runs, so that what was written is there, and
// the engine answers again: it locks the container while it unpacks.
func (p *putter) flush() error {
	if p.out == nil {
		return nil
	}
	if err := p.out.Close(); err != nil {
		return err
	}
	p.pipe.Close()
	p.out = nil
	return <-p.done
}

// fail ends the request that runs and returns the error that was first: the
// engine's, if it stopped reading.
func (p *putter) fail(err error) error {
	if p.out == nil {
		return err
	}
	p.pipe.CloseWithError(err)
	p.out = nil
	if said := <-p.done; errors.Is(err, errStopped) && said != nil {
		return said
	}
	return err
}

func (p *putter) makeParents(ctx context.Context, missing string) error {
	if missing == "" {
		return nil
	}
	name := strings.TrimSuffix(p.below, missing)
	for part := range strings.SplitSeq(missing, "/") {
		name = path.Join(name, part)
		p.fresh[name] = true
		if err := p.archive(ctx).WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: 0o755}); err != nil {
			return err
		}
	}
	return nil
}

func (p *putter) file(ctx context.Context, f builder.File) error {
	if !fs.ValidPath(f.Path) {
		return errors.New("not a relative path without \"..\"")
	}
	hdr, err := p.header(f)
	if err != nil {
		return err
	}
	if f.Mode.IsDir() {
		linked, err := p.linked(ctx, path.Join(p.below, f.Path))
		if linked || err != nil {
			return err
		}
	}
	if hdr.Typeflag != tar.TypeReg {
		return p.archive(ctx).WriteHeader(hdr)
	}
	content, err := f.Open()
	if err != nil {
		return err
	}
	defer content.Close()
	if err := p.archive(ctx).WriteHeader(hdr); err != nil {
		return err
	}
	n, err := io.Copy(p.out, content)
	if err == nil && n != f.Size {
		return fmt.Errorf("%d bytes instead of %d: it changed while it was read", n, f.Size)
	}
	return err
}

// linked reports whether a directory's place is taken by a symlink to a
// directory, as in /bin -> usr/bin: then files go where it leads, as they do
// for cp and COPY; the engine would replace the link.
func (p *putter) linked(ctx context.Context, name string) (bool, error) {
	if name == "." || p.fresh[name] {
		return false, nil
	}
	if p.fresh[path.Dir(name)] {
		p.fresh[name] = true
		return false, nil
	}
	if err := p.flush(); err != nil {
		return false, err
	}
	target := "/" + name
	mode, err := p.comm.lstat(ctx, target)
	if errors.Is(err, builder.ErrNotFound) {
		p.fresh[name] = true
		return false, nil
	}
	if err != nil || mode&fs.ModeSymlink == 0 {
		return false, err
	}
	mode, err = p.comm.stat(ctx, target)
	return mode.IsDir(), err
}

// meta is what a hard link has in common with its file.
type meta struct {
	mode     int64
	uid, gid int
	modTime  time.Time
}

// header returns the entry of a file. One of a hard link repeats what its file
// has: the engine sets it again, where other programs ignore it.
func (p *putter) header(f builder.File) (*tar.Header, error) {
	hdr := &tar.Header{
		Name: path.Join(p.below, f.Path), Mode: tarMode(f.Mode), Uid: f.UID, Gid: f.GID,
		ModTime: f.ModTime, Format: tar.FormatPAX,
	}
	switch {
	case f.Hard:
		hdr.Typeflag, hdr.Linkname = tar.TypeLink, path.Join(p.below, f.Link)
		if m, ok := p.files[f.Link]; ok {
			hdr.Mode, hdr.Uid, hdr.Gid, hdr.ModTime = m.mode, m.uid, m.gid, m.modTime
		}
	case f.Mode.IsRegular():
		hdr.Typeflag, hdr.Size = tar.TypeReg, f.Size
		p.files[f.Path] = meta{hdr.Mode, hdr.Uid, hdr.Gid, hdr.ModTime}
	case f.Mode.IsDir():
		hdr.Typeflag, hdr.Name = tar.TypeDir, hdr.Name+"/"
	case f.Mode&fs.ModeSymlink != 0:
		hdr.Typeflag, hdr.Linkname = tar.TypeSymlink, f.Link
	case f.Mode&fs.ModeNamedPipe != 0:
		hdr.Typeflag = tar.TypeFifo
	default:
		return nil, fmt.Errorf("%s cannot be copied", f.Mode.Type())
	}
	for name, value := range f.Xattrs {
		if hdr.PAXRecords == nil {
			hdr.PAXRecords = map[string]string{}
		}
		hdr.PAXRecords[xattrRecord+name] = value
	}
	return hdr, nil
}

// tarMode returns the permissions with the bits that fs.FileMode keeps elsewhere.
func tarMode(m fs.FileMode) int64 {
	mode := int64(m.Perm())
	for bit, flag := range map[int64]fs.FileMode{0o4000: fs.ModeSetuid, 0o2000: fs.ModeSetgid, 0o1000: fs.ModeSticky} {
		if m&flag != 0 {
			mode |= bit
		}
	}
	return mode
}

// Get reads the file or tree at src.
func (c *communicator) Get(ctx context.Context, src string) iter.Seq2[builder.File, error] {
	src = path.Join("/", src)
	return func(yield func(builder.File, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		r, _, err := c.docker.CopyFromContainer(ctx, c.id, src)
		if errdefs.IsNotFound(err) {
			err = builder.ErrNotFound
		}
		if err != nil {
			yield(builder.File{}, fmt.Errorf("reading %s: %w", src, err))
			return
		}
		defer r.Close()
		for archive := tar.NewReader(r); ; {
			hdr, err := archive.Next()
			if err == io.EOF {
				return
			}
			if err != nil {
				yield(builder.File{}, fmt.Errorf("reading %s: %w", src, err))
				return
			}
			if !yield(fileOf(hdr, archive), nil) {
				return
			}
		}
	}
}

func fileOf(hdr *tar.Header, content io.Reader) builder.File {
	f := builder.File{
		Path: relative(hdr.Name), Mode: hdr.FileInfo().Mode(), UID: hdr.Uid, GID: hdr.Gid,
		Link: hdr.Linkname, ModTime: hdr.ModTime,
		Open: func() (io.ReadCloser, error) { return io.NopCloser(content), nil },
	}
	switch hdr.Typeflag {
	case tar.TypeLink:
		f.Hard, f.Link = true, relative(hdr.Linkname)
	case tar.TypeReg:
		f.Size = hdr.Size
	}
	for key, value := range hdr.PAXRecords {
		if name, ok := strings.CutPrefix(key, xattrRecord); ok {
			if f.Xattrs == nil {
				f.Xattrs = map[string]string{}
			}
			f.Xattrs[name] = value
		}
	}
	return f
}

// relative returns a name in an archive as builder.File.Path has it.
func relative(name string) string {
	if name = strings.TrimPrefix(path.Clean("/"+name), "/"); name == "" {
		return "."
	}
	return name
}
