package buildertest

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"bake/builder"
)

// Journal checks that a journal keeps what it was given, in order, under
// concurrent writers, and still has it when it is opened again. reopen ends
// the journal without ceremony, as a crash does, and opens it anew.
func Journal(t *testing.T, open func(t *testing.T) builder.Journal, reopen func(t *testing.T, j builder.Journal) builder.Journal) {
	t.Run("entries come back in order and whole", func(t *testing.T) { entriesComeBack(t, open(t), reopen) })
	t.Run("concurrent writers lose nothing", func(t *testing.T) { concurrentWriters(t, open(t), reopen) })
}

func entriesComeBack(t *testing.T, j builder.Journal, reopen func(t *testing.T, j builder.Journal) builder.Journal) {
	want := []builder.Entry{
		{Kind: builder.Began, Run: "r1", Time: time.Unix(1700000000, 5).UTC(), Plan: &builder.Plan{Name: "web"}},
		{Kind: builder.Intended, Step: "web/open", Resource: &builder.Resource{Kind: "container", Name: "m", Token: "t1"}},
		{Kind: builder.Created, Step: "web/open", Resource: &builder.Resource{Kind: "container", Name: "m", Token: "t1", ID: "ünï\n\x00code"}},
		{Kind: builder.StepEnd, Step: "web/open", State: &builder.State{Machine: &builder.Machine{ID: "m1"}}, Keep: []string{"t1"}},
	}
	for _, e := range want {
		if err := j.Append(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	check := func(j builder.Journal) {
		t.Helper()
		got, err := j.Entries(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("entries (-want +got):\n%s", diff)
		}
	}
	check(j)
	check(reopen(t, j))
}

func concurrentWriters(t *testing.T, j builder.Journal, reopen func(t *testing.T, j builder.Journal) builder.Journal) {
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := range 25 {
				e := builder.Entry{Kind: builder.Released, Step: builder.StepID(fmt.Sprintf("b%d/provision/%d", w, i)), Resource: &builder.Resource{}}
				if err := j.Append(t.Context(), e); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	entries, err := reopen(t, j).Entries(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	last := map[string]int{}
	for _, e := range entries {
		var n int
		if _, err := fmt.Sscanf(string(e.Step[len(e.Step.Build()):]), "/provision/%d", &n); err != nil {
			t.Fatal(err)
		}
		if prev, ok := last[e.Step.Build()]; ok && n != prev+1 {
			t.Errorf("%s: entry %d after %d", e.Step.Build(), n, prev)
		}
		last[e.Step.Build()] = n
	}
	if len(entries) != 200 {
		t.Errorf("%d entries, want 200", len(entries))
	}
}
