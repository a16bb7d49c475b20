package registry

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sync/errgroup"

	"bake/builder"
)

// A Listing is what a repository holds: plain data.
type Listing struct {
	Repository string     `json:"repository"`
	Tags       []TagInfo  `json:"tags"`
	Total      int        `json:"total"`          // how many tags there are, listed or not
	Rate       *RateLimit `json:"rate,omitempty"` // of pulls, where the registry tells
}

// A TagInfo is one tag. What a registry does not tell is zero.
type TagInfo struct {
	Tag       string         `json:"tag"`
	Digest    string         `json:"digest,omitempty"`
	MediaType string         `json:"media_type,omitempty"`
	Created   time.Time      `json:"created,omitzero"` // newest of its images; on Docker Hub when it was pushed
	Images    []PlatformInfo `json:"images,omitempty"`
	Err       string         `json:"err,omitempty"` // why the rest is not known
}

// A PlatformInfo is the image for one platform.
type PlatformInfo struct {
	Platform builder.Platform `json:"platform,omitzero"`
	Digest   string           `json:"digest,omitempty"`
	Size     int64            `json:"size,omitempty"` // bytes of its layers, compressed
	Created  time.Time        `json:"created,omitzero"`
}

// Size is the size of the tag's biggest image, in bytes.
func (t TagInfo) Size() int64 {
	var n int64
	for _, i := range t.Images {
		n = max(n, i.Size)
	}
	return n
}

// RateLimit is how many pulls are left.
type RateLimit struct {
	Limit     int           `json:"limit"`
	Remaining int           `json:"remaining"`
	Window    time.Duration `json:"window"` // nanoseconds
}

// A List says what to list.
type List struct {
	Limit int    // tags to look at, the newest or last by name; 0: all
	Match string // only tags that contain this
}

// one is the listing of the one tag that ref names.
func (c *Client) one(ctx context.Context, ref Reference) (Listing, error) {
	s, err := c.session(ctx, ref, "pull")
	if err != nil {
		return Listing{}, err
	}
	if _, err := s.head(ctx, ref.Tag); err != nil {
		return Listing{}, err
	}
	return Listing{Repository: ref.Name(), Tags: []TagInfo{c.tag(ctx, s, ref)}, Total: 1}, nil
}

// maxPages ends a list whose pages never end.
const maxPages = 10_000

// List returns the tags of a repository with what they name, or of the one tag
// that ref has. Docker Hub is
// asked through its own API, which tells dates and sizes at once, or as any
// registry if that fails. Manifests are fetched several at a time and
// remembered; a tag whose manifest cannot be read says why.
func (c *Client) List(ctx context.Context, ref Reference, l List) (Listing, error) {
	if ref.Tag != "" {
		listing, err := c.one(ctx, ref)
		if err != nil {
			return Listing{}, &Error{Doing: "looking up " + ref.String(), Host: ref.Host(), Err: err}
		}
		return listing, nil
	}
	if ref.Host() == name.DefaultRegistry {
		if listing, err := c.listHub(ctx, ref, l); err == nil {
			listing.Rate = c.hubRate(ctx)
			return listing, nil
		} else if ctx.Err() != nil || errors.Is(err, builder.ErrNotFound) {
			return Listing{}, &Error{Doing: "listing " + ref.Name(), Host: ref.Host(), Err: err}
		}
	}
	listing, err := c.list(ctx, ref, l)
	if err != nil {
		return Listing{}, &Error{Doing: "listing " + ref.Name(), Host: ref.Host(), Err: err}
	}
	return listing, nil
}

func (c *Client) list(ctx context.Context, ref Reference, l List) (Listing, error) {
	s, err := c.session(ctx, ref, "pull")
	if err != nil {
		return Listing{}, err
	}
	tags, err := s.tags(ctx)
	if err != nil {
		return Listing{}, err
	}
	out := Listing{Repository: ref.Name(), Total: len(tags)}
	tags = choose(tags, l)
	out.Tags = make([]TagInfo, len(tags))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(2 * c.cfg.Jobs)
	for i, tag := range tags {
		g.Go(func() error {
			out.Tags[i] = c.tag(gctx, s, ref.WithTag(tag))
			return gctx.Err()
		})
	}
	if err := g.Wait(); err != nil {
		return Listing{}, err
	}
	sortTags(out.Tags)
	return out, nil
}

// choose keeps the tags that match, the last by name if there are too many.
func choose(tags []string, l List) []string {
	tags = slices.DeleteFunc(slices.Clone(tags), func(t string) bool { return !strings.Contains(t, l.Match) })
	slices.Sort(tags)
	if l.Limit > 0 && len(tags) > l.Limit {
		tags = tags[len(tags)-l.Limit:]
	}
	return tags
}

// sortTags puts the newest first; tags without a date come last, by name.
func sortTags(tags []TagInfo) {
	slices.SortFunc(tags, func(a, b TagInfo) int {
		return cmp.Or(b.Created.Compare(a.Created), cmp.Compare(a.Tag, b.Tag))
	})
}

// tags fetches all pages of a repository's tags.
func (s *session) tags(ctx context.Context) ([]string, error) {
	next := s.url("tags", "list")
	next.RawQuery = "n=1000"
	var all []string
	for range maxPages {
		resp, err := s.do(ctx, http.MethodGet, next.String(), nil, http.StatusOK)
		if err != nil {
			return nil, err
		}
		var page struct {
			Tags []string `json:"tags"`
		}
		err = json.NewDecoder(http.MaxBytesReader(nil, resp.Body, 64<<20)).Decode(&page)
		link := resp.Header.Get("Link")
		drain(resp)
		if err != nil {
			return nil, fmt.Errorf("list of tags: %w", err)
		}
		all = append(all, page.Tags...)
		following, ok := nextPage(resp.Request.URL, link)
		if !ok || following.String() == next.String() {
			break
		}
		next = following
	}
	slices.Sort(all)
	return slices.Compact(all), nil
}

// nextPage reads a Link header: `</v2/x/tags/list?last=b&n=1>; rel="next"`
// (RFC 8288). It never leads to another host.
func nextPage(from *url.URL, link string) (*url.URL, bool) {
	target, _, ok := strings.Cut(strings.TrimPrefix(strings.TrimSpace(link), "<"), ">")
	if link == "" || !ok {
		return nil, false
	}
	u, err := from.Parse(target)
	if err != nil {
		return nil, false
	}
	u.Scheme, u.Host = from.Scheme, from.Host // some registries behind proxies name themselves wrongly
	return u, true
}

// tag finds out what a tag names.
func (c *Client) tag(ctx context.Context, s *session, ref Reference) TagInfo {
	info := TagInfo{Tag: ref.Tag}
	m, err := c.manifest(ctx, s, ref)
	if err != nil {
		info.Err = describe(err)
		return info
	}
	info.Digest, info.MediaType = m.digest.String(), string(m.mediaType)
	images := []v1.Descriptor{{Digest: m.digest}}
	if m.index != nil {
		images = m.index.Manifests
	}
	for _, d := range images {
		if d.Platform != nil && d.Platform.OS == "unknown" {
			continue // a buildkit attestation
		}
		p, err := c.platform(ctx, s, ref, d)
		if err != nil {
			info.Err = describe(err)
			continue
		}
		info.Images = append(info.Images, p)
		if p.Created.After(info.Created) {
			info.Created = p.Created
		}
	}
	return info
}

// platform describes one image.
func (c *Client) platform(ctx context.Context, s *session, ref Reference, d v1.Descriptor) (PlatformInfo, error) {
	info := PlatformInfo{Digest: d.Digest.String(), Platform: platformOf(d.Platform)}
	m, err := c.manifest(ctx, s, ref.WithDigest(d.Digest.String()))
	if err != nil || m.image == nil {
		return info, err
	}
	for _, l := range m.image.Layers {
		info.Size += l.Size
	}
	if !m.image.Config.MediaType.IsConfig() {
		return info, nil // an artifact that is not an image
	}
	config, err := c.config(ctx, s, m)
	if err != nil {
		return info, err
	}
	info.Platform, info.Created = platformOf(config.Platform()), config.Created.Time.UTC()
	return info, nil
}

// hubTags is a page of Docker Hub's own API.
// https://docs.docker.com/reference/api/hub/latest/#tag/repositories
type hubTags struct {
	Count   int    `json:"count"`
	Next    string `json:"next"`
	Results []struct {
		Name        string    `json:"name"`
		Digest      string    `json:"digest"`
		MediaType   string    `json:"media_type"`
		LastUpdated time.Time `json:"last_updated"`
		Images      []struct {
			Architecture string    `json:"architecture"`
			OS           string    `json:"os"`
			Variant      string    `json:"variant"`
			Digest       string    `json:"digest"`
			Size         int64     `json:"size"`
			LastPushed   time.Time `json:"last_pushed"`
		} `json:"images"`
	} `json:"results"`
}

// listHub asks Docker Hub's own API, the newest first. Private repositories
// it does not know.
func (c *Client) listHub(ctx context.Context, ref Reference, l List) (Listing, error) {
	out := Listing{Repository: ref.Name()}
	query := url.Values{"page_size": {strconv.Itoa(pageSize(l))}, "ordering": {"last_updated"}}
	if l.Match != "" {
		query.Set("name", l.Match)
	}
	next := c.cfg.HubURL + "/v2/repositories/" + ref.Repository.RepositoryStr() + "/tags?" + query.Encode()
	for range maxPages {
		page, err := c.hubPage(ctx, next)
		if err != nil {
			return Listing{}, err
		}
		out.Total = page.Count
		for _, t := range page.Results {
			info := TagInfo{Tag: t.Name, Digest: t.Digest, MediaType: t.MediaType, Created: t.LastUpdated}
			for _, i := range t.Images {
				if i.OS == "unknown" {
					continue // a buildkit attestation
				}
				p := builder.Platform{OS: i.OS, Arch: i.Architecture, Variant: i.Variant}
				info.Images = append(info.Images, PlatformInfo{Platform: p, Digest: i.Digest, Size: i.Size, Created: i.LastPushed})
			}
			out.Tags = append(out.Tags, info)
		}
		if page.Next == "" || page.Next == next || l.Limit > 0 && len(out.Tags) >= l.Limit {
			break
		}
		next = page.Next
	}
	if l.Limit > 0 && len(out.Tags) > l.Limit {
		out.Tags = out.Tags[:l.Limit]
	}
	sortTags(out.Tags)
	return out, nil
}

func pageSize(l List) int {
	if l.Limit > 0 && l.Limit < 100 {
		return l.Limit
	}
	return 100
}

func (c *Client) hubPage(ctx context.Context, address string) (hubTags, error) {
	var page hubTags
	// Not the registry's session: no token of the registry goes to the API.
	s := &session{http: &http.Client{Transport: &plainGuard{inner: c.cfg.Transport}}, retry: c.cfg.Retry}
	resp, err := s.do(ctx, http.MethodGet, address, http.Header{"Accept": {"application/json"}}, http.StatusOK)
	if err != nil {
		return page, err
	}
	defer drain(resp)
	return page, json.NewDecoder(http.MaxBytesReader(nil, resp.Body, 64<<20)).Decode(&page)
}

// hubRate asks how many pulls are left; a HEAD request does not count as one.
// It returns nil if Docker Hub does not tell.
// https://docs.docker.com/docker-hub/usage/pulls/#view-pull-rate-and-limit
func (c *Client) hubRate(ctx context.Context) *RateLimit {
	ref, err := ParseReference("ratelimitpreview/test", false)
	if err != nil {
		return nil
	}
	s, err := c.session(ctx, ref, "pull")
	if err != nil {
		return nil
	}
	resp, err := s.do(ctx, http.MethodHead, s.url("manifests", ref.Tag).String(), http.Header{"Accept": manifestTypes()}, http.StatusOK, http.StatusTooManyRequests)
	if err != nil {
		return nil
	}
	drain(resp)
	return rateOf(resp.Header)
}

// rateOf reads headers like "RateLimit-Limit: 100;w=21600".
func rateOf(h http.Header) *RateLimit {
	limit, window, ok := rateHeader(h.Get("RateLimit-Limit"))
	if !ok {
		return nil
	}
	remaining, _, _ := rateHeader(h.Get("RateLimit-Remaining"))
	return &RateLimit{Limit: limit, Remaining: remaining, Window: window}
}

func rateHeader(value string) (n int, window time.Duration, ok bool) {
	count, rest, _ := strings.Cut(value, ";")
	n, err := strconv.Atoi(strings.TrimSpace(count))
	if err != nil {
		return 0, 0, false
	}
	if w, found := strings.CutPrefix(strings.TrimSpace(rest), "w="); found {
		if seconds, err := strconv.Atoi(w); err == nil {
			window = time.Duration(seconds) * time.Second
		}
	}
	return n, window, true
}
