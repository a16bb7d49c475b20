package imagefile

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
)

// maxEntries is how many files an archive of images may have.
const maxEntries = 100_000

// A tarStore finds the files of an archive by name, without unpacking it.
type tarStore struct {
	file  *os.File
	files map[string]section
	links map[string]string // docker archives link layers that several images share
}

type section struct{ off, size int64 }

// openTar reads the archive's table of contents.
func openTar(ctx context.Context, name string) (*tarStore, error) {
	f, err := seekable(ctx, name)
	if err != nil {
		return nil, err
	}
	context.AfterFunc(ctx, func() { f.Close() })
	s := &tarStore{file: f, files: map[string]section{}, links: map[string]string{}}
	r := tar.NewReader(f)
	for {
		h, err := r.Next()
		if err == io.EOF {
			return s, nil
		}
		if err != nil {
			return nil, fmt.Errorf("it is no tar archive, or a damaged one: %w", err)
		}
		// The tar reader takes no byte more than it needs from a file, so
		// this is where the entry's content begins.
		off, err := f.Seek(0, io.SeekCurrent)
		if err != nil {
			return nil, err
		}
		at := path.Clean(h.Name)
		switch h.Typeflag {
		case tar.TypeReg:
			s.files[at] = section{off, h.Size}
		case tar.TypeSymlink:
			s.links[at] = path.Join(path.Dir(at), h.Linkname)
		case tar.TypeLink:
			s.links[at] = path.Clean(h.Linkname)
		}
		if len(s.files)+len(s.links) > maxEntries {
			return nil, errors.New("it has too many files for an archive of images")
		}
	}
}

func (s *tarStore) open(name string) (io.ReadCloser, int64, error) {
	at := path.Clean(name)
	for range 5 {
		if sec, ok := s.files[at]; ok {
			return io.NopCloser(io.NewSectionReader(s.file, sec.off, sec.size)), sec.size, nil
		}
		to, ok := s.links[at]
		if !ok {
			break
		}
		at = to
	}
	return nil, 0, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
}

// seekable opens a file; a compressed one is first unpacked to a temporary file.
func seekable(ctx context.Context, name string) (*os.File, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	plain, err := Decompress(ctx, f)
	if err != nil {
		f.Close()
		return nil, err
	}
	if plain.Format == "" {
		_, err := f.Seek(0, io.SeekStart)
		return f, err
	}
	defer f.Close()
	defer plain.Close()
	tmp, err := os.CreateTemp("", "bake-image-*")
	if err != nil {
		return nil, err
	}
	os.Remove(tmp.Name()) // it lives as long as it is open
	if _, err = io.Copy(tmp, plain); err == nil {
		_, err = tmp.Seek(0, io.SeekStart)
	}
	if err != nil {
		tmp.Close()
		return nil, err
	}
	return tmp, nil
}
