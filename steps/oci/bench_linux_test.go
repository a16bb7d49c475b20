package oci_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"bake/builder"
	"bake/builder/buildertest"
	"bake/steps/oci"
	"bake/templates"
)

// BenchmarkTwentySteps is a build of twenty trivial steps, each a layer, from
// the opened machine to the recorded image, without the cost of starting bake.
func BenchmarkTwentySteps(b *testing.B) { benchmarkSteps(b, 20) }

// BenchmarkOneStep is the same with one step.
func BenchmarkOneStep(b *testing.B) { benchmarkSteps(b, 1) }

func benchmarkSteps(b *testing.B, steps int) {
	e := newEngine(b, oci.Options{})
	img := busybox(b)
	cat := catalog(e, func(context.Context) (v1.Image, error) { return img, nil })
	engine := &builder.Engine{Catalog: cat, Journal: new(buildertest.Memory), Sink: buildertest.Discard, Env: new(templates.Env), WorkDir: b.TempDir()}
	src := cat.Sources["box"]().(*boxSource)
	run := 0
	var stepping, freezing, releasing time.Duration
	for b.Loop() {
		run++
		began := time.Now()
		sc := engine.Scope(builder.RunID(fmt.Sprint("r", run)), &builder.Plan{}, "a/open")
		m, err := src.Open(b.Context(), sc, builder.Opening{Platform: here(b), Pin: builder.Pin{Digest: "sha256:box"}})
		for i := 0; i < steps && err == nil; i++ {
			m, err = step(b.Context(), src, sc, m, fmt.Sprintf("echo %d >/f%d", i, i), fmt.Sprint(run, i))
		}
		if err != nil {
			b.Fatal(err)
		}
		stepping += time.Since(began)
		began = time.Now()
		a, err := src.Freeze(b.Context(), sc, m, builder.Freezing{Key: "sha256:k", Build: "a", Created: time.Now()})
		if err == nil {
			err = src.Record(b.Context(), sc, builder.Digest(fmt.Sprint("sha256:", run)), a)
		}
		freezing += time.Since(began)
		began = time.Now()
		if err == nil {
			err = engine.Release(b.Context())
		}
		if err != nil {
			b.Fatal(err)
		}
		releasing += time.Since(began)
	}
	for name, d := range map[string]time.Duration{"steps": stepping, "freeze": freezing, "release": releasing} {
		b.ReportMetric(float64(d.Milliseconds())/float64(run), "ms-"+name+"/op")
	}
}

// step runs one script and saves its result.
func step(ctx context.Context, src *boxSource, sc *builder.Scope, m builder.Machine, script, key string) (builder.Machine, error) {
	comm, err := src.Dial(ctx, sc, m)
	if err != nil {
		return m, err
	}
	if err := comm.Run(ctx, builder.Command{Script: script}); err != nil {
		comm.Close()
		return m, err
	}
	if err := comm.Close(); err != nil {
		return m, err
	}
	return src.Snapshot(ctx, sc, m, builder.SnapshotKey{Key: builder.Digest(key), Step: script})
}
