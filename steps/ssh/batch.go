package ssh

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"bake/builder"
)

// A batch is a tar stream in memory.
type batch struct {
	buf *bytes.Buffer
	w   *tar.Writer
}

// newBatch returns an empty batch that uses buf's memory.
func newBatch(buf *bytes.Buffer) *batch {
	buf.Reset()
	return &batch{buf: buf, w: tar.NewWriter(buf)}
}

func (b *batch) size() int { return b.buf.Len() }

// add appends a file with its content.
func (b *batch) add(f builder.File, facts Facts) error {
	h, err := header(f, facts)
	if err != nil {
		return err
	}
	var content io.ReadCloser
	if h.Typeflag == tar.TypeReg && f.Size > 0 {
		if content, err = f.Open(); err != nil {
			return fmt.Errorf("reading %s: %w", f.Path, err)
		}
		defer content.Close()
	}
	if err := b.w.WriteHeader(h); err != nil {
		return fmt.Errorf("putting %s: %w", f.Path, err)
	}
	if content == nil {
		return nil
	}
	if n, err := io.Copy(b.w, io.LimitReader(content, f.Size)); err != nil {
		return fmt.Errorf("reading %s: %w", f.Path, err)
	} else if n < f.Size {
		return fmt.Errorf("reading %s: it has %d bytes instead of %d: %w", f.Path, n, f.Size, io.ErrUnexpectedEOF)
	}
	return nil
}

func (b *batch) end() (*bytes.Buffer, error) {
	return b.buf, b.w.Close()
}

// header describes f to tar. The format is GNU's, which all read and which
// knows long names; extended attributes need the one of POSIX.
func header(f builder.File, facts Facts) (*tar.Header, error) {
	h := &tar.Header{Name: f.Path, Mode: permissions(f.Mode), Uid: f.UID, Gid: f.GID, ModTime: f.ModTime.Truncate(time.Second), Format: tar.FormatGNU}
	switch {
	case f.Hard:
		h.Typeflag, h.Linkname = tar.TypeLink, f.Link
	case f.Mode.IsRegular():
		h.Typeflag, h.Size = tar.TypeReg, f.Size
	case f.Mode.IsDir():
		h.Typeflag, h.Name = tar.TypeDir, f.Path+"/"
	case f.Mode&fs.ModeSymlink != 0:
		h.Typeflag, h.Linkname = tar.TypeSymlink, f.Link
	case f.Mode&fs.ModeNamedPipe != 0:
		h.Typeflag = tar.TypeFifo
	default:
		return nil, fmt.Errorf("putting %s: a %v cannot be put", f.Path, f.Mode.Type())
	}
	if len(f.Xattrs) == 0 || f.Hard {
		return h, nil
	}
	if facts.tar == "busybox" {
		return nil, errors.New("putting " + f.Path + ": the machine's tar does not know extended attributes")
	}
	h.Format, h.PAXRecords = tar.FormatPAX, map[string]string{}
	for k, v := range f.Xattrs {
		h.PAXRecords["SCHILY.xattr."+k] = v
	}
	return h, nil
}
