package ssh

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path"

	"github.com/pkg/sftp"
	gossh "golang.org/x/crypto/ssh"
	"golang.org/x/sync/errgroup"

	"bake/builder"
)

// sftpAtOnce is how many files are under way at once, where each takes
// several round trips.
const sftpAtOnce = 32

// withSFTP runs fn with a client of the machine's SFTP server: the way for
// machines without tar. It cannot become another user.
func (m *Communicator) withSFTP(ctx context.Context, fn func(*sftp.Client) error) error {
	if m.identity("").user != "" {
		return errors.New("moving files with sudo: the machine has no tar")
	}
	s, err := m.pool.session(ctx, forCommands())
	if err != nil {
		return err
	}
	defer func() { m.pool.release(s) }()
	if s.started {
		if err := m.renew(ctx, &s); err != nil {
			return err
		}
	}
	ok, err := s.ch.SendRequest("subsystem", true, gossh.Marshal(struct{ Name string }{"sftp"}))
	if err != nil {
		return s.conn.lost()
	}
	if !ok {
		return errors.New("moving files: the machine has neither tar nor SFTP")
	}
	stop := context.AfterFunc(ctx, s.close)
	defer stop()
	client, err := sftp.NewClientPipe(s.ch, s.ch, sftp.UseConcurrentWrites(true), sftp.UseConcurrentReads(true), sftp.MaxConcurrentRequestsPerFile(64))
	if err != nil {
		return fmt.Errorf("starting SFTP: %w", err)
	}
	defer client.Close()
	err = fn(client)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil && s.conn.dead() {
		return errors.Join(s.conn.lost(), err)
	}
	return err
}

func (m *Communicator) putSFTP(ctx context.Context, dst string, files iter.Seq2[builder.File, error], facts Facts) error {
	return m.withSFTP(ctx, func(c *sftp.Client) error {
		p := &sftpPut{c: c, dst: dst, facts: facts}
		p.work.SetLimit(sftpAtOnce)
		if err := c.MkdirAll(dst); err != nil {
			return fmt.Errorf("making %s: %w", dst, err)
		}
		for f, err := range files {
			if err == nil {
				err = p.add(f)
			}
			if err != nil {
				_ = p.work.Wait()
				return err
			}
		}
		return p.finish()
	})
}

type sftpPut struct {
	c     *sftp.Client
	dst   string
	facts Facts
	work  errgroup.Group
	last  []builder.File // directories and hard links
}

func (p *sftpPut) add(f builder.File) error {
	if err := checkPath(f.Path); err != nil {
		return err
	}
	name := path.Join(p.dst, f.Path)
	switch {
	case len(f.Xattrs) > 0:
		return fmt.Errorf("putting %s: SFTP does not know extended attributes", f.Path)
	case f.Hard, f.Mode.IsDir():
		p.last = append(p.last, f)
		if f.Hard {
			return checkPath(f.Link)
		}
		return wrapPath("making", f.Path, p.c.MkdirAll(name))
	case f.Mode&fs.ModeSymlink != 0:
		p.work.Go(func() error {
			if err := p.c.MkdirAll(path.Dir(name)); err != nil {
				return wrapPath("putting", f.Path, err)
			}
			_ = p.c.Remove(name)
			return wrapPath("putting", f.Path, p.c.Symlink(f.Link, name))
		})
		return nil
	case f.Mode.IsRegular():
		content, err := f.Open()
		if err != nil {
			return fmt.Errorf("reading %s: %w", f.Path, err)
		}
		if _, ok := content.(io.ReaderAt); ok { // its content is there whenever it is read
			p.work.Go(func() error { return p.file(f, name, content) })
			return nil
		}
		return p.file(f, name, content)
	}
	return fmt.Errorf("putting %s: a %v cannot be put", f.Path, f.Mode.Type())
}

func (p *sftpPut) file(f builder.File, name string, content io.ReadCloser) error {
	defer content.Close()
	if err := p.c.MkdirAll(path.Dir(name)); err != nil {
		return wrapPath("putting", f.Path, err)
	}
	_ = p.c.Remove(name) // a link would be followed, a program that runs could not be written
	out, err := p.c.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC)
	if err != nil {
		return wrapPath("putting", f.Path, err)
	}
	n, err := out.ReadFrom(io.LimitReader(content, f.Size))
	if cerr := out.Close(); err == nil {
		err = cerr
	}
	if err == nil && n != f.Size {
		err = fmt.Errorf("it has %d bytes instead of %d: %w", n, f.Size, io.ErrUnexpectedEOF)
	}
	if err == nil {
		err = p.attributes(f, name)
	}
	return wrapPath("putting", f.Path, err)
}

func (p *sftpPut) attributes(f builder.File, name string) error {
	if p.facts.UID == 0 {
		if err := p.c.Chown(name, f.UID, f.GID); err != nil {
			return err
		}
	}
	if err := p.c.Chmod(name, f.Mode); err != nil {
		return err
	}
	if f.ModTime.IsZero() {
		return nil
	}
	return p.c.Chtimes(name, f.ModTime, f.ModTime)
}

func (p *sftpPut) finish() error {
	if err := p.work.Wait(); err != nil {
		return err
	}
	for _, f := range p.last {
		if f.Hard {
			name := path.Join(p.dst, f.Path)
			_ = p.c.Remove(name)
			if err := p.c.Link(path.Join(p.dst, f.Link), name); err != nil {
				return wrapPath("linking", f.Path, err)
			}
		}
	}
	for i := len(p.last) - 1; i >= 0; i-- {
		if f := p.last[i]; !f.Hard {
			if err := p.attributes(f, path.Join(p.dst, f.Path)); err != nil {
				return wrapPath("putting", f.Path, err)
			}
		}
	}
	return nil
}

func wrapPath(doing, name string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s %s: %w", doing, name, err)
}

func (m *Communicator) getSFTP(ctx context.Context, src string, _ Facts, yield func(builder.File, error) bool) error {
	return m.withSFTP(ctx, func(c *sftp.Client) error {
		src := path.Clean(src)
		if _, err := c.Lstat(src); errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s: %w", src, builder.ErrNotFound)
		}
		w := c.Walk(src)
		for w.Step() {
			if err := w.Err(); err != nil {
				return fmt.Errorf("reading %s: %w", w.Path(), err)
			}
			f, err := sftpFile(c, w.Path(), path.Dir(src), w.Stat())
			if err != nil {
				return err
			}
			if !yield(f, nil) {
				return errEnough
			}
		}
		return nil
	})
}

func sftpFile(c *sftp.Client, name, base string, info fs.FileInfo) (builder.File, error) {
	rel := name
	if base != "." {
		rel = name[len(path.Join(base, "x"))-1:]
	}
	f := builder.File{Path: rel, Mode: info.Mode(), ModTime: info.ModTime()}
	if st, ok := info.Sys().(*sftp.FileStat); ok {
		f.UID, f.GID = int(st.UID), int(st.GID)
	}
	switch {
	case info.Mode()&fs.ModeSymlink != 0:
		target, err := c.ReadLink(name)
		if err != nil {
			return f, fmt.Errorf("reading link %s: %w", name, err)
		}
		f.Link = target
	case info.Mode().IsRegular():
		f.Size = info.Size()
		f.Open = func() (io.ReadCloser, error) { return c.Open(name) }
	}
	return f, nil
}
