package provisioners

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"

	"bake/builder"
	"bake/internal/filetree"
	"bake/internal/lazyregexp"
	"bake/templates"
)

// Checkout puts the files of a git commit on the machine. They are cloned on
// this machine with its git and its credentials; the other one gets neither,
// nor the history.
type Checkout struct {
	Repo       string            `yaml:"repo" bake:"required" doc:"URL of the repository, or its path relative to the template."`
	Ref        string            `yaml:"ref" default:"HEAD" doc:"Branch, tag or commit (in full). Default: the repository's default branch."`
	To         string            `yaml:"to" bake:"required" doc:"The directory on the machine that gets the files."`
	Path       string            `yaml:"path" doc:"Only this directory of the repository."`
	Exclude    templates.Strings `yaml:"exclude" doc:"Patterns of files to leave out, as in .dockerignore."`
	Submodules bool              `yaml:"submodules" doc:"Check out submodules too."`
	Depth      int               `yaml:"depth" default:"1" min:"0" doc:"How much history to clone, 0 for all of it; it does not go to the machine, but filters and submodules may need it."`
	Owner      Owner             `yaml:"owner" doc:"Whom the files belong to: name or number, with :group if it is another. Default: root."`
}

var fullCommit = lazyregexp.New(`^[0-9a-f]{40}([0-9a-f]{24})?$`)

// Validate checks what the tags cannot say.
func (c *Checkout) Validate(b templates.Block) templates.Diagnostics {
	ds := absolute(b, "to", c.To)
	for key, v := range map[string]string{"repo": c.Repo, "ref": c.Ref} {
		if strings.HasPrefix(v, "-") || strings.ContainsAny(v, "\n\x00") {
			ds = append(ds, b.At(key).Errorf("%s must not begin with a dash: %q", key, v))
		}
	}
	if c.Path != "" && !filepath.IsLocal(c.Path) {
		ds = append(ds, b.At("path").Errorf("path must be inside the repository, not %q", c.Path))
	}
	return ds
}

// Check reports a missing git.
func (c *Checkout) Check(_ string, b templates.Block) templates.Diagnostics {
	if _, err := exec.LookPath("git"); err != nil {
		d := b.Errorf("git is not installed on this machine")
		d.Hint = "checkout clones here, so that the image needs no git: install it"
		return templates.Diagnostics{d}
	}
	return nil
}

// Fingerprint is the commit that ref means now.
func (c *Checkout) Fingerprint(ctx context.Context, dir string) (builder.Digest, error) {
	commit, err := c.commit(ctx, dir)
	if err != nil {
		return "", err
	}
	return digestText("commit", commit), nil
}

// commit asks the repository what ref means; a full commit means itself.
func (c *Checkout) commit(ctx context.Context, dir string) (string, error) {
	if fullCommit.MatchString(c.Ref) {
		return c.Ref, nil
	}
	out, err := git(ctx, dir, "ls-remote", "--", c.Repo)
	if err != nil {
		return "", err
	}
	found := map[string]string{}
	for line := range strings.Lines(out) {
		if commit, name, ok := strings.Cut(strings.TrimSpace(line), "\t"); ok {
			found[name] = commit
		}
	}
	// An annotated tag is an object of its own; ^{} is the commit it is on.
	for _, name := range []string{c.Ref, "refs/tags/" + c.Ref + "^{}", "refs/tags/" + c.Ref, "refs/heads/" + c.Ref, "refs/" + c.Ref} {
		if commit := found[name]; commit != "" {
			return commit, nil
		}
	}
	return "", fmt.Errorf("%s: it has no branch or tag %q; a commit must be written in full", c.Repo, c.Ref)
}

// Provision clones here and copies what is missing or different.
func (c *Checkout) Provision(ctx context.Context, sc *builder.Scope, comm builder.Communicator) (builder.Outcome, error) {
	commit, err := c.commit(ctx, sc.Dir)
	if err != nil {
		return builder.Outcome{}, err
	}
	clone, err := os.MkdirTemp(sc.WorkDir, "checkout-")
	if err != nil {
		return builder.Outcome{}, err
	}
	defer os.RemoveAll(clone)
	if err := c.clone(ctx, sc.Dir, clone, commit); err != nil {
		return builder.Outcome{}, err
	}
	uid, gid, err := c.Owner.ids(ctx, comm)
	if err != nil {
		return builder.Outcome{}, err
	}
	t, done, err := c.tree(filepath.Join(clone, c.Path), uid, gid)
	if err != nil {
		return builder.Outcome{}, fmt.Errorf("%s at %s: %w", c.Repo, commit, err)
	}
	defer done()
	out, err := t.ensure(ctx, sc, comm)
	out.Note = strings.TrimSuffix("commit "+commit[:12]+"; "+out.Note, "; ")
	return out, err
}

func (c *Checkout) clone(ctx context.Context, dir, clone, commit string) error {
	repo := c.Repo
	if !strings.Contains(repo, ":") && !filepath.IsAbs(repo) {
		repo = filepath.Join(dir, repo)
	}
	if _, err := git(ctx, clone, "init", "--quiet"); err != nil {
		return err
	}
	// Submodules may be named relative to where their parent came from.
	if _, err := git(ctx, clone, "remote", "add", "--", "origin", repo); err != nil {
		return err
	}
	fetch := []string{"fetch", "--quiet", "--no-tags"}
	if c.Depth > 0 {
		fetch = append(fetch, fmt.Sprintf("--depth=%d", c.Depth))
	}
	_, err := git(ctx, clone, append(fetch, "origin", commit)...)
	if err != nil && c.Ref != commit {
		// An old server gives commits only by the names it lists.
		_, err = git(ctx, clone, append(fetch, "origin", c.Ref)...)
	}
	if err != nil {
		return err
	}
	if _, err := git(ctx, clone, "checkout", "--quiet", "--detach", commit); err != nil {
		return err
	}
	if c.Submodules {
		_, err = git(ctx, clone, "submodule", "--quiet", "update", "--init", "--recursive", "--depth=1")
	}
	return err
}

// tree returns the files of the clone, and what to call when they were read.
func (c *Checkout) tree(clone string, uid, gid int) (*tree, func(), error) {
	s, err := filetree.Open(clone, ".", filetree.Options{Exclude: append([]string{"**/.git"}, c.Exclude...), AllFiles: true})
	if err != nil {
		return nil, nil, err
	}
	top := path.Clean(c.To)
	t := &tree{dir: path.Dir(top)}
	base := path.Base(top)
	if top == "/" {
		base = "."
	} else {
		t.entries = append(t.entries, builder.File{Path: base, Mode: fs.ModeDir | 0o755, UID: uid, GID: gid, ModTime: now()})
	}
	for e, err := range s.Walk(s.Sources[0]) {
		if err != nil {
			s.Close()
			return nil, nil, err
		}
		f := builder.File{Path: path.Join(base, e.Path), Mode: e.Mode, UID: uid, GID: gid, Size: e.Size, Link: e.Link, ModTime: now()}
		if e.Mode.IsRegular() {
			f.Open = func() (io.ReadCloser, error) { return e.Open() }
		}
		t.entries = append(t.entries, f)
	}
	return t, func() { s.Close() }, nil
}

// A GitError is a git command of this machine that failed.
type GitError struct {
	Command string
	Said    string
	Err     error
}

func (e *GitError) Error() string {
	return fmt.Sprintf("git %s: %v%s", e.Command, e.Err, lastLine(e.Said))
}

func (e *GitError) Unwrap() error { return e.Err }

// Hint tells what to do about it.
func (e *GitError) Hint() string {
	return "git ran on this machine with your own configuration; it must not need to ask for a password"
}

// git runs a git command here and returns what it prints.
func git(ctx context.Context, dir string, args ...string) (string, error) {
	// Line ends and modes are those of the repository, whatever this user has configured.
	all := append([]string{"-c", "core.autocrlf=false", "-c", "core.fileMode=true", "-c", "core.symlinks=true", "-c", "advice.detachedHead=false"}, args...)
	cmd := exec.CommandContext(ctx, "git", all...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_TERMINAL_PROMPT=0", "GIT_LFS_SKIP_SMUDGE=0", "LC_ALL=C")
	if os.Getenv("GIT_SSH_COMMAND") == "" {
		cmd.Env = append(cmd.Env, "GIT_SSH_COMMAND=ssh -o BatchMode=yes")
	}
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	err := runHere(cmd, "")
	if ctx.Err() != nil {
		return "", ctx.Err()
	}
	if exit, ok := errors.AsType[*builder.ExitError](err); ok {
		return "", &GitError{Command: args[0], Said: said.String(), Err: exit}
	}
	return out.String(), err
}
