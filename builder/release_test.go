package builder_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"bake/builder"
	"bake/builder/buildertest"
)

// slowCloud shows what it was asked for only at a certain time.
type slowCloud struct {
	shows   time.Time // zero: never
	lag     time.Duration
	deleted []string
	looked  int
}

func (c *slowCloud) Lag() time.Duration { return c.lag }

func (c *slowCloud) Find(context.Context, builder.Resource) (string, error) {
	c.looked++
	if c.shows.IsZero() || time.Now().Before(c.shows) {
		return "", builder.ErrNotFound
	}
	return "late-1", nil
}

func (c *slowCloud) Delete(_ context.Context, r builder.Resource) error {
	c.deleted = append(c.deleted, r.ID)
	return nil
}

func TestReleaseWaitsForWhatMayYetShow(t *testing.T) {
	for name, tc := range map[string]struct {
		shows    time.Duration // after the intent; 0: never
		released time.Duration // when it is released, after the intent
		found    bool
		took     time.Duration // at most
	}{
		"shows in time":       {3 * time.Second, 0, true, 4 * time.Second},
		"never shows":         {0, 0, false, 11 * time.Second},
		"old, there":          {time.Second, time.Hour, true, 0},
		"old, was never made": {0, time.Hour, false, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := &slowCloud{lag: 10 * time.Second}
				if tc.shows > 0 {
					c.shows = time.Now().Add(tc.shows)
				}
				j := new(buildertest.Memory)
				intent := builder.Entry{Time: time.Now(), Kind: builder.Intended, Step: "a/open", Resource: &builder.Resource{Kind: "slow", Token: "t"}}
				if err := j.Append(t.Context(), intent); err != nil {
					t.Fatal(err)
				}
				time.Sleep(tc.released)
				began := time.Now()
				e := &builder.Engine{Catalog: builder.Catalog{Cleaners: map[string]builder.Cleaner{"slow": c}}, Journal: j, Sink: buildertest.Discard}
				if err := e.Release(t.Context()); err != nil {
					t.Fatal(err)
				}
				if found := len(c.deleted) == 1; found != tc.found {
					t.Errorf("deleted %q, want it found: %v", c.deleted, tc.found)
				}
				if took := time.Since(began); took > tc.took {
					t.Errorf("took %s, want at most %s", took, tc.took)
				}
			})
		})
	}
}

func TestReleaseDoesNotWaitAfterACallThatWasRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &slowCloud{lag: 10 * time.Second}
		e := &builder.Engine{Catalog: builder.Catalog{Cleaners: map[string]builder.Cleaner{"slow": c}}, Journal: new(buildertest.Memory), Sink: buildertest.Discard}
		sc := e.Scope("r1", &builder.Plan{}, "a/open")
		refused := errors.New("no room")
		_, err := sc.Create(t.Context(), builder.Resource{Kind: "slow", Name: "x"}, func(context.Context, builder.Resource) (string, error) { return "", refused })
		if !errors.Is(err, refused) {
			t.Fatal(err)
		}
		began := time.Now()
		if err := e.Release(t.Context()); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took > 0 || c.looked != 1 {
			t.Errorf("took %s, looked %d times; want one look and no wait", took, c.looked)
		}
	})
}
