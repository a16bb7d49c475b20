package ami_test

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"

	"bake/builder"
	"bake/builder/buildertest"
)

// A middle stands between bake and the sandbox: it hears what EC2 is asked,
// and may change what it answers.
type middle struct {
	URL string
	// region, if it is not empty, is one that the sandbox does not have: what is
	// asked of it is asked of the sandbox's own.
	region string

	mu    sync.Mutex
	asked []url.Values
}

// between puts one there. change may be nil.
func (w *world) between(change func(action string, answer string) string) *middle {
	w.t.Helper()
	to, err := url.Parse(w.sandbox.URL)
	if err != nil {
		w.t.Fatal(err)
	}
	m := new(middle)
	forward := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(to)
		r.Out.Host = r.In.Host
		if m.region != "" {
			r.Out.Header.Set("Authorization", strings.ReplaceAll(r.In.Header.Get("Authorization"), "/"+m.region+"/", "/"+region+"/"))
		}
	}}
	forward.ModifyResponse = func(r *http.Response) error {
		action := r.Request.Header.Get(actionHeader)
		if change == nil || action == "" || r.StatusCode != http.StatusOK {
			return nil
		}
		body, err := io.ReadAll(r.Body)
		r.Body.Close()
		text := change(action, string(body))
		r.Body, r.ContentLength = io.NopCloser(strings.NewReader(text)), int64(len(text))
		r.Header.Set("Content-Length", strconv.Itoa(len(text)))
		return err
	}
	s := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		r.Header.Set(actionHeader, m.hear(r))
		forward.ServeHTTP(rw, r)
	}))
	w.t.Cleanup(s.Close)
	m.URL = s.URL
	return m
}

const actionHeader = "X-Bake-Test-Action"

// hear notes a call of EC2's, and returns its action.
func (m *middle) hear(r *http.Request) string {
	body, err := io.ReadAll(r.Body)
	r.Body = io.NopCloser(bytes.NewReader(body))
	form, ferr := url.ParseQuery(string(body))
	if err != nil || ferr != nil || form.Get("Version") != "2016-11-15" {
		return ""
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.asked = append(m.asked, form)
	return form.Get("Action")
}

// of returns what was said with the calls of an action, but for those that
// tried it out.
func (m *middle) of(action string) []url.Values {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(m.asked), func(f url.Values) bool { return f.Get("Action") != action || f.Get("DryRun") == "true" })
}

// bakeThrough runs a template as a process that reaches AWS through m.
func (w *world) bakeThrough(m *middle, text string) (builder.History, error) {
	w.t.Helper()
	return w.run(w.engineAt(m.URL, new(buildertest.Memory)), w.compile(text))
}
