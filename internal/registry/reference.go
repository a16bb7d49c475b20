package registry

import (
	"fmt"
	"net"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
)

// A Reference names a repository and possibly one image in it.
type Reference struct {
	Repository name.Repository
	Tag        string // empty if Digest says it all, or for a repository
	Digest     string // "sha256:..."; it wins over Tag
	// Insecure allows plain HTTP to a registry that is not on this machine.
	Insecure bool

	typed string // what the user wrote, without tag and digest
}

// ParseReference reads [HOST[:PORT]/]PATH[:TAG][@DIGEST] as docker does: no
// host means Docker Hub, no path of its own there means library/. The tag is
// "latest" if there is neither a tag nor a digest.
func ParseReference(s string, insecure bool) (Reference, error) {
	r, err := ParseRepository(s, insecure)
	if err != nil {
		return Reference{}, err
	}
	if r.Tag == "" && r.Digest == "" {
		r.Tag = "latest"
	}
	return r, nil
}

// ParseRepository is ParseReference without a default tag.
func ParseRepository(s string, insecure bool) (Reference, error) {
	if strings.Contains(s, "://") {
		return Reference{}, fmt.Errorf("image name %q: a name has no %q", s, s[:strings.Index(s, "://")+3])
	}
	rest, digest, hasDigest := strings.Cut(s, "@")
	path, tag := splitTag(rest)
	ref := Reference{Tag: tag, Digest: digest, Insecure: insecure, typed: path}
	options := []name.Option{name.WeakValidation}
	if insecure || isLoopback(hostOf(path)) {
		options = append(options, name.Insecure)
	}
	repo, err := name.NewRepository(path, options...)
	if err != nil {
		return Reference{}, fmt.Errorf("image name %q: %w", s, err)
	}
	ref.Repository = repo
	if tag != "" {
		if _, err := name.NewTag(path+":"+tag, options...); err != nil {
			return Reference{}, fmt.Errorf("image name %q: %w", s, err)
		}
	}
	if hasDigest {
		if _, err := name.NewDigest(path+"@"+digest, options...); err != nil {
			return Reference{}, fmt.Errorf("image name %q: %w", s, err)
		}
	}
	return ref, nil
}

// splitTag cuts the tag off a name; the colon of a port is not one.
func splitTag(s string) (path, tag string) {
	i := strings.LastIndexByte(s, ':')
	if i < 0 || strings.Contains(s[i:], "/") {
		return s, ""
	}
	return s[:i], s[i+1:]
}

// hostOf returns what of a name is a registry's host, or "".
func hostOf(path string) string {
	host, _, found := strings.Cut(path, "/")
	if !found || !strings.ContainsAny(host, ".:") && host != "localhost" {
		return ""
	}
	return host
}

// isLoopback reports whether host, with or without a port, is this machine.
func isLoopback(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	ip := net.ParseIP(strings.Trim(host, "[]"))
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// String returns the name as the user wrote it, with tag and digest.
func (r Reference) String() string {
	s := r.Name()
	if r.Tag != "" {
		s += ":" + r.Tag
	}
	if r.Digest != "" {
		s += "@" + r.Digest
	}
	return s
}

// Name returns the repository as the user wrote it.
func (r Reference) Name() string {
	if r.typed != "" {
		return r.typed
	}
	return r.Repository.String()
}

// Host is the registry's host and port: "index.docker.io" for Docker Hub.
func (r Reference) Host() string { return r.Repository.RegistryStr() }

// WithTag returns the reference to another tag of the same repository.
func (r Reference) WithTag(tag string) Reference {
	r.Tag, r.Digest = tag, ""
	return r
}

// WithDigest returns the same reference held to one content.
func (r Reference) WithDigest(digest string) Reference {
	r.Digest = digest
	return r
}

// On returns the same image's name on a mirror of its registry, or on one that
// stands in for it: a host, with a path before the image's own if need be.
func (r Reference) On(mirror string) (Reference, error) {
	mirror = strings.TrimSuffix(mirror, "/")
	insecure := r.Insecure
	if rest, ok := strings.CutPrefix(mirror, "http://"); ok {
		mirror, insecure = rest, true // a mirror written with its scheme asks for it
	}
	mirror = strings.TrimPrefix(mirror, "https://")
	m, err := ParseRepository(mirror+"/"+r.Repository.RepositoryStr(), insecure)
	m.Tag, m.Digest = r.Tag, r.Digest
	return m, err
}
