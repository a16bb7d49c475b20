package container

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"

	"github.com/moby/sys/atomicwriter"
)

// A memory keeps small facts of earlier runs in files. It is a convenience:
// what cannot be read was not there, what cannot be written is forgotten.
type memory struct{ dir string }

func (d Deps) memory() memory {
	if d.CacheDir == "" {
		return memory{}
	}
	return memory{filepath.Join(d.CacheDir, "pins")}
}

func (m memory) path(key string) string {
	sum := sha256.Sum256([]byte(key))
	return filepath.Join(m.dir, hex.EncodeToString(sum[:16])+".json")
}

func (m memory) recall(key string, into any) bool {
	if m.dir == "" {
		return false
	}
	data, err := os.ReadFile(m.path(key))
	return err == nil && json.Unmarshal(data, into) == nil
}

func (m memory) remember(key string, v any) {
	data, err := json.Marshal(v)
	if m.dir == "" || err != nil || os.MkdirAll(m.dir, 0o700) != nil {
		return
	}
	_ = atomicwriter.WriteFile(m.path(key), data, 0o600) // a convenience
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
