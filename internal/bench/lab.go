package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// A benchmark is one row of the table: the same work by several tools.
type benchmark struct {
	section, name string
	contestants   []contestant
}

// A contestant is one tool doing the work.
type contestant struct {
	tool  string // "bake embedded", "docker build"
	needs string // program that must be installed; "" for bake
	// setup is done once, before is done before each run; neither is in the time.
	setup, before func(ctx context.Context) error
	// command is made anew for each run.
	command func() *exec.Cmd
	once    bool // one run is enough: it takes long
	note    string
	cloud   time.Duration                      // what of a run is not the tool's own: it waits for states of AWS
	calls   func(context.Context) (int, error) // how many calls of AWS the last run made; nil: it makes none
}

// A lab is what the contestants share: the engine, the base images, the data.
type lab struct {
	settings
	work    string
	tools   toolbox
	closers []func() error
	made    map[string]bool // what once did already
	docker  string          // host of the private engine
	count   int             // of anything that must be new each time
}

// close stops what was started, last first, and removes the working directory.
func (l *lab) close() error {
	var errs []error
	for _, c := range slices.Backward(l.closers) {
		errs = append(errs, c())
	}
	return errors.Join(append(errs, os.RemoveAll(l.work))...)
}

// once does something the first time only.
func (l *lab) once(what string, do func() error) error {
	if l.made[what] {
		return nil
	}
	if err := do(); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	if l.made == nil {
		l.made = map[string]bool{}
	}
	l.made[what] = true
	return nil
}

// fresh returns a number that was not returned before.
func (l *lab) fresh() int {
	l.count++
	return l.count
}

// path is a file or directory of the working directory.
func (l *lab) path(parts ...string) string {
	return filepath.Join(append([]string{l.work}, parts...)...)
}

// file writes a file of the working directory and returns its path.
func (l *lab) file(name, text string) (string, error) {
	path := l.path(name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return "", err
	}
	return path, os.WriteFile(path, []byte(text), 0o644)
}

// cmd is a command in a clean environment whose HOME is empty and the lab's own.
func (l *lab) cmd(program string, args ...string) *exec.Cmd {
	cmd := exec.Command(program, args...)
	cmd.Dir = l.work
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + l.path("home"), "TMPDIR=" + l.path("tmp"),
		"CHECKPOINT_DISABLE=1", "PACKER_NO_COLOR=1", "DOCKER_BUILDKIT=0", "BAKE_CACHE_DIR=" + l.path("bake-cache")}
	if l.docker != "" {
		cmd.Env = append(cmd.Env, "DOCKER_HOST="+l.docker)
	}
	return cmd
}

// do runs commands one after another, outside of any measurement.
func (l *lab) do(ctx context.Context, commands ...*exec.Cmd) error {
	if err := l.homes(); err != nil {
		return err
	}
	for _, cmd := range commands {
		if err := ctx.Err(); err != nil {
			return err
		}
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args, " "), err, lastLine(out))
		}
	}
	return nil
}

func (l *lab) homes() error {
	return errors.Join(os.MkdirAll(l.path("home"), 0o755), os.MkdirAll(l.path("tmp"), 0o755))
}

// lastLine is the last line of output that says something.
func lastLine(out []byte) string {
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	line := strings.TrimSpace(lines[len(lines)-1])
	if len(line) > 200 {
		line = line[:200] + "..."
	}
	return line
}
