package sandbox

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gofrs/flock"
)

// temporary is what the folders of sandboxes in memory are called.
const temporary = "bake-sandbox-"

// sweep removes what sandboxes in memory left whose process was killed. One
// whose lock is held is in use; one that is a minute old may not have it yet;
// one with something mounted in it is left alone. It returns what it removed.
func sweep(dir string, now time.Time) (removed []string, err error) {
	found, err := filepath.Glob(filepath.Join(dir, temporary+"*"))
	if err != nil {
		return nil, err
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	for _, d := range found {
		info, err := os.Stat(filepath.Join(d, "lock"))
		if err != nil || now.Sub(info.ModTime()) < time.Minute || strings.Contains(string(mounts), " "+d+"/") {
			continue
		}
		held := flock.New(filepath.Join(d, "lock"))
		if ok, err := held.TryLock(); !ok || err != nil {
			continue // somebody's
		}
		err = os.RemoveAll(d)
		if err = errors.Join(err, held.Close()); err != nil {
			return removed, err
		}
		removed = append(removed, d)
	}
	return removed, nil
}
