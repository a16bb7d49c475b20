package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"time"

	"bake/builder"
	"bake/internal/builtin"
	"bake/internal/filetree"
	"bake/internal/registry"
	"bake/provisioners"
	"bake/steps"
	"bake/steps/amazon"
	"bake/steps/amazon/ecr"
	"bake/steps/container"
	"bake/steps/docker"
	"bake/steps/oci"
	"bake/steps/publish"
	"bake/steps/ssh"
)

// wiring is everything that serves a template's kinds, joined. This file is
// the only place that knows all packages. Nothing connects and nothing is
// opened before it is needed.
type wiring struct {
	catalog    builder.Catalog
	cacheDir   string
	registries *registry.Client
	embedded   *oci.Engine
	docker     *docker.Engine
	cloud      *amazon.Cloud
	ecr        ecr.Deps
	choice     func() string // the engine that new machines are made on
	stop       func()        // ends the sandbox, if this process started one
}

// offlineCatalog is the vocabulary alone: enough to read a template.
func offlineCatalog() (builder.Catalog, error) {
	w, err := new(app).connect("", "embedded", "")
	if err != nil {
		return builder.Catalog{}, err
	}
	return w.catalog, nil
}

// wire joins the packages for commands that do something.
func (a *app) wire() (*wiring, error) { return a.wireIn(a.flags.sandbox) }

// wireIn is wire with the sandbox that a run was in; empty: AWS itself.
func (a *app) wireIn(sandbox string) (*wiring, error) {
	dir, err := a.cacheDir()
	if err != nil {
		return nil, err
	}
	endpoint, stop, err := a.openSandbox(sandbox)
	if err != nil {
		return nil, err
	}
	w, err := a.connect(dir, a.flags.engine, endpoint)
	if err != nil {
		stop()
		return nil, err
	}
	w.stop = stop
	return w, nil
}

// cacheDir is where layers, downloads and what names meant are kept:
// $BAKE_CACHE_DIR, or bake's folder in the user's cache directory.
func (a *app) cacheDir() (string, error) {
	if dir := a.getenv("BAKE_CACHE_DIR"); dir != "" {
		return filepath.Abs(dir)
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", usagef("set BAKE_CACHE_DIR or HOME", "there is no folder for the cache: %w", err)
	}
	return filepath.Join(dir, "bake"), nil
}

// connect joins the packages. endpoint answers instead of AWS, if it is not empty.
func (a *app) connect(dir, engine, endpoint string) (*wiring, error) {
	embedded, err := oci.New(oci.Options{Dir: filepath.Join(dir, "store"), Exact: a.getenv("SOURCE_DATE_EPOCH") != ""})
	if err != nil {
		return nil, err
	}
	w := &wiring{cacheDir: dir, embedded: embedded, cloud: a.cloud(dir, endpoint), stop: func() {}}
	keys := ecr.Keychain{Tokens: ecr.NewTokens(w.cloud)}
	w.docker = docker.New(docker.Options{Getenv: a.getenv, Password: keys.Password})
	w.registries = registry.New(registry.Config{Keychain: keys, Route: keys.Tokens.Route, CacheDir: below(dir, "registry")})
	w.ecr = ecr.Deps{Cloud: w.cloud, Tokens: keys.Tokens, Registry: w.registries}
	w.choice = sync.OnceValue(func() string { return w.choose(engine) })
	deps := w.deps(dir)
	if a.asker != nil {
		deps.Passphrases = ssh.NewPassphrases(a.asker.secret)
	}
	deps.Container.Cache = a.getenv("BAKE_PULL_THROUGH")
	w.catalog = builder.Catalog{
		Sources:      steps.Sources(deps),
		Provisioners: provisioners.All(provisioners.Deps{Sums: a.sums(dir)}),
		Outputs:      steps.Outputs(deps),
		Cleaners:     steps.Cleaners(deps),
		Images:       map[string]builder.ImageOpener{w.docker.Name(): w.docker, w.embedded.Name(): w.embedded, registry.Engine: w.registries},
	}
	return w, nil
}

func (w *wiring) deps(dir string) steps.Deps {
	ping := func(ctx context.Context) (*docker.Engine, error) { return w.docker, w.docker.Ping(ctx) }
	return steps.Deps{
		Container: container.Deps{
			Engine: func(ctx context.Context, name string) (container.Engine, error) {
				if name == "" {
					name = w.choice()
				}
				if name == w.docker.Name() {
					return ping(ctx)
				}
				return w.embedded, nil
			},
			Registry:    w.registries,
			CacheDir:    dir,
			Local:       func(ctx context.Context) (container.Local, error) { return ping(ctx) },
			Builtin:     builtin.Image,
			PullThrough: w.ecr.PullThrough,
		},
		Publish: publish.Deps{
			Registry: w.registries,
			Loader:   func(ctx context.Context) (publish.Loader, error) { return ping(ctx) },
		},
		Amazon:   w.cloud,
		ECR:      w.ecr,
		Cleaners: []map[string]builder.Cleaner{w.docker.Cleaners(), w.embedded.Cleaners()},
	}
}

// sums remember the digests of files that steps bring; --no-cache reads them all.
func (a *app) sums(dir string) *filetree.Sums {
	if a.flags.noCache {
		return nil
	}
	return filetree.NewSums(below(dir, "digests"), a.now)
}

// below is a folder in the cache; none if there is no cache.
func below(dir, name string) string {
	if dir == "" {
		return ""
	}
	return filepath.Join(dir, name)
}

// choose turns auto into an engine: Docker if one answers at once.
func (w *wiring) choose(engine string) string {
	if engine != "auto" {
		return engine
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if w.docker.Ping(ctx) == nil {
		return w.docker.Name()
	}
	return w.embedded.Name()
}

// hasDocker reports whether a Docker engine answers, for what is only worth
// doing if one does.
func (w *wiring) hasDocker(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	return w.docker.Ping(ctx) == nil
}

// prune brings the caches down to limit bytes each, layers of both engines and
// downloads, and returns how many bytes that freed. What is used least
// recently goes first; what other processes use stays.
func (w *wiring) prune(ctx context.Context, limit int64) (int64, error) {
	used, err := w.embedded.Prune(ctx, limit)
	freed, ferr := pruneFiles(w.cacheDir, fileCaches(), limit)
	freed, err = freed+used.Freed, errors.Join(err, ferr)
	if !w.hasDocker(ctx) {
		return freed, err
	}
	more, derr := w.docker.Prune(ctx, limit)
	return freed + more, errors.Join(err, derr)
}

// close ends what the engines of this process hold. What fails here a later
// process finds and clears away.
func (w *wiring) close() {
	_ = w.embedded.Close()
	w.stop()
}
