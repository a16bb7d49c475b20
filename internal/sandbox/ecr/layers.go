package ecr

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// getBlob answers HEAD and GET of a layer or config, also of parts of it.
func (v *visit) getBlob() {
	v.t.mu.Lock()
	size, ok := v.p.Blobs[v.rest]
	v.t.mu.Unlock()
	if !ok {
		v.fail(&refusal{http.StatusNotFound, "BLOB_UNKNOWN", "The layer with digest '" + v.rest + "' does not exist in the repository with name '" + v.p.Name + "'"})
		return
	}
	if v.req.Method == http.MethodHead {
		h := v.w.Header()
		h.Set("Content-Length", strconv.FormatInt(size, 10))
		h.Set("Content-Type", "application/octet-stream")
		h.Set("Docker-Content-Digest", v.rest)
		return
	}
	v.serveBlob(v.w, v.req, v.rest)
}

func (d *distribution) serveBlob(w http.ResponseWriter, req *http.Request, digest string) {
	f, err := d.t.blobs.open(digest)
	if err != nil {
		http.NotFound(w, req)
		return
	}
	defer f.Close()
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Docker-Content-Digest", digest)
	http.ServeContent(w, req, "", time.Time{}, f)
}

// startUpload begins an upload, mounts a layer of another repository, or takes
// a whole layer at once.
func (v *visit) startUpload() {
	q := v.req.URL.Query()
	if digest := q.Get("mount"); digest != "" && v.mount(digest, q.Get("from")) {
		v.created(digest)
		return
	}
	v.t.mu.Lock()
	u, err := v.t.beginUpload(v.p)
	v.t.mu.Unlock()
	if err != nil {
		v.failWith(err)
		return
	}
	if digest := q.Get("digest"); digest != "" {
		v.finish(u, digest)
		return
	}
	v.accepted(u, http.StatusAccepted)
}

// mount takes a layer from another repository of the registry, if the account
// has turned that on; else the client has to upload.
func (v *visit) mount(digest, from string) bool {
	v.t.mu.Lock()
	defer v.t.mu.Unlock()
	if v.r.Settings["BLOB_MOUNTING"] != "ENABLED" {
		return false
	}
	other := v.r.Repositories[from]
	if other == nil || other.Encryption != v.p.Encryption {
		return false
	}
	size, ok := other.Blobs[digest]
	if ok {
		v.p.Blobs[digest] = size
	}
	return ok
}

func (v *visit) created(digest string) {
	h := v.w.Header()
	h.Set("Location", "/v2/"+v.name+"/blobs/"+digest)
	h.Set("Docker-Content-Digest", digest)
	h.Set("Content-Length", "0")
	v.w.WriteHeader(http.StatusCreated)
}

// accepted says how far an upload is; "0-0" is what registries say of nothing.
func (v *visit) accepted(u *upload, status int) {
	u.mu.Lock()
	last := max(u.size-1, 0)
	u.mu.Unlock()
	h := v.w.Header()
	h.Set("Location", "http://"+v.r.host()+"/v2/"+v.name+"/blobs/uploads/"+u.id)
	h.Set("Docker-Upload-UUID", u.id)
	h.Set("Range", fmt.Sprintf("0-%d", last))
	h.Set("Content-Length", "0")
	v.w.WriteHeader(status)
}

// current is the upload that a request goes on with.
func (v *visit) current() *upload {
	v.t.mu.Lock()
	defer v.t.mu.Unlock()
	u, err := v.t.uploadOf(v.p, v.rest)
	if err != nil {
		v.failWith(err)
		return nil
	}
	return u
}

func (v *visit) uploadStatus() {
	if u := v.current(); u != nil {
		v.accepted(u, http.StatusNoContent)
	}
}

func (v *visit) deleteUpload() {
	if u := v.current(); u != nil {
		if err := v.t.abandon(u); err != nil {
			v.failWith(err)
			return
		}
		v.w.WriteHeader(http.StatusNoContent)
	}
}

func (v *visit) patchUpload() {
	u := v.current()
	if u == nil || !v.inOrder(u) {
		return
	}
	if err := u.write(v.body()); err != nil {
		v.failWith(err)
		return
	}
	v.accepted(u, http.StatusAccepted)
}

// inOrder wants a chunk to begin where the last ended.
func (v *visit) inOrder(u *upload) bool {
	text := strings.TrimPrefix(v.req.Header.Get("Content-Range"), "bytes ")
	if text == "" {
		return true
	}
	first, _, _ := strings.Cut(text, "-")
	n, err := strconv.ParseInt(first, 10, 64)
	u.mu.Lock()
	size := u.size
	u.mu.Unlock()
	if err != nil || n != size {
		v.accepted(u, http.StatusRequestedRangeNotSatisfiable)
		return false
	}
	return true
}

func (v *visit) putUpload() {
	u := v.current()
	if u == nil || !v.inOrder(u) {
		return
	}
	v.finish(u, v.req.URL.Query().Get("digest"))
}

// finish takes the last of a layer and makes it one.
func (v *visit) finish(u *upload, digest string) {
	if !digestForm.MatchString(digest) {
		v.fail(&refusal{http.StatusBadRequest, "DIGEST_INVALID", "The digest '" + digest + "' is not a sha256 digest"})
		return
	}
	err := u.write(v.body())
	if err == nil {
		err = v.t.complete(u, digest)
	}
	if err != nil {
		v.failWith(err)
		return
	}
	v.created(digest)
}

// body is the request's, as the knobs let it through.
func (v *visit) body() io.Reader {
	v.t.mu.Lock()
	defer v.t.mu.Unlock()
	b := &throttled{from: v.req.Body, perSecond: v.t.knobs.BytesPerSecond, left: -1}
	if k := &v.t.knobs; k.CutAfter > 0 && v.req.ContentLength != 0 {
		b.left = k.CutAfter
		b.cut = func() {
			v.t.mu.Lock()
			defer v.t.mu.Unlock()
			switch k.Cuts {
			case -1:
			case 0, 1:
				k.CutAfter = 0
			default:
				k.Cuts--
			}
		}
	}
	return b
}

// throttled reads slowly, and cuts the connection after so many bytes.
type throttled struct {
	from      io.Reader
	perSecond int64
	left      int64 // -1: no end
	cut       func()
	began     time.Time
	read      int64
}

func (b *throttled) Read(p []byte) (int, error) {
	if b.left == 0 {
		b.cut()
		panic(http.ErrAbortHandler)
	}
	if b.left > 0 && int64(len(p)) > b.left {
		p = p[:b.left]
	}
	if b.perSecond > 0 {
		if b.began.IsZero() {
			b.began = time.Now()
		}
		p = p[:min(len(p), int(max(b.perSecond/20, 1)))]
		due := b.began.Add(time.Duration(float64(b.read) / float64(b.perSecond) * float64(time.Second)))
		time.Sleep(time.Until(due))
	}
	n, err := b.from.Read(p)
	b.read += int64(n)
	if b.left > 0 {
		b.left -= int64(n)
	}
	return n, err
}
