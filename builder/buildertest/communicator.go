package buildertest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"bake/builder"
)

// Communicator checks the contract of builder.Communicator against a machine
// with a POSIX shell, the usual core utilities and /proc. The connection is
// root's. dir is an existing directory on the machine that may be filled.
func Communicator(t *testing.T, comm builder.Communicator, dir string) {
	s := commSuite{comm, dir}
	t.Run("a script's output, errors and exit status", s.outputAndStatus)
	t.Run("a script stands on another descriptor than stdin, and in no argument", s.descriptor)
	t.Run("strict by default", s.strict)
	t.Run("a program with arguments and stdin", s.program)
	t.Run("environment arrives to the letter and in no argument", s.environment)
	t.Run("user and directory", s.userAndDir)
	t.Run("a program that is not there", s.missingProgram)
	t.Run("cancel leaves no process", s.cancel)
	t.Run("large output is whole", s.largeOutput)
	t.Run("many commands at once", s.concurrent)
	t.Run("a tree goes there and back", s.tree)
	t.Run("what is put replaces what was there", s.replace)
	t.Run("a name that leads out is refused", s.leadsOut)
	t.Run("a file that cannot be read is an error", s.unreadable)
	t.Run("what is not there is not found", s.notFound)
}

type commSuite struct {
	comm builder.Communicator
	dir  string
}

// sh runs a script and returns its stdout.
func (s commSuite) sh(t *testing.T, script string) string {
	t.Helper()
	var out, errs bytes.Buffer
	if err := s.comm.Run(t.Context(), builder.Command{Script: script, Stdout: &out, Stderr: &errs}); err != nil {
		t.Fatalf("script %q: %v\n%s", script, err, errs.String())
	}
	return out.String()
}

func (s commSuite) outputAndStatus(t *testing.T) {
	for _, tc := range []struct {
		script, out, errs string
		code              int
		signal            bool
	}{
		{"echo out; echo err >&2", "out\n", "err\n", 0, false},
		{"printf 'no end'", "no end", "", 0, false},
		{"exit 42", "", "", 42, false},
		{"kill -KILL $$", "", "", 128 + 9, true},
		{"# only a comment", "", "", 0, false},
		{"cat <<'E'\n$HOME `x` \\ \"q\"\nE\n", "$HOME `x` \\ \"q\"\n", "", 0, false},
	} {
		var out, errs bytes.Buffer
		err := s.comm.Run(t.Context(), builder.Command{Script: tc.script, Stdout: &out, Stderr: &errs})
		code := 0
		if exit, ok := errors.AsType[*builder.ExitError](err); ok {
			code = exit.Code
		} else if err != nil {
			t.Errorf("%q: %v", tc.script, err)
			continue
		}
		if out.String() != tc.out || (!tc.signal && errs.String() != tc.errs) || code != tc.code {
			t.Errorf("%q: stdout %q, stderr %q, code %d; want %q, %q, %d", tc.script, out.String(), errs.String(), code, tc.out, tc.errs, tc.code)
		}
	}
}

func (s commSuite) descriptor(t *testing.T) {
	if got := s.sh(t, "cat\necho rest of the script"); got != "rest of the script\n" {
		t.Errorf("a command that reads stdin got %q: it must find it empty", got)
	}
	const marker = "MARKER" + "-4711"
	got := s.sh(t, "x="+marker+"\nfor p in /proc/[0-9]*; do tr '\\0' ' ' <$p/cmdline 2>/dev/null || true; done")
	if strings.Contains(got, marker) {
		t.Errorf("the script's text stands in a process's arguments:\n%s", got)
	}
}

func (s commSuite) strict(t *testing.T) {
	var out bytes.Buffer
	err := s.comm.Run(t.Context(), builder.Command{Script: "echo a\nfalse\necho b", Stdout: &out})
	if exit, ok := errors.AsType[*builder.ExitError](err); !ok || exit.Code != 1 || out.String() != "a\n" {
		t.Errorf("error %v, output %q; want the script to stop at the first failure", err, out.String())
	}
	out.Reset()
	err = s.comm.Run(t.Context(), builder.Command{Script: "false\necho b", Shell: []string{"/bin/sh"}, Stdout: &out})
	if err != nil || out.String() != "b\n" {
		t.Errorf("with another shell: error %v, output %q", err, out.String())
	}
}

func (s commSuite) program(t *testing.T) {
	var out bytes.Buffer
	err := s.comm.Run(t.Context(), builder.Command{Argv: []string{"cat", "-"}, Stdin: strings.NewReader("from stdin"), Stdout: &out})
	if err != nil || out.String() != "from stdin" {
		t.Errorf("error %v, output %q", err, out.String())
	}
	out.Reset()
	err = s.comm.Run(t.Context(), builder.Command{Argv: []string{"printf", "<%s>", "a b", "", "$HOME", "'", "-x", "\n"}, Stdout: &out})
	if want := "<a b><><$HOME><'><-x><\n>"; err != nil || out.String() != want {
		t.Errorf("error %v, output %q, want %q", err, out.String(), want)
	}
}

func (s commSuite) environment(t *testing.T) {
	env := map[string]string{"A": "plain", "B": "two\nlines", "C": `quo"te's $x \ %s`, "D": "ünï", "E": ""}
	var out bytes.Buffer
	err := s.comm.Run(t.Context(), builder.Command{Script: `printf '<%s>' "$A" "$B" "$C" "$D" "${E-unset}"`, Env: env, Stdout: &out})
	if want := fmt.Sprintf("<%s><%s><%s><%s><>", env["A"], env["B"], env["C"], env["D"]); err != nil || out.String() != want {
		t.Errorf("error %v, got %q, want %q", err, out.String(), want)
	}
	const secret = "SECRET" + "-4711"
	out.Reset()
	err = s.comm.Run(t.Context(), builder.Command{
		Script: "for p in /proc/[0-9]*; do tr '\\0' ' ' <$p/cmdline 2>/dev/null || true; done", Env: map[string]string{"S": secret}, Stdout: &out})
	if err != nil || strings.Contains(out.String(), secret) {
		t.Errorf("error %v; the environment stands in a process's arguments:\n%s", err, out.String())
	}
	out.Reset()
	err = s.comm.Run(t.Context(), builder.Command{Argv: []string{"sh", "-c", `printf %s "$C"`}, Env: env, Stdout: &out})
	if err != nil || out.String() != env["C"] {
		t.Errorf("with Argv: error %v, got %q, want %q", err, out.String(), env["C"])
	}
}

func (s commSuite) userAndDir(t *testing.T) {
	var out bytes.Buffer
	err := s.comm.Run(t.Context(), builder.Command{Script: "id -u; pwd", User: "65534", Dir: "/tmp", Stdout: &out})
	if err != nil || out.String() != "65534\n/tmp\n" {
		t.Errorf("error %v, output %q", err, out.String())
	}
	if err := s.comm.Run(t.Context(), builder.Command{Script: "echo x >/dev/null", User: "65534"}); err != nil {
		t.Errorf("a user cannot write to /dev/null: %v", err)
	}
	if err := s.comm.Run(t.Context(), builder.Command{Script: "true", User: "no-such-user"}); err == nil {
		t.Error("a user that does not exist was accepted")
	}
}

func (s commSuite) missingProgram(t *testing.T) {
	if err := s.comm.Run(t.Context(), builder.Command{Argv: []string{"/no/such/program"}}); err == nil {
		t.Error("no error")
	}
	if err := s.comm.Run(t.Context(), builder.Command{Script: "true", Shell: []string{"/no/such/shell"}}); err == nil {
		t.Error("no error for a shell that is not there")
	}
}

func (s commSuite) cancel(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	pids := &firstLine{got: make(chan string, 1)}
	done := make(chan error, 1)
	go func() {
		done <- s.comm.Run(ctx, builder.Command{Script: "trap '' TERM INT HUP\nsleep 1000 & echo $$ $!\nwait; sleep 1000", Stdout: pids})
	}()
	var line string
	select {
	case line = <-pids.got:
	case err := <-done:
		t.Fatalf("ended early: %v", err)
	case <-time.After(time.Minute):
		t.Fatal("the script did not start")
	}
	cancel()
	select {
	case err := <-done:
		if err == nil {
			t.Error("a cancelled command returned nil")
		}
	case <-time.After(30 * time.Second):
		t.Fatal("a cancelled command does not return")
	}
	for _, pid := range strings.Fields(line) {
		if out := s.sh(t, "if [ -d /proc/"+pid+" ]; then cat /proc/"+pid+"/stat; fi"); out != "" && !strings.Contains(out, ") Z ") {
			t.Errorf("process %s is still there: %s", pid, out)
		}
	}
}

type firstLine struct {
	buf bytes.Buffer
	got chan string
}

func (w *firstLine) Write(p []byte) (int, error) {
	w.buf.Write(p)
	if line, _, ok := strings.Cut(w.buf.String(), "\n"); ok {
		select {
		case w.got <- line:
		default:
		}
	}
	return len(p), nil
}

func (s commSuite) largeOutput(t *testing.T) {
	var out bytes.Buffer
	const n = 8 << 20
	err := s.comm.Run(t.Context(), builder.Command{Script: fmt.Sprintf("head -c %d /dev/zero; exit 3", n), Stdout: &out})
	if exit, ok := errors.AsType[*builder.ExitError](err); !ok || exit.Code != 3 || out.Len() != n {
		t.Errorf("error %v, %d bytes; want exit status 3 and %d", err, out.Len(), n)
	}
}

func (s commSuite) concurrent(t *testing.T) {
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			var out bytes.Buffer
			err := s.comm.Run(t.Context(), builder.Command{Script: fmt.Sprintf("echo %d; exit %d", i, i), Stdout: &out})
			code := 0
			if exit, ok := errors.AsType[*builder.ExitError](err); ok {
				code = exit.Code
			} else if err != nil {
				t.Error(err)
				return
			}
			if out.String() != fmt.Sprintf("%d\n", i) || code != i {
				t.Errorf("command %d: output %q, code %d", i, out.String(), code)
			}
		})
	}
	wg.Wait()
}

// entry is a File that can be compared.
type entry struct {
	Path, Link, Content string
	Mode                fs.FileMode
	UID, GID            int
	Time                int64
}

func (s commSuite) tree(t *testing.T) {
	when := time.Unix(1600000000, 0)
	big := strings.Repeat("0123456789abcdef", 3<<20/16)
	want := []entry{
		{Path: "tree", Mode: fs.ModeDir | 0o755},
		{Path: "tree/-dash", Mode: 0o644, Content: "x", UID: 12, GID: 34},
		{Path: "tree/a b\tc", Mode: 0o600, Content: ""},
		{Path: "tree/big", Mode: 0o640, Content: big},
		{Path: "tree/empty", Mode: fs.ModeDir | 0o700},
		{Path: "tree/exec", Mode: 0o755 | fs.ModeSetuid, Content: "#!/bin/sh\n"},
		{Path: "tree/link", Mode: fs.ModeSymlink | 0o777, Link: "-dash"},
		{Path: "tree/out", Mode: fs.ModeSymlink | 0o777, Link: "/etc/passwd"},
		{Path: "tree/sub", Mode: fs.ModeDir | 0o711 | fs.ModeSticky},
		{Path: "tree/sub/q'uo\"te", Mode: 0o644, Content: "q"},
		{Path: "tree/sub/ünï", Mode: 0o644, Content: "u"},
	}
	if err := s.comm.Put(t.Context(), s.dir, files(want, when)); err != nil {
		t.Fatal(err)
	}
	got := collect(t, s.comm.Get(t.Context(), s.dir+"/tree"))
	for i := range want {
		want[i].Time = when.Unix()
		if want[i].Mode&fs.ModeSymlink != 0 {
			want[i].Time, want[i].Mode = 0, fs.ModeSymlink
		}
	}
	for i := range got {
		if got[i].Mode&fs.ModeSymlink != 0 {
			got[i].Time, got[i].Mode = 0, fs.ModeSymlink
		}
	}
	slices.SortFunc(got, func(a, b entry) int { return strings.Compare(a.Path, b.Path) })
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("tree (-want +got):\n%.4000s", diff)
	}
}

func files(entries []entry, when time.Time) iter.Seq2[builder.File, error] {
	return func(yield func(builder.File, error) bool) {
		for _, e := range entries {
			f := builder.File{Path: e.Path, Mode: e.Mode, UID: e.UID, GID: e.GID, Link: e.Link, ModTime: when, Size: int64(len(e.Content))}
			if e.Mode.IsRegular() {
				f.Open = func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(e.Content)), nil }
			}
			if !yield(f, nil) {
				return
			}
		}
	}
}

func collect(t *testing.T, seq iter.Seq2[builder.File, error]) []entry {
	t.Helper()
	var all []entry
	for f, err := range seq {
		if err != nil {
			t.Fatal(err)
		}
		e := entry{Path: f.Path, Mode: f.Mode, Link: f.Link, UID: f.UID, GID: f.GID, Time: f.ModTime.Unix()}
		if f.Mode.IsRegular() && !f.Hard {
			r, err := f.Open()
			if err != nil {
				t.Fatal(err)
			}
			b, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			_ = r.Close()
			e.Content = string(b)
		}
		all = append(all, e)
	}
	return all
}

func (s commSuite) replace(t *testing.T) {
	now := time.Now()
	first := []entry{{Path: "r", Mode: fs.ModeDir | 0o755}, {Path: "r/file", Mode: 0o644, Content: "long old content"}, {Path: "r/link", Mode: fs.ModeSymlink | 0o777, Link: "file"}, {Path: "r/kept", Mode: 0o644, Content: "kept"}}
	second := []entry{{Path: "r", Mode: fs.ModeDir | 0o755}, {Path: "r/file", Mode: 0o755, Content: "new"}, {Path: "r/link", Mode: 0o644, Content: "no link any more"}}
	for _, tree := range [][]entry{first, second} {
		if err := s.comm.Put(t.Context(), s.dir+"/made/on/the/way", files(tree, now)); err != nil {
			t.Fatal(err)
		}
	}
	got := s.sh(t, "cd "+s.dir+"/made/on/the/way/r; cat file; echo; cat link; echo; cat kept; [ -x file ]")
	if want := "new\nno link any more\nkept"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func (s commSuite) leadsOut(t *testing.T) {
	for _, path := range []string{"../escaped", "a/../../escaped", "/abs/../../escaped", ".."} {
		err := s.comm.Put(t.Context(), s.dir+"/jail", files([]entry{{Path: path, Mode: 0o644, Content: "x"}}, time.Now()))
		if err == nil {
			t.Errorf("%q was accepted", path)
		}
	}
	s.sh(t, "[ ! -e "+s.dir+"/escaped ]")
}

func (s commSuite) unreadable(t *testing.T) {
	boom := errors.New("disk on fire")
	broken := func(yield func(builder.File, error) bool) {
		yield(builder.File{Path: "f", Mode: 0o644, Size: 10, Open: func() (io.ReadCloser, error) { return nil, boom }}, nil)
	}
	if err := s.comm.Put(t.Context(), s.dir, broken); !errors.Is(err, boom) {
		t.Errorf("file that does not open: %v", err)
	}
	short := func(yield func(builder.File, error) bool) {
		yield(builder.File{Path: "f", Mode: 0o644, Size: 10, Open: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("short")), nil }}, nil)
	}
	if err := s.comm.Put(t.Context(), s.dir, short); err == nil {
		t.Error("a file shorter than it said was accepted")
	}
	failing := func(yield func(builder.File, error) bool) { yield(builder.File{}, boom) }
	if err := s.comm.Put(t.Context(), s.dir, failing); !errors.Is(err, boom) {
		t.Errorf("tree that cannot be walked: %v", err)
	}
	s.sh(t, "true") // the connection is still good
}

func (s commSuite) notFound(t *testing.T) {
	for _, err := range s.comm.Get(t.Context(), s.dir+"/no/such/file") {
		if !errors.Is(err, builder.ErrNotFound) {
			t.Errorf("error %v, want ErrNotFound", err)
		}
		return
	}
	t.Error("nothing came, not even ErrNotFound")
}
