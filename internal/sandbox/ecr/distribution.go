package ecr

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"bake/internal/sandbox/api"
)

// A refusal is an error as a registry answers it.
type refusal struct {
	status  int
	code    string
	message string
}

// distribution is a registry as docker and its like speak to it
// (github.com/opencontainers/distribution-spec).
type distribution struct {
	t *T
	r *registry
}

// A visit is one request to a registry.
type visit struct {
	*distribution
	w      http.ResponseWriter
	req    *http.Request
	token  *token
	name   string // of the repository
	rest   string // what follows "blobs/", "manifests/", ...
	p      *repository
	lost   bool // a fault takes the answer
	call   *api.Call
	refuse *refusal
}

func (d *distribution) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
	if digest, ok := strings.CutPrefix(req.URL.Path, "/layer/"); ok && digestForm.MatchString(digest) {
		d.serveBlob(w, req, digest)
		return
	}
	v := &visit{distribution: d, w: w, req: req}
	var no *refusal
	if v.token, no = d.t.enter(req, d.r); no != nil {
		if no.status == http.StatusUnauthorized {
			w.Header().Set("WWW-Authenticate", `Basic realm="http://`+d.r.host()+`/",service="ecr.amazonaws.com"`)
		}
		v.fail(no)
		return
	}
	path := strings.TrimPrefix(req.URL.Path, "/v2/")
	switch {
	case path == "" || req.URL.Path == "/v2":
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	case path == "_catalog":
		v.catalog()
	default:
		v.route(path)
	}
}

// routes says which action of ECR a request stands for: what is counted, what
// faults hit, and what rights it needs.
func (v *visit) route(path string) {
	for _, r := range []struct {
		part, method, action string
		do                   func(*visit)
	}{
		{"/blobs/uploads/", http.MethodPost, "InitiateLayerUpload", (*visit).startUpload},
		{"/blobs/uploads/", http.MethodPatch, "UploadLayerPart", (*visit).patchUpload},
		{"/blobs/uploads/", http.MethodPut, "CompleteLayerUpload", (*visit).putUpload},
		{"/blobs/uploads/", http.MethodGet, "InitiateLayerUpload", (*visit).uploadStatus},
		{"/blobs/uploads/", http.MethodDelete, "InitiateLayerUpload", (*visit).deleteUpload},
		{"/blobs/", http.MethodHead, "BatchCheckLayerAvailability", (*visit).getBlob},
		{"/blobs/", http.MethodGet, "GetDownloadUrlForLayer", (*visit).getBlob},
		{"/manifests/", http.MethodHead, "BatchGetImage", (*visit).getManifest},
		{"/manifests/", http.MethodGet, "BatchGetImage", (*visit).getManifest},
		{"/manifests/", http.MethodPut, "PutImage", (*visit).putManifest},
		{"/tags/list", http.MethodGet, "ListImages", (*visit).listTags},
		{"/referrers/", http.MethodGet, "ListImageReferrers", (*visit).referrers},
	} {
		i := strings.LastIndex(path, r.part)
		if i <= 0 || v.req.Method != r.method {
			continue
		}
		v.name, v.rest = path[:i], path[i+len(r.part):]
		v.carryOut(r.action, r.do)
		return
	}
	v.fail(&refusal{http.StatusMethodNotAllowed, "UNSUPPORTED", "The operation is unsupported."})
}

// carryOut meets the faults, asks whether the bearer may, and does it.
func (v *visit) carryOut(action string, do func(*visit)) {
	v.call = &api.Call{Service: "ecr", Action: action, Region: v.r.Region, Account: v.token.Account, Caller: v.token.Caller, SourceIP: "127.0.0.1"}
	var hits []api.Fault
	over := func(string) {}
	if f := v.t.world.Faults; f != nil {
		hits, over = f.Meet(v.call)
	}
	for _, f := range hits {
		switch f.Kind {
		case api.FaultSlow:
			time.Sleep(time.Duration(f.Delay))
		case api.FaultDrop:
			over("")
			panic(http.ErrAbortHandler)
		case api.FaultThrottle:
			v.w.Header().Set("Retry-After", "1")
			v.refuse = &refusal{http.StatusTooManyRequests, "TOOMANYREQUESTS", "Rate exceeded"}
		case api.FaultError:
			e := f.Asked()
			v.refuse = &refusal{max(e.Status, http.StatusBadRequest), strings.ToUpper(e.Code), e.Message}
		case api.FaultLost:
			v.lost = true
		}
	}
	if v.refuse == nil {
		v.refuse = v.permit(action)
	}
	if v.refuse != nil {
		over(v.refuse.code)
		v.fail(v.refuse)
		return
	}
	if v.lost {
		v.w = &void{header: http.Header{}}
	}
	do(v)
	if changed := v.t.world.Changed; changed != nil && v.req.Method != http.MethodGet && v.req.Method != http.MethodHead && v.req.Method != http.MethodPatch {
		_ = changed() // the next call of the API says so too
	}
	over("")
	if v.lost {
		panic(http.ErrAbortHandler)
	}
}

// void takes an answer that is lost.
type void struct{ header http.Header }

func (w *void) Header() http.Header         { return w.header }
func (w *void) WriteHeader(int)             {}
func (w *void) Write(p []byte) (int, error) { return len(p), nil }

// permit finds the repository and asks its policy and the bearer's own.
func (v *visit) permit(action string) *refusal {
	v.t.mu.Lock()
	defer v.t.mu.Unlock()
	v.t.settle(v.r)
	name := v.name
	if v.r.Public {
		name = strings.TrimPrefix(name, v.r.alias()+"/")
	}
	if v.p = v.r.Repositories[name]; v.p == nil {
		if rule, _ := v.r.ruleFor(name); rule != nil && action == "BatchGetImage" {
			if no := v.may("CreateRepository", v.r.arn(name)); no != nil {
				return no
			}
		}
		v.p = v.t.onDemand(v.r, name, action)
	}
	if v.p == nil {
		return &refusal{http.StatusNotFound, "NAME_UNKNOWN", fmt.Sprintf("The repository with name '%s' does not exist in the registry with id '%s'", v.name, v.r.Account)}
	}
	if !v.r.lets(v.p, v.token.Account, v.token.Caller, v.r.prefix()+action) && v.token.Caller != "anonymous" {
		return v.forbid(action, v.r.arn(v.p.Name), "resource-based")
	}
	return v.may(action, v.r.arn(v.p.Name))
}

const accessDenied = "AccessDeniedException"

// prefix is what actions begin with in policies.
func (r *registry) prefix() string {
	if r.Public {
		return "ecr-public:"
	}
	return "ecr:"
}

// may refuses what the bearer's own policies do not allow. Everybody may pull
// from ECR Public.
func (v *visit) may(action, arn string) *refusal {
	if v.r.Public && (action == "BatchGetImage" || action == "GetDownloadUrlForLayer") {
		return nil
	}
	if v.token.Caller == "anonymous" || v.t.deps.Allowed == nil || v.t.deps.Allowed(v.token.Account, v.token.Caller, v.r.prefix()+action, arn) {
		return nil
	}
	return v.forbid(action, arn, "identity-based")
}

func (v *visit) forbid(action, arn, kind string) *refusal {
	action = v.r.prefix() + action
	return &refusal{http.StatusForbidden, "DENIED", fmt.Sprintf("User: %s is not authorized to perform: %s on resource: %s because no %s policy allows the %s action", v.token.Caller, action, arn, kind, action)}
}

func (v *visit) fail(r *refusal) {
	v.w.Header().Set("Content-Type", "application/json; charset=utf-8")
	v.w.WriteHeader(r.status)
	_ = json.NewEncoder(v.w).Encode(map[string]any{"errors": []map[string]string{{"code": r.code, "message": r.message}}}) // the client is gone if this fails
}

// failWith answers an error of the API as the registry words it.
func (v *visit) failWith(err error) {
	e, ok := errors.AsType[*api.Error](err)
	if !ok {
		v.fail(&refusal{http.StatusInternalServerError, "UNKNOWN", err.Error()})
		return
	}
	r := &refusal{http.StatusBadRequest, e.Code, e.Message}
	switch e.Code {
	case accessDenied:
		r.status, r.code = e.Status, "DENIED"
	case "ImageNotFoundException":
		r.status, r.code, r.message = http.StatusNotFound, "MANIFEST_UNKNOWN", "Requested image not found"
	case "UploadNotFoundException":
		r.status, r.code = http.StatusNotFound, "BLOB_UPLOAD_UNKNOWN"
	case "InvalidLayerException":
		r.code = "DIGEST_INVALID"
	case "LayerPartTooSmallException", "LimitExceededException", "EmptyUploadException":
		r.code = "BLOB_UPLOAD_INVALID"
	case "LayersNotFoundException":
		r.status, r.code = http.StatusNotFound, "BLOB_UNKNOWN"
	case "ReferencedImagesNotFoundException":
		r.status, r.code = http.StatusNotFound, "MANIFEST_BLOB_UNKNOWN"
	case "ImageTagAlreadyExistsException":
		r.code = "TAG_INVALID"
	case "InvalidParameterException", "UnsupportedImageTypeException":
		r.code = "MANIFEST_INVALID"
	}
	v.fail(r)
}

func (v *visit) catalog() {
	v.t.mu.Lock()
	names := slices.Sorted(maps.Keys(v.r.Repositories))
	v.t.mu.Unlock()
	v.json(map[string][]string{"repositories": names})
}

func (v *visit) json(x any) {
	v.w.Header().Set("Content-Type", "application/json; charset=utf-8")
	_ = json.NewEncoder(v.w).Encode(x) // the client is gone if this fails
}

func (v *visit) listTags() {
	v.t.mu.Lock()
	labels := slices.Sorted(maps.Keys(v.p.Labels))
	v.t.mu.Unlock()
	q := v.req.URL.Query()
	if last := q.Get("last"); last != "" {
		i, found := slices.BinarySearch(labels, last)
		if found {
			i++
		}
		labels = labels[i:]
	}
	n := 1000
	if text := q.Get("n"); text != "" {
		m, err := strconv.Atoi(text)
		if err != nil || m < 1 || m > 1000 { // more than 1000 is an error to ECR
			v.fail(&refusal{http.StatusBadRequest, "PAGINATION_NUMBER_INVALID", "Invalid parameter at 'maxResults' failed to satisfy constraint: 'Member must have value less than or equal to 1000'"})
			return
		}
		n = m
	}
	if n < len(labels) {
		labels = labels[:n]
		v.w.Header().Set("Link", fmt.Sprintf(`</v2/%s/tags/list?last=%s&n=%d>; rel="next"`, v.name, labels[n-1], n))
	}
	if labels == nil {
		labels = []string{}
	}
	v.json(map[string]any{"name": v.name, "tags": labels})
}

func (v *visit) getManifest() {
	id := imageID{Tag: v.rest}
	if digestForm.MatchString(v.rest) {
		id = imageID{Digest: v.rest}
	}
	v.t.mu.Lock()
	m, err := v.r.image(v.p, id)
	if err != nil {
		err = v.t.fetch(v, id, err)
		if err == nil {
			m, err = v.r.image(v.p, id)
		}
	}
	var data []byte
	if err == nil {
		data, err = v.t.blobs.read(m.Digest)
	}
	if err == nil && v.req.Method == http.MethodGet {
		m.Pulled = v.t.now()
	}
	v.t.mu.Unlock()
	if err != nil {
		v.failWith(err)
		return
	}
	h := v.w.Header()
	h.Set("Content-Type", m.MediaType)
	h.Set("Content-Length", strconv.Itoa(len(data)))
	h.Set("Docker-Content-Digest", m.Digest)
	if v.req.Method == http.MethodGet {
		_, _ = v.w.Write(data) // the client is gone if this fails
	}
}

func (v *visit) putManifest() {
	data, err := io.ReadAll(io.LimitReader(v.req.Body, maxManifest+1))
	if err != nil {
		v.fail(&refusal{http.StatusBadRequest, "MANIFEST_INVALID", err.Error()})
		return
	}
	label := v.rest
	if digestForm.MatchString(v.rest) {
		label = ""
	}
	v.t.mu.Lock()
	m, _, err := v.t.put(v.r, v.p, data, v.req.Header.Get("Content-Type"), label)
	v.t.mu.Unlock()
	switch {
	case err != nil:
		v.failWith(err)
		return
	case label == "" && m.Digest != v.rest:
		v.fail(&refusal{http.StatusBadRequest, "DIGEST_INVALID", "The provided digest does not match the manifest"})
		return
	}
	h := v.w.Header()
	h.Set("Docker-Content-Digest", m.Digest)
	h.Set("Location", "/v2/"+v.name+"/manifests/"+m.Digest)
	if m.Subject != "" {
		h.Set("OCI-Subject", m.Subject)
	}
	v.w.WriteHeader(http.StatusCreated)
}

// referrers lists what names a manifest as its subject.
func (v *visit) referrers() {
	kind := v.req.URL.Query().Get("artifactType")
	list := []descriptor{}
	v.t.mu.Lock()
	for _, digest := range slices.Sorted(maps.Keys(v.p.Images)) {
		m := v.p.Images[digest]
		if m.Subject != v.rest || kind != "" && kind != m.ArtifactType {
			continue
		}
		data, err := v.t.blobs.read(digest)
		if err != nil {
			continue
		}
		list = append(list, descriptor{MediaType: m.MediaType, Digest: digest, Size: int64(len(data)), Artifact: m.ArtifactType, Annotations: m.Annotations})
	}
	v.t.mu.Unlock()
	if kind != "" {
		v.w.Header().Set("OCI-Filters-Applied", "artifactType")
	}
	v.w.Header().Set("Content-Type", ociIndex)
	_ = json.NewEncoder(v.w).Encode(map[string]any{"schemaVersion": 2, "mediaType": ociIndex, "manifests": list}) // the client is gone if this fails
}
