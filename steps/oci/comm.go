package oci

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"bake/builder"
	"bake/internal/rootfs"
	"bake/internal/rootfs/tree"
)

// hostname is the same for every step of every build: programs write it into files.
const hostname = "bake"

// Dial boots the machine. In one that is to be tested the image's own program
// starts too.
func (e *Engine) Dial(ctx context.Context, sc *builder.Scope, m builder.Machine) (builder.Communicator, error) {
	s, err := e.store(ctx)
	if err != nil {
		return nil, err
	}
	image, err := s.useImage(m.Detail[detailBase])
	if err != nil {
		return nil, fmt.Errorf("the base image %s: %w", m.Detail[detailBase], err)
	}
	file, err := v1.ParseConfigFile(bytes.NewReader(image.Config))
	if err != nil {
		return nil, fmt.Errorf("the base image's config: %w", err)
	}
	lower, err := e.lower(ctx, s, sc, m, image)
	if err != nil {
		return nil, err
	}
	box, err := s.start(ctx, sc, m, lower)
	if err != nil {
		return nil, err
	}
	c := &communicator{box: box, config: file.Config, oneID: s.host.Identity().OneID}
	c.user = "0:0"
	if m.Detail[detailTest] != "" {
		c.user = file.Config.User
		c.startMain(sc)
	}
	return c, nil
}

// lower returns the names of the machine's layers, top first.
func (e *Engine) lower(ctx context.Context, s *store, sc *builder.Scope, m builder.Machine, image imageRecord) ([]string, error) {
	var dirs []string
	for _, l := range image.Layers {
		rec, err := e.layer(ctx, s, sc, l, s.openBlob(l.Blob))
		if err != nil {
			return nil, err
		}
		dirs = append(dirs, rec.Dir)
	}
	chain, err := s.chain(m)
	if err != nil {
		return nil, err
	}
	for _, rec := range chain {
		dir, err := e.snapshotDir(ctx, s, sc, rec)
		if err != nil {
			return nil, fmt.Errorf("saved step %s: %w", rec.Step, err)
		}
		dirs = append(dirs, dir)
	}
	slices.Reverse(dirs)
	// Layers of the same content share a directory, which overlayfs takes once.
	var once []string
	for _, d := range dirs {
		if !slices.Contains(once, d) {
			once = append(once, d)
		}
	}
	once, err = e.shallow(ctx, s, sc, once)
	return append(once, "skeleton"), err
}

// start boots the container of a workspace.
func (s *store) start(ctx context.Context, sc *builder.Scope, m builder.Machine, lower []string) (*rootfs.Container, error) {
	if _, err := s.ensureWorkspace(ctx, sc, m); err != nil {
		return nil, err
	}
	if err := s.prepareUpper(m); err != nil {
		return nil, err
	}
	upper, work := s.upper(m), s.workspace(m.ID, "work")
	if st, err := os.Stat(s.path("layers", lower[0])); err == nil {
		if err := os.Chmod(upper, st.Mode()); err != nil { // the root directory is the upper one's
			return nil, err
		}
	}
	if err := s.host.Remove(ctx, filepath.Join(work, "work")); err != nil { // overlayfs does not take one it has used
		return nil, err
	}
	if err := os.Mkdir(work, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	rel := "../work/" + m.ID + "/"
	box, err := s.host.Start(ctx, rootfs.Config{
		Base: s.path("layers"), Lower: lower, Upper: rel + filepath.Base(upper), Work: rel + "work", Root: rel + "root",
		Hostname: hostname, Files: rootfs.NetworkFiles(hostname),
	})
	if err != nil {
		return nil, err
	}
	if err := s.noteProcess(m.ID, box.Pid()); err != nil {
		box.Close()
		return nil, err
	}
	return box, nil
}

// A communicator runs commands in a booted machine.
type communicator struct {
	box      *rootfs.Container
	config   v1.Config
	user     string // who commands run as
	oneID    bool
	main     chan struct{} // closed when the image's program has ended
	stopMain context.CancelFunc
}

// Connection lets ansible work on the machine's root. Only root may enter it.
func (c *communicator) Connection() (plugin, host string, vars map[string]string) {
	return "chroot", fmt.Sprintf("/proc/%d/root", c.box.Pid()), nil
}

// Run runs a command.
func (c *communicator) Run(ctx context.Context, cmd builder.Command) error {
	p := rootfs.Process{Argv: cmd.Argv, Env: c.environ(cmd.Env), Dir: cmd.Dir, User: cmd.User, Stdin: cmd.Stdin, Stdout: cmd.Stdout, Stderr: cmd.Stderr, TTY: cmd.TTY}
	if len(cmd.Argv) == 0 {
		p.Script, p.Argv = []byte(cmd.Script), cmd.Shell
		if len(p.Argv) == 0 {
			p.Argv = []string{"/bin/sh", "-e"}
		}
		if !cmd.TTY {
			p.Stdin = nil
		}
	}
	if p.Dir == "" {
		p.Dir, p.DirOptional = c.config.WorkingDir, true
	}
	if p.User == "" {
		p.User = c.user
	}
	return c.explain(c.box.Run(ctx, p))
}

// environ is the image's environment with the command's on top.
func (c *communicator) environ(env map[string]string) []string {
	all := map[string]string{}
	for _, e := range c.config.Env {
		name, value, _ := strings.Cut(e, "=")
		all[name] = value
	}
	maps.Copy(all, env)
	list := make([]string, 0, len(all))
	for _, name := range slices.Sorted(maps.Keys(all)) {
		list = append(list, name+"="+all[name])
	}
	return list
}

// explain makes the engine's own error of a command's end.
func (c *communicator) explain(err error) error {
	exit, ok := errors.AsType[*rootfs.ExitError](err)
	if !ok {
		return c.hinted(err)
	}
	out := &builder.ExitError{Code: exit.Code}
	if exit.Signal != 0 {
		out.Signal = rootfs.SignalName(exit.Signal)
	}
	return c.hinted(out)
}

// hinted adds a hint where only one user id is mapped, which may be why.
func (c *communicator) hinted(err error) error {
	if err == nil || !c.oneID {
		return err
	}
	return &oneIDError{err}
}

// A oneIDError is what failed where only one user id is mapped.
type oneIDError struct{ error }

// Unwrap returns the error itself.
func (e *oneIDError) Unwrap() error { return e.error }

// Hint says what to do if that was the reason.
func (e *oneIDError) Hint() string {
	return "this user has a single user id for containers, so steps that change owners or users (chown, apt, useradd) fail; " +
		"install newuidmap and newgidmap (Debian package uidmap) and give the user a range in /etc/subuid and /etc/subgid, or run as root"
}

// Put writes files below dst.
func (c *communicator) Put(ctx context.Context, dst string, files iter.Seq2[builder.File, error]) error {
	return c.hinted(c.box.Put(ctx, dst, tree.Options{KeepLinks: true}, func(fn tree.Func) error {
		for f, err := range files {
			if err != nil {
				return err
			}
			if err := putOne(f, fn); err != nil {
				return err
			}
		}
		return nil
	}))
}

func putOne(f builder.File, fn tree.Func) error {
	e := &tree.Entry{Path: f.Path, Mode: f.Mode, UID: f.UID, GID: f.GID, Size: f.Size, Link: f.Link, Hard: f.Hard,
		Sec: f.ModTime.Unix(), Nsec: int64(f.ModTime.Nanosecond()), Xattrs: f.Xattrs}
	if f.ModTime.IsZero() {
		e.Sec, e.Nsec = time.Now().Unix(), 0
	}
	if !f.Mode.IsRegular() || f.Hard || f.Size == 0 {
		return fn(e, strings.NewReader(""))
	}
	r, err := f.Open()
	if err != nil {
		return fmt.Errorf("%s: %w", f.Path, err)
	}
	defer r.Close()
	return fn(e, r)
}

// errStop ends a stream whose reader has had enough.
var errStop = errors.New("enough")

// Get reads the file or tree at src.
func (c *communicator) Get(ctx context.Context, src string) iter.Seq2[builder.File, error] {
	return func(yield func(builder.File, error) bool) {
		err := c.box.Get(ctx, src, func(e *tree.Entry, r io.Reader) error {
			f := builder.File{Path: e.Path, Mode: e.Mode, UID: e.UID, GID: e.GID, Size: e.Size, Link: e.Link, Hard: e.Hard, ModTime: time.Unix(e.Sec, e.Nsec), Xattrs: e.Xattrs,
				Open: func() (io.ReadCloser, error) { return io.NopCloser(r), nil }}
			if !yield(f, nil) {
				return errStop
			}
			return nil
		})
		if errors.Is(err, errStop) || err == nil {
			return
		}
		if errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("%s: %w", src, builder.ErrNotFound)
		}
		yield(builder.File{}, err)
	}
}

// startMain starts what a container of the image would run.
func (c *communicator) startMain(sc *builder.Scope) {
	argv := slices.Concat(c.config.Entrypoint, c.config.Cmd)
	if len(argv) == 0 {
		return
	}
	ctx, cancel := context.WithCancel(context.Background()) // it runs until Close, whatever becomes of the command beside it
	c.stopMain, c.main = cancel, make(chan struct{})
	go func() {
		defer close(c.main)
		out, errs := sc.Stdout(), sc.Stderr()
		defer out.Close()
		defer errs.Close()
		err := c.box.Run(ctx, rootfs.Process{Argv: argv, Env: c.environ(nil), Dir: c.config.WorkingDir, DirOptional: true, User: c.config.User, Stdout: out, Stderr: errs})
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			sc.Log("the image's program (%s) has ended", argv[0])
		} else {
			sc.Log("the image's program (%s) has ended: %v", argv[0], c.explain(err))
		}
	}()
}

// Close ends every process of the machine.
func (c *communicator) Close() error {
	if c.stopMain != nil {
		c.stopMain()
	}
	err := c.box.Close()
	if c.main != nil {
		<-c.main
	}
	return err
}
