package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// fileCaches are the folders of the cache that hold plain files, each of which
// may be gone at any time: downloads and bootstrapped systems, and what is
// known of registries and of files that steps bring. The engines keep their own order in theirs.
func fileCaches() []string { return []string{"downloads", "systems", "pins", "registry", "digests"} }

// pruneFiles removes files in folders of dir until the rest takes at most limit
// bytes, the least recently used first. It returns how many bytes it removed.
func pruneFiles(dir string, folders []string, limit int64) (freed int64, err error) {
	type file struct {
		path string
		size int64
		used time.Time
	}
	var files []file
	var total int64
	for _, folder := range folders {
		err := filepath.WalkDir(filepath.Join(dir, folder), func(path string, d fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			info, err := d.Info()
			if err == nil {
				files = append(files, file{path, info.Size(), info.ModTime()})
				total += info.Size()
			}
			return nil
		})
		if err != nil {
			return freed, err
		}
	}
	slices.SortFunc(files, func(a, b file) int { return a.used.Compare(b.used) })
	for _, f := range files {
		if total <= limit {
			break
		}
		if err := os.Remove(f.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return freed, err
		}
		total -= f.size
		freed += f.size
	}
	return freed, nil
}
