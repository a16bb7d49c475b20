package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sync/errgroup"
)

// blobs makes the config and the layers of a variant exist in the repository.
func (p *push) blobs(ctx context.Context, j *Content) error {
	missing, err := p.missing(ctx, j)
	if err != nil {
		return err
	}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(p.client.cfg.Jobs)
	var again sync.Map // layers of a stream that could not be mounted
	for _, b := range missing {
		g.Go(func() error {
			if b.open == nil {
				mounted, err := p.tryMount(gctx, b.desc)
				if err == nil && !mounted {
					again.Store(b.desc.Digest, true)
				}
				return err
			}
			return p.send(gctx, b)
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	if j.Streamer == nil {
		return nil
	}
	return p.stream(ctx, j, func(d v1.Descriptor) bool {
		_, found := again.Load(d.Digest)
		return found || d.Digest == (v1.Hash{})
	})
}

// A blob is something to upload whose digest is known.
type blob struct {
	desc v1.Descriptor
	open func() (io.ReadCloser, error) // nil for a layer that only its stream has
}

// missing asks the registry which blobs it does not have.
func (p *push) missing(ctx context.Context, j *Content) ([]blob, error) {
	config := j.Config
	wanted := []blob{{
		desc: v1.Descriptor{Digest: hashOf(config), Size: int64(len(config))},
		open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(config)), nil },
	}}
	seen := map[v1.Hash]bool{}
	for i, d := range j.Layers {
		if d.Digest == (v1.Hash{}) || seen[d.Digest] || !d.MediaType.IsDistributable() {
			continue
		}
		seen[d.Digest] = true
		b := blob{desc: d}
		if j.Sources != nil {
			b.open = j.Sources[i].Compressed
		}
		wanted = append(wanted, b)
	}
	there := make([]bool, len(wanted))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(2 * p.client.cfg.Jobs)
	for i, b := range wanted {
		g.Go(func() (err error) {
			there[i], err = p.exists(gctx, b.desc.Digest)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	var missing []blob
	for i, b := range wanted {
		if there[i] {
			p.present.Add(1)
			p.saw(b.desc.Digest)
		} else {
			missing = append(missing, b)
		}
	}
	return missing, nil
}

// exists asks for a blob with HEAD.
func (p *push) exists(ctx context.Context, h v1.Hash) (bool, error) {
	resp, err := p.session.do(ctx, http.MethodHead, p.session.url("blobs", h.String()).String(), nil, http.StatusOK, http.StatusNotFound)
	if err != nil {
		return false, fmt.Errorf("looking for blob %s: %w", h, err)
	}
	drain(resp)
	return resp.StatusCode == http.StatusOK, nil
}

// saw remembers that the repository has a blob, to mount it from there.
func (p *push) saw(h v1.Hash) {
	p.client.cache.keepSeen(p.To.Host(), p.To.Repository.RepositoryStr(), h)
}

// tryMount takes a blob over from another repository of the registry. That it
// does not work is not an error.
func (p *push) tryMount(ctx context.Context, d v1.Descriptor) (bool, error) {
	for _, from := range p.mountable(d.Digest) {
		location, err := p.begin(ctx, d.Digest, from)
		if err == nil && location == "" {
			p.mounted.Add(1)
			p.saw(d.Digest)
			return true, nil
		}
		if ctx.Err() != nil {
			return false, ctx.Err()
		}
		if err == nil {
			p.abandon(ctx, location)
		}
	}
	return false, nil
}

// mountable lists where a blob may be: where it was seen, and where the base is from.
func (p *push) mountable(h v1.Hash) []string {
	here := p.To.Repository.RepositoryStr()
	var from []string
	for _, repo := range append(p.client.cache.seen(p.To.Host(), h), p.mount...) {
		if repo != here && !slices.Contains(from, repo) {
			from = append(from, repo)
		}
	}
	return from
}

// send mounts or uploads a blob.
func (p *push) send(ctx context.Context, b blob) error {
	if mounted, err := p.tryMount(ctx, b.desc); mounted || err != nil {
		return err
	}
	u := &upload{push: p, desc: b.desc, open: b.open}
	if err := u.run(ctx); err != nil {
		return fmt.Errorf("uploading %s: %w", b.desc.Digest, err)
	}
	p.uploaded.Add(1)
	p.bytes.Add(b.desc.Size)
	p.saw(b.desc.Digest)
	return nil
}

// stream compresses and uploads the layers that only the image's stream has.
func (p *push) stream(ctx context.Context, j *Content, need func(v1.Descriptor) bool) error {
	retry := p.client.cfg.Retry
	for n := 1; ; n++ {
		err := p.streamOnce(ctx, j, need)
		if err == nil || !errors.Is(err, errBegin) || n >= retry.Attempts {
			return err
		}
		if werr := retry.wait(ctx, n, 0); werr != nil {
			return err
		}
	}
}

func (p *push) streamOnce(ctx context.Context, j *Content, need func(v1.Descriptor) bool) error {
	todo := map[v1.Hash]bool{}
	for i, d := range j.Layers {
		if need(d) {
			todo[j.DiffIDs[i]] = true
		}
	}
	if len(todo) == 0 {
		return nil
	}
	done := map[v1.Hash]packed{}
	defer func() { // what is done is done, even if a later layer failed
		for i, diffID := range j.DiffIDs {
			if l, ok := done[diffID]; ok {
				j.Layers[i] = l.descriptor()
			}
		}
	}()
	err := j.Streamer.StreamLayers(ctx, func(diffID v1.Hash) bool { return todo[diffID] }, func(diffID v1.Hash, tar io.Reader) error {
		l, err := p.pack(ctx, diffID, tar)
		if err != nil {
			return fmt.Errorf("uploading layer %s: %w", diffID, err)
		}
		done[diffID] = l
		return nil
	})
	if err != nil {
		return err
	}
	for diffID := range todo {
		if _, ok := done[diffID]; !ok {
			return fmt.Errorf("the engine did not hand over layer %s", diffID)
		}
	}
	return nil
}
