package main

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestAFolderWithoutARequestIsNoRun(t *testing.T) {
	t.Chdir(t.TempDir())
	run, err := makeRunDir(newRunID(time.Now()), request{Template: "/t.yaml"})
	if err != nil {
		t.Fatal(err)
	}
	// As a kill leaves it, right after the folder was made.
	if err := os.MkdirAll(filepath.Join(runsDir, "20990101-000000-aaaa", "work"), 0o700); err != nil {
		t.Fatal(err)
	}
	if got, err := findRun("last"); err != nil || got != run {
		t.Errorf("got %q, %v; want %q", got, err, run)
	}
	if _, err := findRun("20990101"); err == nil {
		t.Error("a run that never began was found")
	}
}
