package container

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"bake/builder"
)

// A MissingToolError is a program that bootstrapping needs and that is not here.
type MissingToolError struct{ Why string }

func (e *MissingToolError) Error() string { return e.Why }

// Hint says what to install.
func (e *MissingToolError) Hint() string {
	return "install mmdebstrap (it works rootless where newuidmap is there), or start from `image: debian:RELEASE`"
}

// bootstrap makes the tar of a system at path, with one of the programs that
// can, and returns its digest. The same archive gives the same bytes.
func bootstrap(ctx context.Context, sc *builder.Scope, pin packagesPin, path string) (bootstrapped, error) {
	scratch, err := os.MkdirTemp(sc.WorkDir, "bootstrap-*")
	if err != nil {
		return bootstrapped{}, err
	}
	defer os.RemoveAll(scratch)
	cmd, err := bootstrapCommand(pin, scratch)
	if err != nil {
		return bootstrapped{}, err
	}
	sc.Log("bootstrapping %s %s (%s) with %s", pin.Distribution, pin.Release, pin.Arch, filepath.Base(cmd.Path))
	tmp, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return bootstrapped{}, err
	}
	defer os.Remove(tmp.Name()) // gone already if all went well
	defer tmp.Close()
	sum := sha256.New()
	out := &progressWriter{w: io.MultiWriter(tmp, sum), report: func(n int64) {
		sc.Progress(builder.Progress{ID: "system", Verb: "packing", Done: n, Unit: "B"})
	}}
	if err := run(ctx, cmd, out, sc.Stderr()); err != nil {
		return bootstrapped{}, err
	}
	if out.n == 0 {
		return bootstrapped{}, errors.New("the program made nothing")
	}
	if err := tmp.Close(); err != nil {
		return bootstrapped{}, err
	}
	made := bootstrapped{DiffID: v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum.Sum(nil))}, Size: out.n}
	return made, os.Rename(tmp.Name(), path)
}

// bootstrapCommand is the command that writes the tar to its stdout.
func bootstrapCommand(pin packagesPin, scratch string) (*exec.Cmd, error) {
	if program, err := exec.LookPath("mmdebstrap"); err == nil {
		return mmdebstrap(program, pin, scratch), nil
	}
	program, err := exec.LookPath("debootstrap")
	if err != nil {
		return nil, &MissingToolError{"neither mmdebstrap nor debootstrap is installed"}
	}
	if os.Geteuid() != 0 {
		return nil, &MissingToolError{"mmdebstrap is not installed, and debootstrap works for root only"}
	}
	return debootstrap(program, pin, scratch)
}

func mmdebstrap(program string, pin packagesPin, scratch string) *exec.Cmd {
	args := []string{
		"--variant=" + pin.Variant, "--format=tar", "--architectures=" + pin.Arch,
		"--skip=output/dev", // a container has its own
	}
	if len(pin.Include) > 0 {
		args = append(args, "--include="+strings.Join(pin.Include, ","))
	}
	if pin.Keyring != "" {
		args = append(args, "--keyring="+pin.Keyring)
	}
	args = append(args, pin.Release, "-")
	for _, s := range pin.Suites {
		args = append(args, s.line())
	}
	cmd := exec.Command(program, args...)
	cmd.Env = bootstrapEnv(pin, scratch)
	return cmd
}

func (s suite) line() string {
	options := ""
	if strings.HasPrefix(s.Mirror, "file://") {
		options = " " // apt takes local archives as they are
	}
	return strings.Join(strings.Fields("deb "+options+s.Mirror+" "+s.Name+" "+strings.Join(s.Components, " ")), " ")
}

// debootstrap makes a directory; tar packs it, sorted and with the archive's
// date where files are newer.
func debootstrap(program string, pin packagesPin, scratch string) (*exec.Cmd, error) {
	tar, err := exec.LookPath("tar")
	if err != nil {
		return nil, &MissingToolError{"tar is not installed"}
	}
	const script = `
set -eu
"$1" --variant="$2" --arch="$3" --components="$4" ${5:+--include="$5"} ${6:+--keyring="$6"} "$7" "$8/root" "$9" >&2
printf '%s\n' "${11}" > "$8/root/etc/apt/sources.list"
rm -rf "$8"/root/var/cache/apt/archives/*.deb "$8"/root/var/lib/apt/lists/* "$8"/root/var/log/bootstrap.log \
	"$8"/root/var/cache/ldconfig/aux-cache "$8"/root/var/log/alternatives.log "$8"/root/var/log/dpkg.log "$8"/root/dev
mkdir "$8/root/var/lib/apt/lists/partial" "$8/root/dev"
: > "$8/root/etc/machine-id"
exec "${10}" --create --sort=name --mtime="@$SOURCE_DATE_EPOCH" --clamp-mtime --numeric-owner --xattrs --format=posix \
	--pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime --directory="$8/root" .
`
	variant := pin.Variant
	switch variant {
	case "standard":
		variant = "-"
	case "essential", "apt":
		return nil, &MissingToolError{"debootstrap does not know the variant " + variant + ", and mmdebstrap is not installed"}
	}
	var lines []string
	for _, s := range pin.Suites {
		lines = append(lines, s.line())
	}
	first := pin.Suites[0]
	cmd := exec.Command("/bin/sh", "-c", script, "sh", program, variant, pin.Arch, strings.Join(first.Components, ","),
		strings.Join(pin.Include, ","), pin.Keyring, pin.Release, scratch, first.Mirror, tar, strings.Join(lines, "\n"))
	cmd.Env = bootstrapEnv(pin, scratch)
	return cmd, nil
}

// bootstrapEnv keeps this machine's language and secrets out of the system.
func bootstrapEnv(pin packagesPin, scratch string) []string {
	if os.Geteuid() != 0 {
		// mmdebstrap works as another user then, who has to come in: it makes
		// a directory of its own there, and removes it even when told to stop.
		scratch = os.TempDir()
	}
	env := []string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8", "TZ=UTC",
		"DEBIAN_FRONTEND=noninteractive", "HOME=" + scratch, "TMPDIR=" + scratch,
		fmt.Sprintf("SOURCE_DATE_EPOCH=%d", pin.Date.Unix()),
	}
	for _, name := range []string{"http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"} {
		if value := os.Getenv(name); value != "" {
			env = append(env, name+"="+value)
		}
	}
	return env
}

// run runs a command in a process group of its own; if ctx ends the whole
// group is asked to stop, and killed if it does not.
func run(ctx context.Context, cmd *exec.Cmd, stdout, stderr io.Writer) error {
	// The kernel ends the command when the thread that started it ends, which
	// must not be before bake does.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	tail := &tailWriter{}
	cmd.Stdout, cmd.Stderr = stdout, io.MultiWriter(stderr, tail)
	cmd.SysProcAttr = group()
	if err := cmd.Start(); err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	select {
	case err := <-done:
		if err != nil {
			return &bootstrapError{Program: filepath.Base(cmd.Path), Err: err, Said: tail.last()}
		}
		return nil
	case <-ctx.Done():
	}
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) // it may be gone; it cleans up after itself
	timer := time.NewTimer(10 * time.Second)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
	}
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // what is left of the group
	return context.Cause(ctx)
}

// A bootstrapError is a bootstrap program that failed, with its last words.
type bootstrapError struct {
	Program string
	Err     error
	Said    string
}

func (e *bootstrapError) Error() string {
	if e.Said == "" {
		return e.Program + ": " + e.Err.Error()
	}
	return fmt.Sprintf("%s: %v: %s", e.Program, e.Err, e.Said)
}

func (e *bootstrapError) Unwrap() error { return e.Err }

// Hint explains the usual reasons.
func (e *bootstrapError) Hint() string {
	switch {
	case strings.Contains(e.Said, "NO_PUBKEY"), strings.Contains(e.Said, "keyring"), strings.Contains(e.Said, "not signed"):
		return "the archive's keys are not on this machine: install ubuntu-keyring or debian-archive-keyring, or name a file with `keyring:`"
	case strings.Contains(e.Said, "newuidmap"), strings.Contains(e.Said, "unshare"), strings.Contains(e.Said, "subuid"):
		return "without root mmdebstrap needs newuidmap (package uidmap) and ranges in /etc/subuid and /etc/subgid"
	case strings.Contains(e.Said, "binfmt"), strings.Contains(e.Said, "Exec format"), strings.Contains(e.Said, "cannot be executed"):
		return "programs of that platform do not run here: install qemu-user-static and binfmt-support"
	case strings.Contains(e.Said, "Unable to locate package"), strings.Contains(e.Said, "has no installation candidate"):
		return "check the names under `include:`; some packages are in contrib or non-free: `components: [main, contrib]`"
	}
	return ""
}

type progressWriter struct {
	w      io.Writer
	n      int64
	report func(int64)
}

func (w *progressWriter) Write(p []byte) (int, error) {
	n, err := w.w.Write(p)
	w.n += int64(n)
	w.report(w.n)
	return n, err
}

// tailWriter remembers the end of what a program says.
type tailWriter struct{ buf []byte }

func (t *tailWriter) Write(p []byte) (int, error) {
	t.buf = append(t.buf, p...)
	if len(t.buf) > 8192 {
		t.buf = append(t.buf[:0], t.buf[len(t.buf)-4096:]...)
	}
	return len(p), nil
}

// last returns the lines that name an error, or the last one.
func (t *tailWriter) last() string {
	var found []string
	lines := bytes.Split(bytes.TrimSpace(t.buf), []byte("\n"))
	for _, l := range lines {
		if text := string(bytes.TrimSpace(l)); strings.HasPrefix(text, "E: ") && len(found) < 3 {
			found = append(found, strings.TrimPrefix(text, "E: "))
		}
	}
	if len(found) == 0 {
		return string(bytes.TrimSpace(lines[len(lines)-1]))
	}
	return strings.Join(found, "; ")
}
