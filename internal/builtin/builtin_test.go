package builtin_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"golang.org/x/sys/unix"

	"bake/builder"
	"bake/internal/builtin"
	"bake/internal/need"
	"bake/internal/programtest"
)

var here = builder.Platform{OS: "linux", Arch: runtime.GOARCH}

// buildProgram returns the path of a static program.
var buildProgram = sync.OnceValues(func() (string, error) { return programtest.Build("bake/internal/builtin/testdata/program") })

func program(t testing.TB) string {
	t.Helper()
	path, err := buildProgram()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv(builtin.BinaryVariable, path)
	return path
}

func builtinImage(t testing.TB) (v1.Image, builder.Digest) {
	t.Helper()
	program(t)
	img, digest, err := builtin.Image(t.Context(), here)
	if err != nil {
		t.Fatal(err)
	}
	return img, digest
}

// unpack writes the image's files to a new directory.
func unpack(t testing.TB) string {
	t.Helper()
	img, _ := builtinImage(t)
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	rc, err := layers[0].Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	defer rc.Close()
	tr := tar.NewReader(rc)
	for {
		h, err := tr.Next()
		if err == io.EOF {
			devices(t, root)
			return root
		}
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(root, h.Name), h, tr)
	}
}

// devices makes what an engine gives a container: scripts would make a file of /dev/null.
func devices(t testing.TB, root string) {
	t.Helper()
	null := filepath.Join(root, "dev/null")
	if err := unix.Mknod(null, unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))); err != nil && os.Geteuid() == 0 {
		t.Fatal(err)
	}
}

func write(t testing.TB, path string, h *tar.Header, r io.Reader) {
	t.Helper()
	var err error
	switch h.Typeflag {
	case tar.TypeDir:
		err = os.Mkdir(path, 0o755)
	case tar.TypeSymlink:
		err = os.Symlink(h.Linkname, path)
	case tar.TypeReg:
		var data []byte
		if data, err = io.ReadAll(r); err == nil {
			err = os.WriteFile(path, data, 0o600)
		}
	default:
		t.Fatalf("%s: unexpected type %c", h.Name, h.Typeflag)
	}
	if err == nil && h.Typeflag != tar.TypeSymlink {
		err = os.Chmod(path, fs.FileMode(h.Mode&0o777))
		if err == nil && h.Mode&0o1000 != 0 {
			err = os.Chmod(path, fs.FileMode(h.Mode&0o777)|fs.ModeSticky)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
}

// A result is what a command did.
type result struct {
	Stdout, Stderr string
	Code           int
}

// in runs a command in the root, as root, in /tmp.
func in(t testing.TB, root, stdin string, argv ...string) result {
	t.Helper()
	return run(t, command(t, root, argv...), stdin)
}

func command(t testing.TB, root string, argv ...string) *exec.Cmd {
	cmd := exec.CommandContext(t.Context(), argv[0])
	cmd.Path, cmd.Err = argv[0], nil
	cmd.Args = argv
	cmd.Dir = "/tmp"
	cmd.Env = []string{"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=/root"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root, Setpgid: true}
	return cmd
}

func run(t testing.TB, cmd *exec.Cmd, stdin string) result {
	t.Helper()
	var out, errOut bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &errOut
	err := cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		code := exit.ExitCode()
		if ws := exit.Sys().(syscall.WaitStatus); ws.Signaled() {
			code = 128 + int(ws.Signal())
		}
		return result{out.String(), errOut.String(), code}
	}
	if err != nil {
		t.Fatal(err)
	}
	return result{out.String(), errOut.String(), 0}
}

func TestImageIsAValidImage(t *testing.T) {
	img, _ := builtinImage(t)
	// validate.Image takes gzip layers only; this one is plain on purpose.
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	rc, err := layers[0].Compressed()
	if err != nil {
		t.Fatal(err)
	}
	defer rc.Close()
	hash, size, err := v1.SHA256(rc)
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := img.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	if l := manifest.Layers[0]; l.Digest != hash || l.Size != size || l.MediaType != types.OCIUncompressedLayer {
		t.Errorf("the manifest says %+v, the layer has %s of %d bytes", l, hash, size)
	}
	config, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if config.OS != "linux" || config.Architecture != runtime.GOARCH || config.Config.Entrypoint != nil {
		t.Errorf("config is %+v", config)
	}
}

func TestOneProgramGivesOneDigest(t *testing.T) {
	first, firstDigest := builtinImage(t)
	copied := filepath.Join(t.TempDir(), "copy")
	data, err := os.ReadFile(program(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(copied, data, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv(builtin.BinaryVariable, copied)
	second, secondDigest, err := builtin.Image(t.Context(), here)
	if err != nil {
		t.Fatal(err)
	}
	a, err1 := first.Digest()
	b, err2 := second.Digest()
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	if a != b || firstDigest != secondDigest {
		t.Errorf("digests %s and %s, %s and %s", a, b, firstDigest, secondDigest)
	}
}

func TestAnotherProgramGivesAnotherDigest(t *testing.T) {
	_, before := builtinImage(t)
	other := filepath.Join(t.TempDir(), "program")
	cmd := exec.Command("go", "build", "-ldflags=-X main.unused=1 -s", "-o", other, "./testdata/program")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Setenv(builtin.BinaryVariable, other)
	if _, after, err := builtin.Image(t.Context(), here); err != nil || after == before {
		t.Errorf("digest %s, %v; want another than %s", after, err, before)
	}
}

func TestProgramsThatCannotBeTheBaseAreRefusedWithAHint(t *testing.T) {
	program(t)
	otherArch := builder.Platform{OS: "linux", Arch: map[bool]string{true: "arm64", false: "amd64"}[runtime.GOARCH == "amd64"]}
	script := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(script, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, binary, reason string
		platform             builder.Platform
	}{
		{"another platform", "", "the image is for " + otherArch.String(), otherArch},
		{"linked dynamically", "/bin/ls", "linked dynamically", here},
		{"not a program", script, "no program for linux", here},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.binary != "" {
				t.Setenv(builtin.BinaryVariable, test.binary)
			}
			_, _, err := builtin.Image(t.Context(), test.platform)
			unusable, ok := errors.AsType[*builtin.UnusableError](err)
			if !ok || !strings.Contains(err.Error(), test.reason) || !strings.Contains(unusable.Hint(), builtin.BinaryVariable) {
				t.Errorf("error %v, hint %q", err, unusable.Hint())
			}
		})
	}
}

func TestACancelledContextIsAnError(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := builtin.Image(ctx, here); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

func TestEveryLinkIsAUtility(t *testing.T) {
	need.Root(t)
	root := unpack(t)
	entries, err := os.ReadDir(filepath.Join(root, "bin"))
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) < 80 {
		t.Errorf("only %d utilities", len(entries))
	}
	for _, e := range entries {
		if e.Name() == "bake" || e.Name() == "yes" {
			continue
		}
		// An option that none of them has: it must answer, not run away, and be known to Main.
		r := in(t, root, "", "/bin/"+e.Name(), "--no-such-option")
		if r.Code == 70 {
			t.Errorf("%s is not known to Main", e.Name())
		}
	}
}

func TestTheRootHasTheUsualFiles(t *testing.T) {
	need.Root(t)
	root := unpack(t)
	r := in(t, root, "", "/bin/sh", "-c", `stat -c '%a %n' /tmp /root /etc/passwd; whoami; id -un 65534; grep ^NAME /etc/os-release; ls -l /bin/cat | sed 's/.*cat ->/->/'`)
	want := "1777 /tmp\n700 /root\n644 /etc/passwd\nroot\nnobody\nNAME=\"bake built-in base\"\n-> bake\n"
	if r.Stdout != want || r.Code != 0 {
		t.Errorf("got %q, %q, %d", r.Stdout, r.Stderr, r.Code)
	}
}
