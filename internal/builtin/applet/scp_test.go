package applet

import (
	"io"
	"os"
	"path/filepath"
	"testing"
)

// scpPair lets one scp give files to another and returns both exit statuses.
func scpPair(t *testing.T, give, take []string) (int, int) {
	t.Helper()
	fromSource, toSink := io.Pipe()
	fromSink, toSource := io.Pipe()
	sinkDone := make(chan int)
	go func() {
		code := Func(scp).Run(t.Context(), &Call{Name: "scp", Args: take, Dir: "/", Stdin: fromSource, Stdout: toSource, Stderr: io.Discard})
		fromSource.Close()
		toSource.Close()
		sinkDone <- code
	}()
	code := Func(scp).Run(t.Context(), &Call{Name: "scp", Args: give, Dir: "/", Stdin: fromSink, Stdout: toSink, Stderr: io.Discard})
	toSink.Close()
	return code, <-sinkDone
}

func TestScpCarriesTreesWithTheirModes(t *testing.T) {
	from, to := filepath.Join(t.TempDir(), "tree"), t.TempDir()
	if err := os.MkdirAll(filepath.Join(from, "sub"), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(from, "sub", "x y"), []byte("text"), 0o640); err != nil {
		t.Fatal(err)
	}
	if a, b := scpPair(t, []string{"-r", "-f", from}, []string{"-vrt", to}); a != 0 || b != 0 {
		t.Fatalf("exit statuses %d and %d", a, b)
	}
	file := filepath.Join(to, "tree", "sub", "x y")
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	if text, _ := os.ReadFile(file); string(text) != "text" || info.Mode().Perm() != 0o640 {
		t.Errorf("got %q, %v", text, info.Mode())
	}
}

func TestScpSaysWhatCannotBeCopied(t *testing.T) {
	if a, b := scpPair(t, []string{"-f", "/nowhere"}, []string{"-t", t.TempDir()}); a != 1 || b != 1 {
		t.Errorf("exit statuses %d and %d, want 1 of both", a, b)
	}
	if a, _ := scpPair(t, []string{"-f", "/etc/passwd"}, []string{"-d", "-t", "/nowhere"}); a == 0 {
		t.Error("a missing folder was taken")
	}
	if a, b := scpPair(t, []string{"-f", "/etc/passwd"}, []string{"-t", "/nowhere/x"}); a != 1 || b != 1 {
		t.Errorf("exit statuses %d and %d, want 1 of both", a, b)
	}
}
