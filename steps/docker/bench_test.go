package docker

import (
	"context"
	"fmt"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"bake/builder"
	"bake/builder/buildertest"
)

// BenchmarkSteps builds an image of 20 trivial steps: the sticks beside it are
// in the benchmarks of the whole command.
func BenchmarkSteps(b *testing.B) {
	for _, squash := range []bool{true, false} {
		b.Run(fmt.Sprintf("squash=%t", squash), func(b *testing.B) {
			e := engine(b)
			img := busybox(b, v1.Config{Env: []string{"PATH=/bin"}})
			id, err := img.ConfigName()
			if err != nil {
				b.Fatal(err)
			}
			open := func(context.Context) (v1.Image, error) { return img, nil }
			for b.Loop() {
				sc := buildertest.Scope(b, builder.Catalog{Cleaners: e.Cleaners()}, b.TempDir())
				m, err := e.Open(b.Context(), sc, builder.Opening{Platform: platform, Pin: builder.Pin{Digest: builder.Digest(id.String())}, Squash: squash}, open, "")
				if err != nil {
					b.Fatal(err)
				}
				for i := range 20 {
					m = step(b, e, sc, m, fmt.Sprintf("echo %d >/file%d", b.N, i), builder.SnapshotKey{Key: builder.Digest(fmt.Sprint(b.N, i, time.Now())), Step: "echo"})
				}
				if _, err := e.Freeze(b.Context(), sc, m, builder.Freezing{Build: "test", Squash: squash, Created: time.Unix(1700000000, 0)}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// step runs a script on the machine and saves the result.
func step(t testing.TB, e *Engine, sc *builder.Scope, m builder.Machine, script string, key builder.SnapshotKey) builder.Machine {
	t.Helper()
	comm, err := e.Dial(t.Context(), sc, m)
	if err != nil {
		t.Fatal(err)
	}
	if err := comm.Run(t.Context(), builder.Command{Script: script}); err != nil {
		t.Fatal(err)
	}
	if err := comm.Close(); err != nil {
		t.Fatal(err)
	}
	if m, err = e.Snapshot(t.Context(), sc, m, key); err != nil {
		t.Fatal(err)
	}
	return m
}
