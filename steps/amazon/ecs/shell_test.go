package ecs

import (
	"bytes"
	"io"
	"os/exec"
	"strings"
	"testing"
	"testing/iotest"
)

// TestAnErrandTellsItsExitCode runs the command that a container would get, and
// reads its output in pieces of every size.
func TestAnErrandTellsItsExitCode(t *testing.T) {
	for _, c := range []struct {
		argv []string
		says string
		code int
	}{
		{[]string{"echo hi; exit 7"}, "hi\n", 7},
		{[]string{"printf", "%s|", "a b", `it's`, `"$HOME"`, "$(x)"}, `a b|it's|"$HOME"|$(x)|`, 0},
		{[]string{"printf bake-exit-; kill -TERM $$"}, "bake-exit-", 143},
		{[]string{"nonsense("}, "", 2},
	} {
		e := Run(c.argv)
		cmd := exec.CommandContext(t.Context(), "/bin/sh", "-c", e.Command)
		raw, err := cmd.Output()
		if err != nil {
			t.Fatalf("%s: %v", e.Command, err)
		}
		for name, r := range map[string]io.Reader{"whole": bytes.NewReader(raw), "byte by byte": iotest.OneByteReader(bytes.NewReader(raw)), "in halves": iotest.HalfReader(bytes.NewReader(raw))} {
			var out strings.Builder
			code, told, err := e.Output(&out, r)
			if err != nil || !told || code != c.code || out.String() != c.says {
				t.Errorf("%q, %s: %q, exit code %d %t, %v", c.argv, name, out.String(), code, told, err)
			}
		}
	}
	var out strings.Builder
	if _, told, err := Run([]string{"x"}).Output(&out, strings.NewReader("it was killed bake-ex")); told || err != nil || out.String() != "it was killed bake-ex" {
		t.Errorf("without an end: %q %t %v", out.String(), told, err)
	}
}

func TestATerminalsLinesBecomeAPipes(t *testing.T) {
	var out strings.Builder
	l := &Lines{Out: &out}
	for _, part := range []string{"a\r", "\nb\rc\r\n", "\r", "\r\n"} {
		if _, err := io.WriteString(l, part); err != nil {
			t.Fatal(err)
		}
	}
	if out.String() != "a\nb\rc\n\r\n" {
		t.Errorf("%q", out.String())
	}
}
