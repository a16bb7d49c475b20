package main

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"bake/builder"
	"bake/templates"
)

// A loaded template is one that has nothing wrong with it, and its plan, which
// is not pinned yet.
type loaded struct {
	template *templates.Template
	plan     *builder.Plan
}

// load reads, checks and compiles a template. All that is wrong with it comes
// back in one *templateError.
func (a *app) load(file string, cat builder.Catalog, opts templates.Options) (loaded, error) {
	if err := a.exists(file); err != nil {
		return loaded{}, err
	}
	t, diags := templates.Parse(file, cat.Language(), opts)
	return a.compile(file, t, diags, cat, opts)
}

// loadText is load for a template that is in no file; its relative paths start
// in the folder bake was started in.
func (a *app) loadText(name, text string, cat builder.Catalog, opts templates.Options) (loaded, error) {
	dir, err := os.Getwd()
	if err != nil {
		return loaded{}, err
	}
	t, diags := templates.ParseBytes(name, dir, []byte(text), cat.Language(), opts)
	return a.compile(name, t, diags, cat, opts)
}

func (a *app) compile(file string, t *templates.Template, diags templates.Diagnostics, cat builder.Catalog, opts templates.Options) (loaded, error) {
	if t == nil {
		return loaded{}, &templateError{diags.Sort()}
	}
	// What Compile finds is told together with what Parse found.
	plan, more := builder.Compile(t, cat)
	if diags = append(diags, more...).Sort(); len(diags) > 0 {
		return loaded{}, &templateError{diags}
	}
	plan.Created, plan.Run = a.created(opts.Now), t.Env.Run()
	if unknown := plan.Only(a.flags.only); len(unknown) > 0 {
		return loaded{}, usagef("the template has: "+strings.Join(names(t), ", "), "there is no build %q in %s", unknown[0], file)
	}
	return loaded{t, plan}, nil
}

// exists turns the commonest mistake, a word that is neither a command nor a
// file, into an answer.
func (a *app) exists(file string) error {
	info, err := os.Stat(file)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !strings.ContainsAny(file, "./"):
		return a.noCommandOrFile(file)
	case errors.Is(err, fs.ErrNotExist):
		return notThere(file)
	case err != nil:
		return usagef("", "reading template: %w", err)
	case info.IsDir():
		return isFolder(file)
	}
	return nil
}

func names(t *templates.Template) []string {
	var all []string
	for _, b := range t.Builds {
		all = append(all, b.Name)
	}
	return all
}

// created is the time that images get: SOURCE_DATE_EPOCH, so that the same
// inputs give the same bytes (https://reproducible-builds.org/specs/source-date-epoch),
// else now.
func (a *app) created(now time.Time) time.Time {
	if s, err := strconv.ParseInt(a.getenv("SOURCE_DATE_EPOCH"), 10, 64); err == nil {
		return time.Unix(s, 0).UTC()
	}
	return now.UTC().Truncate(time.Second)
}

// options are what a template is read with in this process.
func (a *app) options(file string, run builder.RunID, now time.Time) (templates.Options, error) {
	vars := map[string]string{}
	for _, v := range a.flags.vars {
		name, value, ok := strings.Cut(v, "=")
		if !ok {
			return templates.Options{}, usagef("write --var NAME=VALUE", "--var %q has no value", v)
		}
		vars[name] = value
	}
	dir := filepath.Dir(file)
	return templates.Options{
		Vars: vars, VarFiles: a.flags.varFiles, Environ: a.environ, RunID: string(run), Now: now,
		Git: func() templates.Git { return gitOf(dir) },
	}, nil
}

// gitOf describes the checkout that dir lies in; empty outside one, or without git.
func gitOf(dir string) templates.Git {
	return templates.Git{
		SHA:    git(dir, "rev-parse", "HEAD"),
		Branch: git(dir, "symbolic-ref", "--short", "-q", "HEAD"),
		Tag:    git(dir, "describe", "--tags", "--exact-match", "HEAD"),
	}
}

func git(dir string, args ...string) string {
	out, err := exec.Command("git", append([]string{"-C", dir}, args...)...).Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(out))
}

// annotations are what the checkout says of the images that are made from it
// (the OCI image-spec's predefined annotation keys).
func annotations(dir string) map[string]string {
	all := map[string]string{}
	if rev := git(dir, "rev-parse", "HEAD"); rev != "" {
		all["org.opencontainers.image.revision"] = rev
		if url := webURL(git(dir, "remote", "get-url", "origin")); url != "" {
			all["org.opencontainers.image.source"] = url
		}
	}
	return all
}

// webURL turns a git remote into an address without the login it may hold;
// empty if it is no address.
func webURL(remote string) string {
	if rest, ok := strings.CutPrefix(remote, "git@"); ok {
		remote = "https://" + strings.Replace(rest, ":", "/", 1)
	}
	scheme, rest, ok := strings.Cut(remote, "://")
	if !ok || (scheme != "https" && scheme != "http" && scheme != "ssh") {
		return ""
	}
	if host, path, ok := strings.Cut(rest, "/"); ok {
		if _, bare, found := strings.Cut(host, "@"); found {
			host = bare
		}
		rest = host + "/" + path
	}
	return "https://" + strings.TrimSuffix(rest, ".git")
}
