package sandbox

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/gofrs/flock"
	"github.com/google/go-cmp/cmp"
)

func TestWhatAKilledSandboxLeftIsRemovedAndNothingElse(t *testing.T) {
	dir := t.TempDir()
	old := time.Now().Add(-time.Hour)
	for _, name := range []string{temporary + "killed", temporary + "running", temporary + "new", "other"} {
		if err := os.MkdirAll(filepath.Join(dir, name, "state"), 0o700); err != nil {
			t.Fatal(err)
		}
		lock := filepath.Join(dir, name, "lock")
		if err := os.WriteFile(lock, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if name != temporary+"new" {
			if err := os.Chtimes(lock, old, old); err != nil {
				t.Fatal(err)
			}
		}
	}
	held := flock.New(filepath.Join(dir, temporary+"running", "lock"))
	if ok, err := held.TryLock(); !ok {
		t.Fatal(err)
	}
	defer held.Close()
	removed, err := sweep(dir, time.Now())
	if diff := cmp.Diff([]string{filepath.Join(dir, temporary+"killed")}, removed); err != nil || diff != "" {
		t.Error(err, diff)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*")); len(left) != 3 {
		t.Errorf("left: %v", left)
	}
}
