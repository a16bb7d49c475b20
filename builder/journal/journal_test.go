package journal_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"bake/builder"
	"bake/builder/buildertest"
	"bake/builder/journal"
)

func path(t *testing.T) string { return filepath.Join(t.TempDir(), "journal.jsonl") }

func mustOpen(t *testing.T, p string) *journal.File {
	t.Helper()
	j, err := journal.Open(p)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = j.Close() })
	return j
}

func TestConformance(t *testing.T) {
	paths := map[builder.Journal]string{}
	buildertest.Journal(t,
		func(t *testing.T) builder.Journal {
			p := path(t)
			j := mustOpen(t, p)
			paths[j] = p
			return j
		},
		func(t *testing.T, j builder.Journal) builder.Journal {
			if err := j.(*journal.File).Close(); err != nil {
				t.Fatal(err)
			}
			return mustOpen(t, paths[j])
		})
}

func TestSecondWriterIsRefused(t *testing.T) {
	p := path(t)
	j := mustOpen(t, p)
	if _, err := journal.Open(p); !errors.Is(err, journal.ErrLocked) {
		t.Errorf("second Open: %v, want ErrLocked", err)
	}
	if !journal.Locked(p) {
		t.Error("an open journal is not reported as locked")
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if journal.Locked(p) {
		t.Error("a closed journal is reported as locked")
	}
	mustOpen(t, p)
}

func TestHalfWrittenLastLineIsCutOff(t *testing.T) {
	whole := `{"kind":"began","run":"r1"}` + "\n"
	for name, tail := range map[string]string{
		"half a line":     `{"kind":"inten`,
		"unwritten block": "\x00\x00\x00\x00\n",
		"nothing":         "",
	} {
		t.Run(name, func(t *testing.T) {
			p := path(t)
			if err := os.WriteFile(p, []byte(whole+tail), 0o600); err != nil {
				t.Fatal(err)
			}
			j := mustOpen(t, p)
			if err := j.Append(t.Context(), builder.Entry{Kind: builder.Ended}); err != nil {
				t.Fatal(err)
			}
			entries, err := journal.Read(p)
			if err != nil {
				t.Fatal(err)
			}
			if len(entries) != 2 || entries[0].Run != "r1" || entries[1].Kind != builder.Ended {
				t.Errorf("entries %+v", entries)
			}
		})
	}
}

func TestDamageInTheMiddleIsAnError(t *testing.T) {
	p := path(t)
	if err := os.WriteFile(p, []byte("{\"kind\":\"began\"}\nrubbish\n{\"kind\":\"ended\"}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := journal.Open(p); err == nil {
		t.Error("opened a damaged journal")
	}
	if journal.Locked(p) {
		t.Error("the failed Open kept the lock")
	}
}

func BenchmarkAppend(b *testing.B) {
	j, err := journal.Open(filepath.Join(b.TempDir(), "journal.jsonl"))
	if err != nil {
		b.Fatal(err)
	}
	defer j.Close()
	for b.Loop() {
		if err := j.Append(b.Context(), builder.Entry{Kind: builder.StepEnd, Step: "web/provision/1", State: &builder.State{}}); err != nil {
			b.Fatal(err)
		}
	}
}
