package registry

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/moby/sys/atomicwriter"
)

// A cache remembers small facts in files: manifests and configs by their
// digest, and what a layer became when it was compressed. Everything in it can
// be found out again, so what cannot be read is not there and what cannot be
// written is not remembered.
type cache struct{ dir string } // empty: remembers nothing

// maxCached is how big a manifest or config may be to be kept, in bytes.
const maxCached = 4 << 20

// document returns the bytes with that digest, or nil. They are checked: a
// damaged file is as good as none.
func (c *cache) document(h v1.Hash) []byte {
	if c.dir == "" || h.Algorithm != "sha256" {
		return nil
	}
	data, err := os.ReadFile(c.path("documents", h.Hex))
	if err != nil || hashOf(data) != h {
		return nil
	}
	return data
}

// keep remembers a manifest or config.
func (c *cache) keep(h v1.Hash, data []byte) {
	if len(data) <= maxCached {
		c.write(c.path("documents", h.Hex), data)
	}
}

// A packed layer is what became of a layer that was compressed for a push.
type packed struct {
	Digest    v1.Hash         `json:"digest"`
	Size      int64           `json:"size"`
	MediaType types.MediaType `json:"mediaType"`
}

// packed returns what the layer became the last time; that it is still in a
// registry only the registry can tell.
func (c *cache) packed(diffID v1.Hash, how Compression) (packed, bool) {
	var p packed
	ok := c.readJSON(c.path("packed", diffID.Hex+"."+string(how)), &p)
	return p, ok && p.Size > 0
}

func (c *cache) keepPacked(diffID v1.Hash, how Compression, p packed) {
	c.writeJSON(c.path("packed", diffID.Hex+"."+string(how)), p)
}

// seen returns the repositories of a registry that had the blob, newest first.
func (c *cache) seen(host string, h v1.Hash) []string {
	var repos []string
	c.readJSON(c.path("seen", c.name(host, h)), &repos)
	return repos
}

// maxSeen is how many repositories of a blob are remembered.
const maxSeen = 4

func (c *cache) keepSeen(host, repo string, h v1.Hash) {
	old := c.seen(host, h)
	if len(old) > 0 && old[0] == repo {
		return
	}
	repos := append([]string{repo}, slices.DeleteFunc(old, func(r string) bool { return r == repo })...)
	c.writeJSON(c.path("seen", c.name(host, h)), repos[:min(len(repos), maxSeen)])
}

func (c *cache) name(host string, h v1.Hash) string {
	sum := sha256.Sum256([]byte(host + "\x00" + h.String()))
	return hex.EncodeToString(sum[:])
}

func (c *cache) path(kind, name string) string { return filepath.Join(c.dir, kind, name) }

func (c *cache) readJSON(path string, into any) bool {
	if c.dir == "" {
		return false
	}
	data, err := os.ReadFile(path)
	return err == nil && json.Unmarshal(data, into) == nil
}

func (c *cache) writeJSON(path string, v any) {
	if data, err := json.Marshal(v); err == nil {
		c.write(path, data)
	}
}

// write replaces a file at once, so that no reader sees half of it.
func (c *cache) write(path string, data []byte) {
	if c.dir == "" || os.MkdirAll(filepath.Dir(path), 0o700) != nil {
		return
	}
	_ = atomicwriter.WriteFile(path, data, 0o600) // only slower without
}

func hashOf(data []byte) v1.Hash {
	sum := sha256.Sum256(data)
	return v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum[:])}
}
