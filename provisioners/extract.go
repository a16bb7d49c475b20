package provisioners

import (
	"archive/tar"
	"archive/zip"
	"bufio"
	"bytes"
	"compress/bzip2"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"

	"bake/builder"
)

// An archive is a download whose content is put below a directory. Owners in it
// do not count. One whose names lead out of it, or that holds device files, is refused.
type archive struct {
	file  string // on this machine
	strip int
	url   string
}

// extract puts what is in the archive on the machine. It is read once to see
// what is in it and, if the machine lacks any of that, once more.
func (f *Fetch) extract(ctx context.Context, sc *builder.Scope, comm builder.Communicator, local string) (builder.Outcome, error) {
	a := &archive{file: local, strip: f.Strip, url: f.URL}
	uid, gid, err := f.Owner.ids(ctx, comm)
	if err != nil {
		return builder.Outcome{}, err
	}
	t, hard, err := a.list(ctx, path.Clean(f.To), uid, gid)
	if err != nil {
		return builder.Outcome{}, err
	}
	missing, err := t.missing(ctx, comm)
	if err != nil || len(missing) == 0 {
		return builder.Outcome{Unchanged: err == nil}, err
	}
	if hard {
		missing = t.entries // a link may be to a file that is there
	}
	wanted := make(map[string]bool, len(missing))
	var size int64
	for _, m := range missing {
		wanted[m.Path] = true
		size += m.Size
	}
	some := func(yield func(builder.File, error) bool) {
		for file, err := range a.entries() {
			file.UID, file.GID = uid, gid
			if (err != nil || wanted[file.Path]) && !yield(file, err) {
				return
			}
		}
	}
	if err := comm.Put(ctx, t.dir, some); err != nil {
		return builder.Outcome{}, fmt.Errorf("extracting %s: %w", f.URL, err)
	}
	return builder.Outcome{Note: fmt.Sprintf("%d of %d entries, %s", len(missing), len(t.entries), byteCount(size))}, nil
}

// list reads the archive to the end and returns what it holds, with checksums,
// and whether there are hard links among it.
func (a *archive) list(ctx context.Context, to string, uid, gid int) (t *tree, hard bool, err error) {
	var sums []string
	index := map[string]int{}
	t = &tree{dir: to, sum: func(i int) string { return sums[i] }}
	for file, err := range a.entries() {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return nil, false, fmt.Errorf("extracting %s: %w", a.url, err)
		}
		sum := ""
		switch {
		case file.Hard:
			hard = true
			if i, ok := index[file.Link]; ok {
				file.Size, file.Mode, sum = t.entries[i].Size, t.entries[i].Mode, sums[i]
			}
		case file.Mode.IsRegular():
			if sum, err = sumOf(file); err != nil {
				return nil, false, fmt.Errorf("extracting %s: %s: %w", a.url, file.Path, err)
			}
		}
		file.UID, file.GID = uid, gid
		index[file.Path] = len(t.entries)
		t.entries, sums = append(t.entries, file), append(sums, sum)
	}
	if len(t.entries) == 0 {
		return nil, false, fmt.Errorf("extracting %s: nothing is in it below %d directories", a.url, a.strip)
	}
	return t, hard, nil
}

// entries yields what is in the archive, told by its first bytes.
func (a *archive) entries() iter.Seq2[builder.File, error] {
	return func(yield func(builder.File, error) bool) {
		r, err := os.Open(a.file)
		if err != nil {
			yield(builder.File{}, err)
			return
		}
		defer r.Close()
		buffered := bufio.NewReaderSize(r, 1<<16)
		head, _ := buffered.Peek(6) // a shorter file is none of these
		if bytes.HasPrefix(head, []byte("PK\x03\x04")) {
			a.zipEntries(r, yield)
			return
		}
		plain, done, err := decompress(head, buffered)
		if err != nil {
			yield(builder.File{}, err)
			return
		}
		defer done()
		a.tarEntries(tar.NewReader(plain), yield)
	}
}

// decompress returns the content of a stream that begins with head.
func decompress(head []byte, r io.Reader) (io.Reader, func(), error) {
	nothing := func() {}
	switch {
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		z, err := gzip.NewReader(r)
		return z, nothing, err
	case bytes.HasPrefix(head, []byte("BZh")):
		return bzip2.NewReader(r), nothing, nil
	case bytes.HasPrefix(head, []byte("\xfd7zXZ\x00")):
		z, err := xz.NewReader(r)
		return z, nothing, err
	case bytes.HasPrefix(head, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		z, err := zstd.NewReader(r)
		if err != nil {
			return nil, nil, err
		}
		return z, z.Close, nil
	}
	return r, nothing, nil
}

func (a *archive) tarEntries(tr *tar.Reader, yield func(builder.File, error) bool) {
	for {
		h, err := tr.Next()
		if err == io.EOF {
			return
		}
		if err != nil {
			yield(builder.File{}, fmt.Errorf("reading the archive: %w", err))
			return
		}
		file := builder.File{Mode: h.FileInfo().Mode(), Size: h.Size, ModTime: now()}
		switch h.Typeflag {
		case tar.TypeReg:
			file.Open = func() (io.ReadCloser, error) { return io.NopCloser(tr), nil }
		case tar.TypeDir:
		case tar.TypeSymlink:
			file.Link, file.Size = h.Linkname, 0
		case tar.TypeLink:
			file.Hard, file.Size, file.Mode = true, 0, file.Mode&^fs.ModeType
			link, ok, err := a.name(h.Linkname)
			if err != nil || !ok {
				yield(builder.File{}, errors.Join(err, fmt.Errorf("%s: a hard link to nothing that is extracted", h.Name)))
				return
			}
			file.Link = link
		case tar.TypeXGlobalHeader:
			continue
		default:
			yield(builder.File{}, fmt.Errorf("%s: neither a file nor a directory nor a link", h.Name))
			return
		}
		if !a.yieldNamed(file, h.Name, yield) {
			return
		}
	}
}

func (a *archive) zipEntries(r *os.File, yield func(builder.File, error) bool) {
	info, err := r.Stat()
	if err != nil {
		yield(builder.File{}, err)
		return
	}
	zr, err := zip.NewReader(r, info.Size())
	if err != nil {
		yield(builder.File{}, fmt.Errorf("reading the archive: %w", err))
		return
	}
	for _, entry := range zr.File {
		file := builder.File{Mode: entry.Mode(), Size: int64(entry.UncompressedSize64), ModTime: now()}
		switch {
		case file.Mode.IsRegular():
			file.Open = entry.Open
		case file.Mode&fs.ModeSymlink != 0:
			if file.Link, err = zipLink(entry); err != nil {
				yield(builder.File{}, err)
				return
			}
			file.Size = 0
		case !file.Mode.IsDir():
			yield(builder.File{}, fmt.Errorf("%s: neither a file nor a directory nor a link", entry.Name))
			return
		}
		if !a.yieldNamed(file, entry.Name, yield) {
			return
		}
	}
}

func zipLink(entry *zip.File) (string, error) {
	r, err := entry.Open()
	if err != nil {
		return "", err
	}
	defer r.Close()
	target, err := io.ReadAll(io.LimitReader(r, 4096))
	return string(target), err
}

// yieldNamed yields an entry unless stripping leaves nothing of its name.
func (a *archive) yieldNamed(file builder.File, name string, yield func(builder.File, error) bool) bool {
	name, ok, err := a.name(name)
	if err != nil {
		yield(builder.File{}, err)
		return false
	}
	if !ok {
		return true
	}
	file.Path = name
	return yield(file, nil)
}

// name is where an entry of the archive goes below To; false if it is stripped away.
func (a *archive) name(name string) (string, bool, error) {
	clean := path.Clean(strings.ReplaceAll(name, `\`, "/"))
	if clean == "." {
		return "", false, nil
	}
	if !filepath.IsLocal(clean) {
		return "", false, fmt.Errorf("%q in the archive leads out of it", name)
	}
	parts := strings.Split(clean, "/")
	if len(parts) <= a.strip {
		return "", false, nil
	}
	return path.Join(parts[a.strip:]...), true, nil
}
