package main

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

func TestPruneFilesTakesTheLeastRecentlyUsedFirst(t *testing.T) {
	for _, tc := range []struct {
		limit int64
		freed int64
		left  []string
	}{
		{100, 0, []string{"downloads/old", "downloads/sub/new", "systems/middle"}},
		{25, 10, []string{"downloads/sub/new", "systems/middle"}},
		{20, 10, []string{"downloads/sub/new", "systems/middle"}},
		{19, 20, []string{"downloads/sub/new"}},
		{0, 30, nil},
	} {
		dir := t.TempDir()
		for i, name := range []string{"downloads/old", "systems/middle", "downloads/sub/new", "other/untouched"} {
			path := filepath.Join(dir, name)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, make([]byte, 10), 0o600); err != nil {
				t.Fatal(err)
			}
			when := time.Unix(1700000000+int64(i), 0)
			if err := os.Chtimes(path, when, when); err != nil {
				t.Fatal(err)
			}
		}
		freed, err := pruneFiles(dir, []string{"downloads", "systems", "not-there"}, tc.limit)
		if err != nil || freed != tc.freed {
			t.Errorf("limit %d: freed %d, %v; want %d", tc.limit, freed, err, tc.freed)
		}
		var left []string
		for _, name := range []string{"downloads/old", "downloads/sub/new", "systems/middle"} {
			if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
				left = append(left, name)
			}
		}
		if !slices.Equal(left, tc.left) {
			t.Errorf("limit %d: left %q, want %q", tc.limit, left, tc.left)
		}
		if _, err := os.Stat(filepath.Join(dir, "other/untouched")); err != nil {
			t.Error(err)
		}
	}
}
