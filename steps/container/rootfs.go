package container

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"bake/builder"
	"bake/internal/imagefile"
	"bake/templates"
)

// Rootfs starts from a tarball of a root filesystem, which becomes the first
// layer: `rootfs: base.tar.gz`.
type Rootfs struct {
	Path     string `yaml:"path" bake:"main,required" doc:"A tar of a root filesystem, plain or compressed with gzip, zstd, bzip2 or xz: a file, or an https address."`
	Checksum string `yaml:"checksum" pattern:"^sha256:[0-9a-f]{64}$" doc:"Digest of the file, sha256:... An address needs it."`
	delegate
}

// rootfsPin is what Open needs to find the tarball again.
type rootfsPin struct {
	Path   string  `json:"path,omitempty"`
	URL    string  `json:"url,omitempty"`
	SHA256 string  `json:"sha256"`           // of the file
	DiffID v1.Hash `json:"diff_id,omitzero"` // of its plain content, if it is known
}

func (s *Rootfs) remote() bool {
	return strings.HasPrefix(s.Path, "https://") || strings.HasPrefix(s.Path, "http://")
}

// Validate wants a checksum for what comes from elsewhere.
func (s *Rootfs) Validate(b templates.Block) templates.Diagnostics {
	switch {
	case b.Unresolved() || !s.remote():
		return nil
	case s.Checksum == "":
		d := b.At("path").Errorf("a tarball from an address needs its checksum")
		d.Hint = "add `checksum: sha256:...`; `sha256sum FILE` prints it"
		return templates.Diagnostics{d}
	}
	if _, err := url.Parse(s.Path); err != nil {
		return templates.Diagnostics{b.At("path").Errorf("%v", err)}
	}
	return nil
}

// Pin hashes the file, or takes the checksum's word for an address.
func (s *Rootfs) Pin(ctx context.Context, env builder.PinEnv) (builder.Pin, error) {
	data := rootfsPin{SHA256: s.Checksum}
	if s.remote() {
		data.URL = s.Path
	} else {
		data.Path = s.Path
		if !filepath.IsAbs(data.Path) {
			data.Path = filepath.Join(env.Dir, data.Path)
		}
		sum, err := s.deps.fileDigest(ctx, data.Path)
		if err != nil {
			return builder.Pin{}, fmt.Errorf("rootfs %s: %w", s.Path, err)
		}
		if s.Checksum != "" && s.Checksum != sum {
			return builder.Pin{}, fmt.Errorf("rootfs %s: its checksum is %s, not %s", s.Path, sum, s.Checksum)
		}
		data.SHA256 = sum
	}
	config, err := json.Marshal(data)
	return builder.Pin{
		Digest: digestOf("rootfs", []any{data.SHA256, env.Platform}), Config: config,
		Values:  map[string]string{"path": s.Path, "digest": data.SHA256, "ref": s.Path + "@" + data.SHA256},
		Summary: s.Path + "@" + data.SHA256,
	}, err
}

// Open makes a machine with the tarball's files.
func (s *Rootfs) Open(ctx context.Context, sc *builder.Scope, from builder.Opening) (builder.Machine, error) {
	var pin rootfsPin
	if err := json.Unmarshal(from.Pin.Config, &pin); err != nil {
		return builder.Machine{}, fmt.Errorf("the plan's rootfs: %w", err)
	}
	base := func(ctx context.Context) (v1.Image, error) {
		img, err := s.content(ctx, sc, pin, from.Platform)
		if err != nil {
			return nil, fmt.Errorf("rootfs %s: %w", s.Path, err)
		}
		return img, nil
	}
	return s.open(ctx, sc, from, base, "")
}

func (s *Rootfs) content(ctx context.Context, sc *builder.Scope, pin rootfsPin, p builder.Platform) (v1.Image, error) {
	path := pin.Path
	if pin.URL != "" {
		var err error
		if path, err = s.deps.download(ctx, sc, pin.URL, pin.SHA256); err != nil {
			return nil, err
		}
	}
	if err := looksLikeTar(ctx, path); err != nil {
		return nil, err
	}
	var diffID v1.Hash
	key := "diff-id " + pin.SHA256
	if !s.deps.memory().recall(key, &diffID) {
		var err error
		if diffID, err = diffIDOf(ctx, path); err != nil {
			return nil, err
		}
		s.deps.memory().remember(key, diffID)
	}
	return newImage(p, &tarLayer{ctx: ctx, path: path, diffID: diffID})
}

func looksLikeTar(ctx context.Context, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	plain, err := imagefile.Decompress(ctx, f)
	if err != nil {
		return err
	}
	defer plain.Close()
	head := make([]byte, 512)
	if _, err := io.ReadFull(plain, head); err != nil || !isTar(head) {
		return errors.New("it is not a tar archive")
	}
	return nil
}

// fileDigest hashes a file, or remembers its digest if the file is the same
// by size, inode and both times.
func (d Deps) fileDigest(ctx context.Context, path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() {
		return "", errors.New("it is not a file")
	}
	key := ""
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		key = fmt.Sprintf("file %s %d %d %d %d %d", path, st.Dev, st.Ino, st.Size, info.ModTime().UnixNano(), changed(st))
	}
	var sum string
	if key != "" && d.memory().recall(key, &sum) {
		return sum, nil
	}
	h, err := hashReader(ctx, f)
	if err != nil {
		return "", err
	}
	// A file that was written just now may change again within one tick of
	// its clock: what is remembered must be older.
	if key != "" && time.Since(info.ModTime()) > 2*time.Second {
		d.memory().remember(key, h.String())
	}
	return h.String(), nil
}

// download fetches a file once and checks it; it is kept under its digest.
func (d Deps) download(ctx context.Context, sc *builder.Scope, from, sum string) (string, error) {
	dir := filepath.Join(d.CacheDir, "downloads")
	if d.CacheDir == "" {
		dir = sc.WorkDir
	}
	path := filepath.Join(dir, strings.ReplaceAll(sum, ":", "-"))
	if exists(path) {
		return path, nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	tmp, err := os.CreateTemp(dir, ".new-*")
	if err != nil {
		return "", err
	}
	defer os.Remove(tmp.Name()) // gone already if all went well
	defer tmp.Close()
	if err := fetch(ctx, sc, from, sum, tmp); err != nil {
		return "", err
	}
	if err := tmp.Close(); err != nil {
		return "", err
	}
	return path, os.Rename(tmp.Name(), path)
}

// fetch downloads into w and goes on after a cut.
func fetch(ctx context.Context, sc *builder.Scope, from, sum string, w *os.File) error {
	const tries = 5
	var err error
	for n := range tries {
		if n > 0 {
			sc.Log("download of %s was cut, going on: %v", from, err)
		}
		if err = fetchRest(ctx, sc, from, w); err == nil || ctx.Err() != nil || permanent(err) {
			break
		}
	}
	if err != nil {
		return err
	}
	if _, err := w.Seek(0, io.SeekStart); err != nil {
		return err
	}
	h, err := hashReader(ctx, w)
	if err == nil && h.String() != sum {
		err = fmt.Errorf("its checksum is %s, not %s", h, sum)
	}
	return err
}

// A statusError is an answer that is no file.
type statusError int

func (e statusError) Error() string { return fmt.Sprintf("the server answers %d", int(e)) }

func permanent(err error) bool {
	var status statusError
	return errors.As(err, &status) && status < 500 && status != http.StatusTooManyRequests && status != http.StatusRequestTimeout
}

func fetchRest(ctx context.Context, sc *builder.Scope, from string, w *os.File) error {
	off, err := w.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
	if err != nil {
		return err
	}
	if off > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", off))
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	switch {
	case resp.StatusCode == http.StatusOK && off > 0:
		if err := w.Truncate(0); err != nil {
			return err
		}
		if off, err = w.Seek(0, io.SeekStart); err != nil {
			return err
		}
	case resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusPartialContent:
		return statusError(resp.StatusCode)
	}
	total := off + max(resp.ContentLength, 0)
	_, err = io.Copy(w, &progressReader{resp.Body, func(n int64) {
		sc.Progress(builder.Progress{ID: from, Verb: "downloading", Done: off + n, Total: total, Unit: "B", Ended: off+n == total})
	}, 0})
	return err
}

type progressReader struct {
	io.Reader
	report func(n int64)
	n      int64
}

func (r *progressReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	r.n += int64(n)
	r.report(r.n)
	return n, err
}
