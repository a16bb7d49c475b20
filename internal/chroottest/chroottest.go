// Package chroottest is a communicator for tests of what changes machines: a
// directory that commands run in with namespaces of their own, through the
// unshare program of util-linux. It needs root and leaves no mount and no
// process behind, whatever happens to the test.
package chroottest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	securejoin "github.com/cyphar/filepath-securejoin"
	"golang.org/x/sys/unix"

	"bake/builder"
	"bake/internal/need"
)

// Machine is a root filesystem with a communicator.
type Machine struct{ Root string }

// Busybox returns a machine that has nothing but busybox: its ash, its tools,
// root's account. It is made in a directory of the test's own.
func Busybox(t testing.TB) *Machine {
	t.Helper()
	need.Root(t)
	need.Tool(t, "unshare")
	m := &Machine{Root: t.TempDir()}
	busybox := need.Tool(t, "busybox")
	run(t, "sh", "-c", `set -e
cd "$1"
mkdir -p bin sbin dev etc proc root tmp usr/bin usr/sbin var
chmod 1777 tmp
cp "$2" bin/busybox
ln -s /bin/env usr/bin/env
echo 'root:x:0:0:root:/root:/bin/sh' >etc/passwd
echo 'root:x:0:' >etc/group
`, "sh", m.Root, busybox)
	list, err := exec.Command(busybox, "--list").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range strings.Fields(string(list)) {
		if err := os.Symlink("busybox", filepath.Join(m.Root, "bin", name)); err != nil && !errors.Is(err, fs.ErrExist) {
			t.Fatal(err)
		}
	}
	m.devices(t)
	return m
}

// Shell makes a shell of this machine the /bin/sh of the other one. Busybox's
// own prefers its built-in tools to programs.
func (m *Machine) Shell(t testing.TB, name string) *Machine {
	t.Helper()
	m.Programs(t, name)
	run(t, "ln", "-sfn", name, filepath.Join(m.Root, "bin/sh"))
	return m
}

// Programs copies programs of this machine, with the libraries they need, over
// those of busybox.
func (m *Machine) Programs(t testing.TB, names ...string) *Machine {
	t.Helper()
	script := `set -e
program=$(readlink -f "$(command -v "$2")")
for f in $(ldd "$program" | grep -o '/[^ ]*'); do mkdir -p "$1$(dirname "$f")"; cp -L "$f" "$1$f"; done
rm -f "$1/bin/$2"
cp "$program" "$1/bin/$2"
`
	for _, name := range names {
		need.Tool(t, name)
		run(t, "sh", "-c", script, "sh", m.Root, name)
	}
	return m
}

// Debian bootstraps a machine with a minimal Debian that has apt.
func Debian(t testing.TB) *Machine {
	t.Helper()
	need.Root(t)
	for _, tool := range []string{"unshare", "mmdebstrap"} {
		need.Tool(t, tool)
	}
	m := &Machine{Root: filepath.Join(t.TempDir(), "root")}
	out, err := exec.Command("mmdebstrap", "--quiet", "--variant=apt", "--mode=root", "--format=directory", "bookworm", m.Root).CombinedOutput()
	if err != nil {
		need.Missing(t, "no Debian to be had: %v\n%s", err, out)
	}
	run(t, "sh", "-c", `rm -rf "$1"/dev/*`, "sh", m.Root)
	// apt of mmdebstrap leaves lists, images have none.
	run(t, "sh", "-c", `rm -rf "$1"/var/lib/apt/lists/* "$1"/var/log/dpkg.log "$1"/var/log/apt/* "$1"/var/log/alternatives.log`, "sh", m.Root)
	// The container's own resolver settings are the caller's.
	for _, name := range []string{"/etc/resolv.conf", "/etc/hosts"} {
		content, err := os.ReadFile(name)
		if err == nil {
			err = os.WriteFile(filepath.Join(m.Root, name), content, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	m.devices(t)
	return m
}

func (m *Machine) devices(t testing.TB) {
	t.Helper()
	script := `set -e
cd "$1/dev"
mknod -m 666 null c 1 3; mknod -m 666 zero c 1 5; mknod -m 666 random c 1 8; mknod -m 666 urandom c 1 9; mknod -m 666 tty c 5 0
ln -s /proc/self/fd fd; ln -s fd/0 stdin; ln -s fd/1 stdout; ln -s fd/2 stderr
`
	run(t, "sh", "-c", script, "sh", m.Root)
}

func run(t testing.TB, argv ...string) {
	t.Helper()
	if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", argv[0], err, out)
	}
}

// Connection tells ansible how to work on the machine.
func (m *Machine) Connection() (plugin, host string, vars map[string]string) {
	return "chroot", m.Root, nil
}

// Close does nothing: the test removes the directory.
func (m *Machine) Close() error { return nil }

// Run runs a command in the machine, in PID, mount, IPC and UTS namespaces of its own.
func (m *Machine) Run(ctx context.Context, c builder.Command) error {
	uid, gid, err := m.user(c.User)
	if err != nil {
		return err
	}
	argv, extra, done, err := command(c)
	if err != nil {
		return err
	}
	defer done()
	for _, f := range extra {
		// Opening /dev/fd/3 asks for permission on the pipe, as on a file.
		if err := f.Chown(uid, gid); err != nil {
			return err
		}
	}
	args := []string{"--mount", "--pid", "--ipc", "--uts", "--fork", "--kill-child", "--root=" + m.Root, "--mount-proc"}
	if uid != 0 || gid != 0 {
		args = append(args, "--setuid="+strconv.Itoa(uid), "--setgid="+strconv.Itoa(gid))
	}
	if c.Dir != "" {
		args = append(args, "--wd="+c.Dir)
	} else {
		args = append(args, "--wd=/")
	}
	// A shell between unshare and the command takes PID 1, which ignores signals.
	args = append(args, "--", "/bin/sh", "-c", `"$@" & wait $!`, "sh")
	if c.Stdin != nil {
		args[len(args)-2] = `exec 4<&0; "$@" <&4 4<&- & exec 4<&-; wait $!`
	}
	cmd := exec.CommandContext(ctx, "unshare", append(args, argv...)...)
	cmd.Env = environment(c.Env)
	cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = c.Stdin, c.Stdout, c.Stderr, extra
	cmd.WaitDelay = 5 * time.Second
	err = cmd.Run()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return asExitError(exit.ExitCode())
	}
	return err
}

func asExitError(code int) error {
	e := &builder.ExitError{Code: code}
	if code > 128 {
		e.Signal = strings.TrimPrefix(unix.SignalName(syscall.Signal(code-128)), "SIG")
	}
	return e
}

// command returns what to start, the file with the script for descriptor 3,
// and what to call when it has ended.
func command(c builder.Command) (argv []string, extra []*os.File, done func(), err error) {
	if len(c.Argv) > 0 {
		return c.Argv, nil, func() {}, nil
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, nil, nil, err
	}
	written := make(chan struct{})
	go func() {
		defer close(written)
		io.WriteString(w, c.Script)
		w.Close()
	}()
	argv = c.Shell
	if len(argv) == 0 {
		argv = []string{"/bin/sh", "-e"}
	}
	return append(slices.Clone(argv), "/dev/fd/3"), []*os.File{r}, func() { r.Close(); <-written }, nil
}

func environment(env map[string]string) []string {
	list := []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root"}
	for _, k := range slices.Sorted(maps.Keys(env)) {
		list = append(list, k+"="+env[k])
	}
	return list
}

func (m *Machine) user(name string) (uid, gid int, err error) {
	if name == "" {
		return 0, 0, nil
	}
	name, group, _ := strings.Cut(name, ":")
	if uid, err = strconv.Atoi(name); err == nil {
		gid = uid
	} else if uid, gid, err = m.look("etc/passwd", name); err != nil {
		return 0, 0, err
	}
	if group != "" {
		if gid, err = strconv.Atoi(group); err != nil {
			gid, _, err = m.look("etc/group", group)
		}
	}
	return uid, gid, err
}

func (m *Machine) look(file, name string) (id, next int, err error) {
	content, err := os.ReadFile(filepath.Join(m.Root, file))
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(string(content)) {
		f := strings.Split(strings.TrimSpace(line), ":")
		if f[0] == name && len(f) > 3 {
			id, err = strconv.Atoi(f[2])
			next, _ = strconv.Atoi(f[3])
			return id, next, err
		}
	}
	return 0, 0, fmt.Errorf("%s: not in %s", name, file)
}

// place returns where a path of the machine is here: links in all but its last
// part are followed, inside the root.
func (m *Machine) place(name string) (string, error) {
	name = path.Clean("/" + name)
	dir, err := securejoin.SecureJoin(m.Root, path.Dir(name))
	return filepath.Join(dir, path.Base(name)), err
}

// Put writes files below dst.
func (m *Machine) Put(ctx context.Context, dst string, files iter.Seq2[builder.File, error]) error {
	times := map[string]time.Time{} // of directories, set when nothing more comes into them
	for f, err := range files {
		if err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if !filepath.IsLocal(f.Path) {
			return fmt.Errorf("%q: leads out of %s", f.Path, dst)
		}
		dir, err := securejoin.SecureJoin(m.Root, path.Dir(path.Join(dst, f.Path)))
		if err != nil {
			return err
		}
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		at := filepath.Join(dir, path.Base(f.Path))
		if f.Hard {
			err = m.hardLink(path.Join(dst, f.Link), at)
		} else {
			err = put(at, f)
		}
		if err != nil {
			return err
		}
		if f.Mode.IsDir() {
			times[at] = f.ModTime
		}
	}
	for at, when := range times {
		if err := os.Chtimes(at, when, when); err != nil {
			return err
		}
	}
	return nil
}

func (m *Machine) hardLink(target, at string) error {
	from, err := m.place(target)
	if err != nil {
		return err
	}
	if err := os.Remove(at); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.Link(from, at)
}

func put(at string, f builder.File) error {
	have, err := os.Lstat(at)
	if err == nil && !(have.IsDir() && f.Mode.IsDir()) {
		if err := os.Remove(at); err != nil {
			return err
		}
	}
	switch {
	case f.Mode.IsDir():
		err = os.MkdirAll(at, 0o755)
	case f.Mode&fs.ModeSymlink != 0:
		return errors.Join(os.Symlink(f.Link, at), os.Lchown(at, f.UID, f.GID))
	default:
		err = putContent(at, f)
	}
	if err != nil {
		return err
	}
	return errors.Join(os.Chown(at, f.UID, f.GID), os.Chmod(at, f.Mode), os.Chtimes(at, f.ModTime, f.ModTime))
}

func putContent(at string, f builder.File) error {
	r, err := f.Open()
	if err != nil {
		return err
	}
	defer r.Close()
	w, err := os.OpenFile(at, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	n, err := io.Copy(w, r)
	if err == nil && n != f.Size {
		err = fmt.Errorf("%s: %d bytes, not the %d it was to have", f.Path, n, f.Size)
	}
	return errors.Join(err, w.Close())
}

// Get reads the file or tree at src.
func (m *Machine) Get(ctx context.Context, src string) iter.Seq2[builder.File, error] {
	return func(yield func(builder.File, error) bool) {
		at, err := m.place(src)
		if err != nil {
			yield(builder.File{}, err)
			return
		}
		stop := errors.New("stop")
		err = filepath.WalkDir(at, func(name string, _ fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			f, err := describe(at, name)
			if err == nil && !yield(f, ctx.Err()) {
				err = stop
			}
			return err
		})
		switch {
		case err == nil || err == stop:
		case errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR):
			yield(builder.File{}, builder.ErrNotFound)
		default:
			yield(builder.File{}, err)
		}
	}
}

func describe(top, name string) (builder.File, error) {
	info, err := os.Lstat(name)
	if err != nil {
		return builder.File{}, err
	}
	sys := info.Sys().(*syscall.Stat_t)
	rel, err := filepath.Rel(filepath.Dir(top), name)
	f := builder.File{Path: rel, Mode: info.Mode(), UID: int(sys.Uid), GID: int(sys.Gid), ModTime: info.ModTime()}
	switch {
	case info.Mode().IsRegular():
		f.Size = info.Size()
		f.Open = func() (io.ReadCloser, error) { return os.Open(name) }
	case info.Mode()&fs.ModeSymlink != 0:
		f.Link, err = os.Readlink(name)
	}
	return f, err
}
