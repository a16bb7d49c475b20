package provisioners

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"path"
	"strings"
	"time"

	"bake/builder"
	"bake/templates"
)

// maxText is the most that is read of a file that is edited or looked up on
// the machine. 32 MiB: such files are written by hand.
const maxText = 32 << 20

// A text is a file of the machine that was read whole.
type text struct {
	builder.File
	path    string // where it is, links followed
	content []byte
}

// stat returns what is at path on the machine, links not followed.
// builder.ErrNotFound says that nothing is.
func stat(ctx context.Context, comm builder.Communicator, path string) (builder.File, error) {
	for f, err := range comm.Get(ctx, path) {
		if err != nil {
			return f, fmt.Errorf("%s: %w", path, err)
		}
		f.Open = nil
		return f, nil
	}
	return builder.File{}, fmt.Errorf("%s: %w", path, builder.ErrNotFound)
}

// readFile reads a regular file of the machine and follows links to it. The
// error is builder.ErrNotFound if there is none.
func readFile(ctx context.Context, comm builder.Communicator, name string) (text, error) {
	for range 40 {
		t, link, err := readOnce(ctx, comm, name)
		if err != nil {
			return text{}, fmt.Errorf("%s: %w", name, err)
		}
		if link == "" {
			return t, nil
		}
		if !path.IsAbs(link) {
			link = path.Join(path.Dir(name), link)
		}
		name = path.Clean(link)
	}
	return text{}, fmt.Errorf("%s: too many links", name)
}

func readOnce(ctx context.Context, comm builder.Communicator, name string) (t text, link string, err error) {
	for f, err := range comm.Get(ctx, name) {
		switch {
		case err != nil:
			return t, "", err
		case f.Mode&fs.ModeSymlink != 0:
			return t, f.Link, nil
		case !f.Mode.IsRegular():
			return t, "", errors.New("not a regular file")
		case f.Size > maxText:
			return t, "", fmt.Errorf("%d bytes are too many to edit", f.Size)
		}
		r, err := f.Open()
		if err != nil {
			return t, "", err
		}
		content, err := io.ReadAll(io.LimitReader(r, maxText))
		return text{File: f, path: name, content: content}, "", errors.Join(err, r.Close())
	}
	return t, "", builder.ErrNotFound
}

// withContent returns the file with other content, for Put into its directory.
func (t text) withContent(content []byte) builder.File {
	f := t.File
	f.Path, f.Size, f.ModTime, f.Open = path.Base(t.path), int64(len(content)), now(), opener(content)
	return f
}

// A newFile is a regular file as it is to be on the machine.
type newFile struct {
	path  string // absolute
	owner Owner
	mode  fs.FileMode
	size  int64
	open  func() (io.ReadCloser, error)
}

// ensure writes the file unless it is there already with the same content,
// owner and mode. A link in its place is replaced, a directory is an error.
func (n newFile) ensure(ctx context.Context, comm builder.Communicator) (builder.Outcome, error) {
	uid, gid, err := n.owner.ids(ctx, comm)
	if err != nil {
		return builder.Outcome{}, err
	}
	want := builder.File{Path: path.Base(n.path), Mode: n.mode, UID: uid, GID: gid, Size: n.size, ModTime: now(), Open: n.open}
	same, err := isThere(ctx, comm, n.path, want)
	if err != nil {
		return builder.Outcome{}, err
	}
	if same {
		return builder.Outcome{Unchanged: true}, nil
	}
	if err := comm.Put(ctx, path.Dir(n.path), files(want)); err != nil {
		return builder.Outcome{}, fmt.Errorf("writing %s: %w", n.path, err)
	}
	return builder.Outcome{Note: fmt.Sprintf("%s, %s", n.path, byteCount(n.size))}, nil
}

// isThere reports whether the machine has the regular file already.
func isThere(ctx context.Context, comm builder.Communicator, at string, want builder.File) (bool, error) {
	for f, err := range comm.Get(ctx, at) {
		switch {
		case errors.Is(err, builder.ErrNotFound):
			return false, nil
		case err != nil:
			return false, fmt.Errorf("%s: %w", at, err)
		case f.Mode.IsDir():
			return false, &DirectoryError{Path: at}
		case f.Mode != want.Mode || f.UID != want.UID || f.GID != want.GID || f.Size != want.Size:
			return false, nil
		}
		return sameContent(f.Open, want.Open)
	}
	return false, nil
}

// A DirectoryError is a directory where a file is to be.
type DirectoryError struct{ Path string }

func (e *DirectoryError) Error() string { return e.Path + ": is a directory on the machine" }

// Hint tells what to do about it.
func (e *DirectoryError) Hint() string {
	return fmt.Sprintf("to put the file into it, write `to: %s/`", strings.TrimSuffix(e.Path, "/"))
}

func sameContent(a, b func() (io.ReadCloser, error)) (bool, error) {
	ra, err := a()
	if err != nil {
		return false, err
	}
	defer ra.Close()
	rb, err := b()
	if err != nil {
		return false, err
	}
	defer rb.Close()
	bufA, bufB := make([]byte, 64<<10), make([]byte, 64<<10)
	for {
		na, errA := io.ReadFull(ra, bufA)
		nb, errB := io.ReadFull(rb, bufB)
		if !bytes.Equal(bufA[:na], bufB[:nb]) {
			return false, nil
		}
		if endA, endB := atEnd(errA), atEnd(errB); endA || endB {
			return endA && endB, nil
		}
		if err := errors.Join(errA, errB); err != nil {
			return false, err
		}
	}
}

func atEnd(err error) bool { return err == io.EOF || err == io.ErrUnexpectedEOF }

// files is what Put takes, of a few entries.
func files(fs ...builder.File) iter.Seq2[builder.File, error] {
	return func(yield func(builder.File, error) bool) {
		for _, f := range fs {
			if !yield(f, nil) {
				return
			}
		}
	}
}

func opener(content []byte) func() (io.ReadCloser, error) {
	return func() (io.ReadCloser, error) { return memory{bytes.NewReader(content)}, nil }
}

// memory is content in memory; it keeps io.ReaderAt.
type memory struct{ *bytes.Reader }

func (memory) Close() error { return nil }

// now is the time that files get on a machine: when the step ran, like
// everything else a step makes. Freeze sets all of it to the time of the image.
// Times of local files are not carried over, for no two checkouts agree on them.
func now() time.Time { return time.Now().Truncate(time.Second) }

// fileMode turns the bits of chmod into Go's; zero into what is to be instead.
func fileMode(m templates.Mode, instead fs.FileMode) fs.FileMode {
	if m == 0 {
		return instead
	}
	mode := fs.FileMode(m) & fs.ModePerm
	for bit, set := range map[templates.Mode]fs.FileMode{0o4000: fs.ModeSetuid, 0o2000: fs.ModeSetgid, 0o1000: fs.ModeSticky} {
		if m&bit != 0 {
			mode |= set
		}
	}
	return mode
}

// byteCount writes a size for people, in powers of 1000.
func byteCount(n int64) string {
	const units = "kMGTPE"
	if n < 1000 {
		return fmt.Sprintf("%d B", n)
	}
	value, unit := float64(n)/1000, 0
	for value >= 999.5 && unit < len(units)-1 {
		value, unit = value/1000, unit+1
	}
	return fmt.Sprintf("%.3g %cB", value, units[unit])
}

// absolute checks that a key holds a place on the machine. An empty value is
// one that is not known yet, or missing, which Decode has told already.
func absolute(b templates.Block, key, value string) templates.Diagnostics {
	if value == "" || path.IsAbs(value) {
		return nil
	}
	d := b.At(key).Errorf("%s must be an absolute path on the machine, not %q", key, value)
	d.Hint = fmt.Sprintf("write /%s if the root directory is meant", strings.TrimPrefix(value, "./"))
	return templates.Diagnostics{d}
}

// absoluteFile is absolute for keys that name a file and not a directory.
func absoluteFile(b templates.Block, key, value string) templates.Diagnostics {
	if ds := absolute(b, key, value); ds != nil || !strings.HasSuffix(value, "/") {
		return ds
	}
	return templates.Diagnostics{b.At(key).Errorf("%s must name the file itself, not the directory %s", key, value)}
}

// inMemory reads a file that Get yielded, so that it outlives the walk.
func inMemory(f builder.File) (builder.File, error) {
	if !f.Mode.IsRegular() {
		return f, nil
	}
	r, err := f.Open()
	if err != nil {
		return f, err
	}
	content, err := io.ReadAll(io.LimitReader(r, maxText))
	f.Size, f.Open = int64(len(content)), opener(content)
	return f, errors.Join(err, r.Close())
}
