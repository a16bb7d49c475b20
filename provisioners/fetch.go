package provisioners

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"bake/builder"
	"bake/templates"
)

// Fetch downloads a file on this machine and puts it, or what is in it, on the
// other one. With a checksum it is downloaded once and kept in this user's
// cache; without one bake cannot tell whether it has changed.
type Fetch struct {
	URL     string            `yaml:"url" bake:"required" doc:"What to download: https, or http with a checksum."`
	To      string            `yaml:"to" bake:"required" doc:"The file on the machine; a directory if it ends in a slash, or with extract."`
	SHA256  string            `yaml:"sha256" pattern:"^(sha256:)?[0-9a-fA-F]{64}$" doc:"What the download must hash to."`
	Mode    templates.Mode    `yaml:"mode" doc:"Mode of the file. Default: 0644."`
	Owner   Owner             `yaml:"owner" doc:"Whom the files belong to: name or number, with :group if it is another. Default: root."`
	Extract bool              `yaml:"extract" doc:"Put what is in the archive into the directory: tar (gzip, bzip2, xz, zstd) or zip."`
	Strip   int               `yaml:"strip" min:"0" doc:"How many directories to take off the front of each name in the archive."`
	Headers map[string]string `yaml:"headers" doc:"HTTP headers, for instance Authorization. They go to the URL's own host alone."`
}

// Validate checks what the tags cannot say.
func (f *Fetch) Validate(b templates.Block) templates.Diagnostics {
	ds := absolute(b, "to", f.To)
	u, err := url.Parse(f.URL)
	switch {
	case f.URL == "":
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		ds = append(ds, b.At("url").Errorf("not a URL to download from: %q", f.URL))
	case u.Scheme == "http" && f.SHA256 == "" && !b.At("sha256").Unresolved():
		d := b.At("url").Errorf("http without sha256: anybody on the way could change the file")
		d.Hint = "use https, or give the checksum"
		ds = append(ds, d)
	}
	if f.Strip > 0 && !f.Extract && !b.At("extract").Unresolved() {
		ds = append(ds, b.At("strip").Errorf("strip is for archives: it needs extract: true"))
	}
	if f.Extract && f.Mode != 0 {
		ds = append(ds, b.At("mode").Errorf("the files of an archive have their own modes"))
	}
	return ds
}

// A ChecksumError is a download that is not what the template says.
type ChecksumError struct{ URL, Want, Got string }

func (e *ChecksumError) Error() string {
	return fmt.Sprintf("%s: sha256 is %s, not %s", e.URL, e.Got, e.Want)
}

// Hint tells what to do about it.
func (e *ChecksumError) Hint() string {
	return "compare with what its maker publishes before you change the template"
}

// Provision downloads the file, unless this user has it already, and puts it
// on the machine, unless it is there.
func (f *Fetch) Provision(ctx context.Context, sc *builder.Scope, comm builder.Communicator) (builder.Outcome, error) {
	local, temporary, err := f.local(ctx, sc)
	if err != nil {
		return builder.Outcome{}, err
	}
	if temporary {
		defer os.Remove(local)
	}
	if f.Extract {
		return f.extract(ctx, sc, comm, local)
	}
	info, err := os.Stat(local)
	if err != nil {
		return builder.Outcome{}, err
	}
	to := f.To
	if strings.HasSuffix(to, "/") {
		u, err := url.Parse(f.URL)
		if err != nil {
			return builder.Outcome{}, err
		}
		to = path.Join(to, path.Base(u.Path))
	}
	n := newFile{path: to, owner: f.Owner, mode: fileMode(f.Mode, 0o644), size: info.Size(),
		open: func() (io.ReadCloser, error) { return os.Open(local) }}
	return n.ensure(ctx, comm)
}

// downloads is the directory that keeps what fetch has downloaded, by checksum;
// empty if nothing is kept.
func downloads(sc *builder.Scope) string {
	if sc.CacheDir == "" {
		return ""
	}
	return filepath.Join(sc.CacheDir, "downloads")
}

// local returns the download as a file of this machine, and whether it is only
// for this step.
func (f *Fetch) local(ctx context.Context, sc *builder.Scope) (name string, temporary bool, err error) {
	want := strings.ToLower(strings.TrimPrefix(f.SHA256, "sha256:"))
	cache := downloads(sc)
	if want == "" {
		cache = "" // no name to keep it by
	}
	if cache != "" {
		if hasContent(filepath.Join(cache, want), want) {
			now := time.Now()
			_ = os.Chtimes(filepath.Join(cache, want), now, now) // the least recently used goes first
			return filepath.Join(cache, want), false, nil
		}
	}
	dir := sc.WorkDir
	if cache != "" {
		if dir = cache; os.MkdirAll(cache, 0o700) != nil {
			dir, cache = sc.WorkDir, ""
		}
	}
	tmp := filepath.Join(dir, "fetch-"+strings.ToLower(rand.Text()))
	sum, err := f.download(ctx, sc, tmp)
	if err == nil && want != "" && sum != want {
		err = &ChecksumError{URL: f.URL, Want: want, Got: sum}
	}
	if err != nil {
		return "", false, errors.Join(err, ignoreMissing(os.Remove(tmp)))
	}
	if want == "" {
		sc.Log("%s: no sha256 is given, so a change of the file goes unnoticed; it is sha256: %s", f.URL, sum)
	}
	if cache == "" {
		return tmp, true, nil
	}
	return filepath.Join(cache, want), false, os.Rename(tmp, filepath.Join(cache, want))
}

func ignoreMissing(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

func hasContent(name, sum string) bool {
	r, err := os.Open(name)
	if err != nil {
		return false
	}
	defer r.Close()
	h := sha256.New()
	_, err = io.Copy(h, r)
	return err == nil && hex.EncodeToString(h.Sum(nil)) == sum
}

// tries is how often a download is begun; between two the pause doubles from one second.
const tries = 4

// download writes the file to name, trying again when the network or the
// server fails, and returns its sha256 in hex.
func (f *Fetch) download(ctx context.Context, sc *builder.Scope, name string) (string, error) {
	pause := time.Second
	for try := 1; ; try++ {
		sum, err := f.downloadOnce(ctx, sc, name)
		status, answered := errors.AsType[*statusError](err)
		if err == nil || ctx.Err() != nil || answered && !status.passing() || try == tries {
			return sum, err
		}
		sc.Log("downloading %s: %v; trying again in %v", f.URL, err, pause)
		if err := sleep(ctx, pause); err != nil {
			return "", err
		}
		pause *= 2
	}
}

type statusError struct {
	url    string
	status string
	code   int
}

func (e *statusError) Error() string { return fmt.Sprintf("downloading %s: %s", e.url, e.status) }

// passing reports whether it is worth trying again.
func (e *statusError) passing() bool {
	return e.code >= 500 || e.code == http.StatusTooManyRequests || e.code == http.StatusRequestTimeout
}

func (f *Fetch) downloadOnce(ctx context.Context, sc *builder.Scope, name string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, f.URL, nil)
	if err != nil {
		return "", err
	}
	for k, v := range f.Headers {
		req.Header.Set(k, v)
	}
	req.Header.Set("Accept-Encoding", "identity") // the checksum is of the file as it is stored
	client := &http.Client{CheckRedirect: f.redirect}
	resp, err := client.Do(req)
	if err != nil {
		return "", fmt.Errorf("downloading: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return "", &statusError{f.URL, resp.Status, resp.StatusCode}
	}
	w, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return "", err
	}
	defer w.Close()
	h := sha256.New()
	p := &counter{sc: sc, progress: builder.Progress{ID: "fetch " + f.URL, Verb: "downloading", Total: max(resp.ContentLength, 0), Unit: "B"}}
	if _, err := io.Copy(io.MultiWriter(w, h, p), resp.Body); err != nil {
		return "", fmt.Errorf("downloading %s: %w", f.URL, err)
	}
	p.progress.Ended = true
	sc.Progress(p.progress)
	return hex.EncodeToString(h.Sum(nil)), w.Close()
}

// redirect takes the template's headers off when another host is asked.
func (f *Fetch) redirect(req *http.Request, via []*http.Request) error {
	if len(via) >= 10 {
		return errors.New("too many redirects")
	}
	if req.URL.Scheme == "http" && via[0].URL.Scheme == "https" && f.SHA256 == "" {
		return errors.New("it leads from https to http")
	}
	if req.URL.Host != via[0].URL.Host || req.URL.Scheme != via[0].URL.Scheme {
		for k := range f.Headers {
			req.Header.Del(k)
		}
	}
	return nil
}

// A counter tells of progress as bytes are written to it.
type counter struct {
	sc       *builder.Scope
	progress builder.Progress
}

func (c *counter) Write(p []byte) (int, error) {
	c.progress.Done += int64(len(p))
	c.sc.Progress(c.progress)
	return len(p), nil
}
