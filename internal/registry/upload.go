package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"bake/builder"
)

// errBegin says that an upload cannot go on and has to begin anew.
var errBegin = errors.New("the upload has to begin again")

// begin starts an upload, or mounts the blob if from is given. location is
// empty if it was mounted.
func (p *push) begin(ctx context.Context, mount v1.Hash, from string) (location string, err error) {
	u := p.session.url("blobs", "uploads/")
	if from != "" {
		u.RawQuery = url.Values{"mount": {mount.String()}, "from": {from}}.Encode()
	}
	resp, err := p.session.do(ctx, http.MethodPost, u.String(), nil, http.StatusAccepted, http.StatusCreated)
	if err != nil {
		return "", err
	}
	defer drain(resp)
	if resp.StatusCode == http.StatusCreated {
		return "", nil
	}
	return nextLocation(resp)
}

// abandon tells the registry that an upload will not come. It may not know
// how to forget it; then it does so in time.
func (p *push) abandon(ctx context.Context, location string) {
	req, err := http.NewRequestWithContext(ctx, http.MethodDelete, location, nil)
	if err != nil {
		return
	}
	if resp, err := p.session.http.Do(req); err == nil {
		drain(resp)
	}
}

// nextLocation is where the upload goes on, absolute.
func nextLocation(resp *http.Response) (string, error) {
	location := resp.Header.Get("Location")
	if location == "" {
		return "", errors.New("the registry did not say where to upload to")
	}
	u, err := url.Parse(location)
	if err != nil {
		return "", fmt.Errorf("upload location: %w", err)
	}
	return resp.Request.URL.ResolveReference(u).String(), nil
}

// An upload is one blob whose content can be read again on its way up. After a
// cut connection it asks how much has arrived and sends the rest.
type upload struct {
	*push
	desc     v1.Descriptor
	open     func() (io.ReadCloser, error)
	location string
	off      int64 // bytes the registry has
}

func (u *upload) run(ctx context.Context) error {
	tries := 0
	for {
		before := u.off
		err := u.try(ctx)
		if err == nil {
			u.report(u.desc.Size, true)
			return nil
		}
		if u.off > before {
			tries = 0 // it gets somewhere
		}
		tries++
		if tries >= u.session.retry.Attempts || !resumable(ctx, err) {
			return err
		}
		if u.session.retry.pause(ctx, tries, err) != nil {
			return err
		}
		u.resume(ctx)
	}
}

// resumable reports whether an upload that failed with err is worth another
// try: whatever went wrong on the wire is.
func resumable(ctx context.Context, err error) bool {
	var local *localError
	switch {
	case ctx.Err() != nil, errors.As(err, &local), hopeless(err):
		return false
	case errors.Is(err, errBegin), StatusOf(err) == 0:
		return true
	case StatusOf(err) == http.StatusUnauthorized:
		return true // the token ran out in the middle; the next request gets a new one
	}
	return retryable(ctx, err)
}

// try sends what the registry does not have yet and closes the upload.
func (u *upload) try(ctx context.Context) error {
	if u.location == "" {
		location, err := u.begin(ctx, v1.Hash{}, "")
		if err != nil {
			return err
		}
		u.location, u.off = location, 0
	}
	if u.off < u.desc.Size {
		if err := u.patch(ctx); err != nil {
			return err
		}
	}
	return u.commit(ctx, u.location, u.desc.Digest)
}

// patch sends the content from u.off to its end.
func (u *upload) patch(ctx context.Context) error {
	left := u.desc.Size - u.off
	var broken atomic.Pointer[error]
	body := func() (io.ReadCloser, error) {
		return &lazyBody{open: u.open, off: u.off, left: left, report: u.report, broken: func(err error) { broken.Store(&err) }}, nil
	}
	first, _ := body()
	req, err := http.NewRequestWithContext(ctx, http.MethodPatch, u.location, first)
	if err != nil {
		return err
	}
	req.GetBody = body
	req.ContentLength = left
	req.Header.Set("Content-Type", "application/octet-stream")
	if u.off > 0 {
		req.Header.Set("Content-Range", fmt.Sprintf("%d-%d", u.off, u.desc.Size-1))
	}
	resp, err := u.session.once(req, http.StatusAccepted, http.StatusNoContent, http.StatusCreated)
	if err != nil {
		if b := broken.Load(); b != nil {
			return &localError{*b}
		}
		return lost(err)
	}
	defer drain(resp)
	u.off = u.desc.Size
	u.location, err = nextLocation(resp)
	return err
}

// lost turns an answer that says the upload is unknown, or not where we think
// it is, into errBegin.
func lost(err error) error {
	switch StatusOf(err) {
	case http.StatusNotFound, http.StatusRequestedRangeNotSatisfiable, http.StatusBadRequest:
		return fmt.Errorf("%w: %w", errBegin, err)
	}
	return err
}

// resume asks how much has arrived. A registry that does not know makes the
// upload begin anew.
func (u *upload) resume(ctx context.Context) {
	location, off, err := u.status(ctx, u.location)
	if err != nil || off > u.desc.Size {
		u.location, u.off = "", 0
		return
	}
	u.location, u.off = location, off
}

// status returns where an upload goes on and how many bytes have arrived.
func (p *push) status(ctx context.Context, at string) (location string, off int64, err error) {
	if at == "" {
		return "", 0, errBegin
	}
	resp, err := p.session.do(ctx, http.MethodGet, at, nil, http.StatusNoContent)
	if err != nil {
		return "", 0, err
	}
	defer drain(resp)
	_, last, ok := strings.Cut(resp.Header.Get("Range"), "-")
	n, err := strconv.ParseInt(last, 10, 64)
	if !ok || err != nil {
		return "", 0, errBegin
	}
	location = at
	if resp.Header.Get("Location") != "" {
		if location, err = nextLocation(resp); err != nil {
			return "", 0, err
		}
	}
	if n == 0 { // "0-0" is how registries say that nothing has arrived
		return location, 0, nil
	}
	return location, n + 1, nil
}

// commit closes an upload. If the answer is lost the blob itself tells.
func (p *push) commit(ctx context.Context, location string, digest v1.Hash) error {
	u, err := url.Parse(location)
	if err != nil {
		return fmt.Errorf("upload location: %w", err)
	}
	query := u.Query()
	query.Set("digest", digest.String())
	u.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, u.String(), nil)
	if err != nil {
		return err
	}
	resp, err := p.session.once(req, http.StatusCreated, http.StatusNoContent, http.StatusAccepted)
	if err == nil {
		drain(resp)
		return nil
	}
	if ctx.Err() == nil {
		if there, herr := p.exists(ctx, digest); herr == nil && there {
			return nil
		}
	}
	return lost(err)
}

func (u *upload) report(n int64, ended bool) {
	u.tell("pushing", u.desc.Digest, n, u.desc.Size, ended)
}

// tell reports progress to whoever wants to know.
func (p *push) tell(verb string, h v1.Hash, done, total int64, ended bool) {
	if p.Progress != nil {
		p.Progress(builder.Progress{ID: "layer " + h.String()[:19], Verb: verb, Done: done, Total: total, Unit: "B", Ended: ended})
	}
}
