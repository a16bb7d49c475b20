package registrytest

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"
)

// Resumable starts a registry in this process whose uploads follow the OCI
// distribution specification to the letter ("Pushing a blob in chunks"): what
// of a cut request has arrived stays, GET tells how much that is, and a chunk
// must begin there. (docker-registry instead forgets an upload that was cut.)
func Resumable(t testing.TB) (host string) {
	t.Helper()
	u := &uploads{next: registry.New(registry.Logger(log.New(io.Discard, "", 0))), data: map[string][]byte{}}
	srv := httptest.NewServer(u)
	t.Cleanup(srv.Close)
	return strings.TrimPrefix(srv.URL, "http://")
}

type uploads struct {
	next http.Handler

	mu   sync.Mutex
	n    int
	data map[string][]byte
}

func (u *uploads) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	dir, id := path.Split(r.URL.Path)
	switch {
	case !strings.HasSuffix(dir, "/blobs/uploads/") || r.URL.Query().Get("mount") != "":
		u.next.ServeHTTP(w, r)
	case r.Method == http.MethodPost:
		u.mu.Lock()
		defer u.mu.Unlock()
		u.n++
		id = fmt.Sprint(u.n)
		u.data[id] = []byte{}
		answer(w, dir+id, 0, http.StatusAccepted)
	default:
		u.upload(w, r, dir, id)
	}
}

// upload serves one request at a time: what GET tells is what is left of a cut.
func (u *uploads) upload(w http.ResponseWriter, r *http.Request, dir, id string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	have, known := u.data[id]
	if !known {
		http.Error(w, `{"errors":[{"code":"BLOB_UPLOAD_UNKNOWN"}]}`, http.StatusNotFound)
		return
	}
	switch r.Method {
	case http.MethodGet:
		answer(w, r.URL.Path, len(have), http.StatusNoContent)
	case http.MethodPatch:
		from := 0
		if c := r.Header.Get("Content-Range"); c != "" {
			_, _ = fmt.Sscanf(c, "%d-", &from) // what does not parse is 0
		}
		if from != len(have) {
			answer(w, r.URL.Path, len(have), http.StatusRequestedRangeNotSatisfiable)
			return
		}
		body, err := io.ReadAll(r.Body)
		u.data[id] = append(have, body...)
		if err == nil {
			answer(w, r.URL.Path, len(u.data[id]), http.StatusAccepted)
		}
	case http.MethodPut:
		u.commit(w, r, dir, have)
	}
}

// commit hands the whole blob on in one piece.
func (u *uploads) commit(w http.ResponseWriter, r *http.Request, dir string, data []byte) {
	in := r.Clone(r.Context())
	in.Method = http.MethodPost
	in.URL = &url.URL{Path: dir, RawQuery: r.URL.RawQuery}
	in.Body = io.NopCloser(strings.NewReader(string(data)))
	in.ContentLength = int64(len(data))
	u.next.ServeHTTP(w, in)
}

func answer(w http.ResponseWriter, location string, have, status int) {
	w.Header().Set("Location", location)
	w.Header().Set("Range", fmt.Sprintf("0-%d", max(have-1, 0)))
	w.WriteHeader(status)
}
