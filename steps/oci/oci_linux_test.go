package oci_test

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"bake/builder"
	"bake/builder/buildertest"
	"bake/steps/oci"
	"bake/templates"
)

const arch = runtime.GOARCH

func newWorld(t *testing.T) buildertest.World {
	img := busybox(t)
	base := func(context.Context) (v1.Image, error) { return img, nil }
	first := newEngine(t, oci.Options{})
	dir := first.Dir()
	every := 16
	if os.Getenv(asUser) != "" {
		every = 40
	}
	return buildertest.World{
		Catalog: func() builder.Catalog { return catalog(newEngine(t, oci.Options{Dir: dir}), base) },
		Source:  "box", Config: templates.JSON(`"box"`), Platform: here(t),
		Every:     every, // each one passes too, and takes minutes
		Leftovers: func(t testing.TB) []string { return leftovers(t, dir) },
	}
}

func TestSource(t *testing.T) { buildertest.Source(t, newWorld) }

// machine opens and dials a machine outside any run.
func machine(t *testing.T, e *oci.Engine, img v1.Image) (builder.Machine, builder.Communicator, *builder.Scope) {
	t.Helper()
	cat := catalog(e, func(context.Context) (v1.Image, error) { return img, nil })
	engine := &builder.Engine{Catalog: cat, Journal: new(buildertest.Memory), Sink: buildertest.Log(t), Env: new(templates.Env), WorkDir: t.TempDir()}
	sc := engine.Scope("r1", &builder.Plan{}, "a/open")
	src := cat.Sources["box"]()
	m, err := src.Open(t.Context(), sc, builder.Opening{Platform: here(t), Pin: builder.Pin{Digest: "sha256:box"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := engine.Release(context.Background()); err != nil {
			t.Error(err)
		}
	})
	comm, err := src.Dial(t.Context(), sc, m)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { comm.Close() })
	return m, comm, sc
}

func TestCommunicator(t *testing.T) {
	severalIDs(t)
	_, comm, _ := machine(t, newEngine(t, oci.Options{}), busybox(t))
	buildertest.Communicator(t, comm, "/tmp")
}

// scope is a scope of a run of its own, which is over when the test is.
func scope(t *testing.T, cat builder.Catalog) *builder.Scope {
	t.Helper()
	engine := &builder.Engine{Catalog: cat, Journal: new(buildertest.Memory), Sink: buildertest.Log(t), Env: new(templates.Env), WorkDir: t.TempDir()}
	t.Cleanup(func() {
		if err := engine.Release(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return engine.Scope(builder.RunID(filepath.Base(engine.WorkDir)+t.Name()+strconv.FormatInt(time.Now().UnixNano(), 10)), &builder.Plan{}, "a/open")
}
