package main

import (
	"context"
	"flag"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"bake/builder"
	"bake/internal/programtest"
)

// killAt is the journal write at which a bake of this test binary kills
// itself, counted from 1; odd writes before they happen, even ones after.
const killAt = "BAKE_TEST_KILL_AT"

// TestMain lets scripts and tests run bake: as this test binary, which can be
// told to die, under the name bake; and as the real, static binary, which is
// built on first use. More tests run at once than there are processors: they
// mostly wait, for processes, packages, machines or tasks.
func TestMain(m *testing.M) {
	if err := flag.Set("test.parallel", strconv.Itoa(3*runtime.GOMAXPROCS(0))); err != nil { // the command line overrides it
		panic(err)
	}
	testscript.Main(m, map[string]func(){
		"bake": func() { os.Exit(testBake(os.Args[1:])) },
	})
}

func testBake(args []string) int {
	a := &app{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, environ: os.Environ(), now: time.Now, asker: newAsker(os.Stdin, os.Stderr),
		journal: func(j builder.Journal) builder.Journal { return j }}
	if n, err := strconv.Atoi(os.Getenv(killAt)); err == nil {
		a.journal = func(j builder.Journal) builder.Journal { return &deadly{Journal: j, at: int64(n)} }
	}
	return a.main(args)
}

// deadly is a journal whose process is killed, as by kill -9, around its nth write.
type deadly struct {
	builder.Journal
	at   int64
	seen atomic.Int64
}

func (d *deadly) Append(ctx context.Context, e builder.Entry) error {
	d.die()
	err := d.Journal.Append(ctx, e)
	d.die()
	return err
}

func (d *deadly) die() {
	if d.seen.Add(1) == d.at {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // the signal is on its way
	}
}

// staticBake is the binary as users have it. It has to be static: the
// built-in base is made of it.
var staticBake = sync.OnceValues(func() (string, error) { return programtest.Build("bake/cmd/bake") })

func TestScripts(t *testing.T) {
	t.Parallel()
	bin, err := staticBake()
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "../../testdata/script",
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("PATH", filepath.Dir(bin)+string(os.PathListSeparator)+env.Getenv("PATH"))
			env.Setenv("HOME", env.WorkDir+"/home")
			env.Setenv("BAKE_CACHE_DIR", env.WorkDir+"/cache")
			env.Setenv("NO_COLOR", "1")
			return os.Mkdir(env.WorkDir+"/home", 0o700)
		},
	})
}
