package registry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"golang.org/x/sync/errgroup"

	"bake/builder"
)

// A Push says where images go and how.
type Push struct {
	To   Reference // the repository; its own tag, if it has one, comes before Tags
	Tags []string
	// Immutable: a tag that names other content already is an error, found
	// before anything is uploaded.
	Immutable bool
	// Fixed says the same of single tags; may be nil.
	Fixed func(tag string) bool
	// MaxLayer is how many bytes the registry takes in a layer; more is an
	// error, before anything is uploaded if the size is known. 0: any number.
	MaxLayer int64
	// Document is the index to store, byte for byte, if the variants are its
	// images and come from a registry; nil: it is made of them.
	Document *Document
	// Index makes an index even of a single image.
	Index bool
	// Annotations of the index, if there is one.
	Annotations map[string]string
	// MountFrom are repositories of the same registry that may have the
	// layers already.
	MountFrom []string
	// Compression is for layers that exist only uncompressed.
	Compression Compression
	Progress    func(builder.Progress) // may be nil
}

// Pushed is what a push came to.
type Pushed struct {
	Digest    string   // of what the tags name
	MediaType string   // of the same
	Manifests []string // digests of the variants' own manifests, in order
	Size      int64    // bytes of all blobs, compressed
	Unchanged bool     // it was all there, tags included
	Stats
}

// Stats counts blobs by what had to be done about them.
type Stats struct {
	Uploaded int
	Mounted  int
	Present  int
	Bytes    int64 // uploaded
}

// Push makes images, and an index if there are several, exist in a registry
// under all tags. What is there is not sent again. Tags move only when all
// that they need is in place. Errors are *Error around the cause, which may
// be a *TagExistsError.
func (c *Client) Push(ctx context.Context, p Push, variants ...Variant) (Pushed, error) {
	pushing, err := c.Begin(ctx, p, variants...)
	if err != nil {
		return Pushed{}, err
	}
	return pushing.Finish(ctx)
}

// A Pushing is a push of which all is checked that can be without uploading.
type Pushing struct {
	push *push
	jobs []*Content
	done *Pushed // nil if there is something to do
}

// Begin is the first half of Push: it logs in, looks at the tags and at what
// is known of the images, and fails if the push could not succeed. Nothing is
// uploaded; a Pushing that is not finished leaves nothing behind.
func (c *Client) Begin(ctx context.Context, p Push, variants ...Variant) (*Pushing, error) {
	if p.Compression == "" {
		p.Compression = Gzip
	}
	if p.To.Tag != "" && !slices.Contains(p.Tags, p.To.Tag) {
		p.Tags = append([]string{p.To.Tag}, p.Tags...)
	}
	p.To = p.To.WithTag("")
	pushing := &Pushing{push: &push{client: c, Push: p}}
	if err := pushing.begin(ctx, variants); err != nil {
		return nil, pushing.error(err)
	}
	return pushing, nil
}

// Finish uploads what is missing and moves the tags.
func (p *Pushing) Finish(ctx context.Context) (Pushed, error) {
	if p.done != nil {
		return *p.done, nil
	}
	for _, j := range p.jobs {
		if err := p.push.blobs(ctx, j); err != nil {
			return Pushed{}, p.error(err)
		}
	}
	pushed, err := p.push.finish(ctx, p.jobs)
	if err != nil {
		return Pushed{}, p.error(err)
	}
	return pushed, nil
}

func (p *Pushing) error(err error) error {
	to := p.push.To
	return &Error{Doing: "pushing " + to.Name(), Host: to.Host(), Err: err}
}

// push is one Push under way.
type push struct {
	client *Client
	Push
	session *session
	have    map[string]string // tag -> digest it names now; empty: there is no such tag
	mount   []string          // repositories to mount from

	uploaded, mounted, present, bytes atomic.Int64

	mu    sync.Mutex
	spare []byte // memory for a tail
}

func (p *Pushing) begin(ctx context.Context, variants []Variant) error {
	if len(variants) == 0 {
		return errors.New("there is no image to push")
	}
	if err := p.push.connect(ctx); err != nil {
		return err
	}
	for _, v := range variants {
		j, err := p.push.plan(v)
		if err != nil {
			return err
		}
		p.jobs = append(p.jobs, j)
	}
	var err error
	if p.done, err = p.push.early(ctx, p.jobs); err != nil {
		return err
	}
	return p.push.fits(p.jobs)
}

// fits checks the sizes that are known.
func (p *push) fits(jobs []*Content) error {
	for _, j := range jobs {
		for _, d := range j.Layers {
			if p.MaxLayer > 0 && d.Size > p.MaxLayer {
				return &LayerTooBigError{Layer: d.Digest.String(), Size: d.Size, Max: p.MaxLayer}
			}
		}
	}
	return nil
}

// connect logs in, with leave to read where layers may be mounted from, and
// looks at the tags.
func (p *push) connect(ctx context.Context) error {
	var from []name.Repository
	for _, s := range p.MountFrom {
		ref, err := ParseRepository(s, p.To.Insecure)
		if err != nil || ref.Host() != p.To.Host() || ref.Repository == p.To.Repository {
			continue // a repository of another registry cannot be mounted from
		}
		if !slices.Contains(p.mount, ref.Repository.RepositoryStr()) {
			from = append(from, ref.Repository)
			p.mount = append(p.mount, ref.Repository.RepositoryStr())
		}
	}
	var err error
	p.session, err = p.client.session(ctx, p.To, "push,pull", from...)
	if err != nil && len(from) > 0 && ctx.Err() == nil {
		// Some token servers give nothing if one repository is not ours to read.
		p.mount = nil
		p.session, err = p.client.session(ctx, p.To, "push,pull")
	}
	if err != nil {
		return err
	}
	digests := make([]string, len(p.Tags))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(p.client.cfg.Jobs)
	for i, tag := range p.Tags {
		g.Go(func() error {
			digest, err := p.session.head(gctx, tag)
			if StatusOf(err) == http.StatusNotFound {
				return nil
			}
			digests[i] = digest
			return err
		})
	}
	err = g.Wait()
	p.have = map[string]string{}
	for i, tag := range p.Tags {
		p.have[tag] = digests[i]
	}
	return err
}

// early ends a push for which nothing has to be uploaded, or which may not
// go on. It returns nil if there is work to do.
func (p *push) early(ctx context.Context, jobs []*Content) (*Pushed, error) {
	p.adopt(ctx, jobs)
	top, known := p.top(jobs)
	if known && len(p.Tags) == 0 { // pushed by digest alone
		digest, err := p.session.head(ctx, top.Digest.String())
		if err == nil && digest == top.Digest.String() {
			return p.result(top, jobs, true), nil
		}
	}
	all := len(p.Tags) > 0
	for _, tag := range p.Tags {
		switch have := p.have[tag]; {
		case known && have == top.Digest.String():
		case have != "" && (p.Immutable || p.Fixed != nil && p.Fixed(tag)):
			return nil, &TagExistsError{Ref: p.To.WithTag(tag).String(), Have: have}
		default:
			all = false
		}
	}
	if all {
		return p.result(top, jobs, true), nil
	}
	return nil, nil
}

// adopt looks whether a tag names these very images already, when their layers
// would have to be compressed to know the manifests' digests: if so, an image
// is what is there, and its layers are not compressed again.
func (p *push) adopt(ctx context.Context, jobs []*Content) {
	if !slices.ContainsFunc(jobs, func(j *Content) bool { return !j.Complete() }) {
		return
	}
	seen := map[string]bool{"": true}
	for _, digest := range p.have {
		if seen[digest] {
			continue
		}
		seen[digest] = true
		for _, m := range p.images(ctx, digest) {
			for _, j := range jobs {
				if !j.Complete() && j.adopt(m) {
					break
				}
			}
		}
	}
}

// images returns the image that a digest names, or those of its index; none
// if it cannot be read.
func (p *push) images(ctx context.Context, digest string) []*manifest {
	m, err := p.client.manifest(ctx, p.session, p.To.WithDigest(digest))
	if err != nil || m.index == nil {
		return []*manifest{m}
	}
	var all []*manifest
	for _, d := range m.index.Manifests {
		if image, err := p.client.manifest(ctx, p.session, p.To.WithDigest(d.Digest.String())); err == nil {
			all = append(all, image)
		}
	}
	return all
}

// plan is NewContent with what is known from earlier pushes.
func (p *push) plan(v Variant) (*Content, error) {
	j, err := NewContent(v)
	if err != nil || j.Streamer == nil {
		return j, err
	}
	for i, diffID := range j.DiffIDs {
		if known, ok := p.client.cache.packed(diffID, p.Compression); ok {
			j.Layers[i] = known.descriptor()
		}
	}
	return j, nil
}

// top returns what the tags are to name, if that is known yet.
func (p *push) top(jobs []*Content) (Document, bool) {
	for _, j := range jobs {
		if !j.Complete() {
			return Document{}, false
		}
	}
	if !p.indexed(jobs) {
		return jobs[0].Document(), true
	}
	if p.Document != nil {
		return *p.Document, true
	}
	return Index(jobs, p.Annotations), true
}

// indexed reports whether the tags are to name an index.
func (p *push) indexed(jobs []*Content) bool { return len(jobs) > 1 || p.Index || p.Document != nil }

// finish puts the manifests, those of the variants first, then the tags.
func (p *push) finish(ctx context.Context, jobs []*Content) (Pushed, error) {
	top, _ := p.top(jobs)
	if p.indexed(jobs) {
		for _, j := range jobs {
			d := j.Document()
			if err := p.put(ctx, d.Digest.String(), d); err != nil {
				return Pushed{}, err
			}
		}
	}
	names := p.Tags
	if len(names) == 0 {
		names = []string{top.Digest.String()}
	}
	unchanged := true
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(p.client.cfg.Jobs)
	for _, id := range names {
		if p.have[id] == top.Digest.String() {
			continue
		}
		unchanged = false
		g.Go(func() error { return p.put(gctx, id, top) })
	}
	if err := g.Wait(); err != nil {
		return Pushed{}, err
	}
	p.client.cache.keep(top.Digest, top.Raw)
	return *p.result(top, jobs, unchanged), nil
}

// put stores a manifest under a tag or its digest.
func (p *push) put(ctx context.Context, id string, d Document) error {
	resp, err := p.session.send(ctx, func() (*http.Request, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodPut, p.session.url("manifests", id).String(), strings.NewReader(string(d.Raw)))
		if err == nil {
			req.Header.Set("Content-Type", string(d.MediaType))
		}
		return req, err
	}, http.StatusCreated, http.StatusOK, http.StatusAccepted)
	if err == nil {
		drain(resp)
		return nil
	}
	if tagIsFixed(err) {
		have, herr := p.session.head(ctx, id)
		if herr == nil && have == d.Digest.String() {
			return nil // somebody, perhaps an earlier try of ours, has put the same
		}
		return &TagExistsError{Ref: p.To.WithTag(id).String(), Have: have, Immutable: true}
	}
	return fmt.Errorf("manifest %s: %w", id, err)
}

// tagIsFixed reports whether a registry refused to move a tag: ECR answers
// TAG_INVALID, Harbor PRECONDITION, others say "immutable" in the text.
func tagIsFixed(err error) bool {
	var te *transport.Error
	if !errors.As(err, &te) {
		return false
	}
	for _, d := range te.Errors {
		text := strings.ToLower(d.Message)
		if strings.Contains(text, "immutable") || strings.Contains(text, "already exists in the") {
			return true
		}
	}
	return te.StatusCode == http.StatusConflict
}

func (p *push) result(top Document, jobs []*Content, unchanged bool) *Pushed {
	out := &Pushed{Digest: top.Digest.String(), MediaType: string(top.MediaType), Unchanged: unchanged}
	seen := map[v1.Hash]bool{}
	for _, j := range jobs {
		out.Manifests = append(out.Manifests, j.Document().Digest.String())
		for _, d := range j.blobs() {
			if !seen[d.Digest] {
				out.Size += d.Size
				seen[d.Digest] = true
			}
		}
	}
	out.Stats = Stats{
		Uploaded: int(p.uploaded.Load()), Mounted: int(p.mounted.Load()),
		Present: int(p.present.Load()), Bytes: p.bytes.Load(),
	}
	return out
}
