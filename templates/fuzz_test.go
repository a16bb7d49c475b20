package templates

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"unicode/utf8"
)

// FuzzParse reads anything: it must not panic, every diagnostic must have a
// place in the file, reading twice must give the same, and what is read must
// survive JSON.
func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("../testdata/templates/*/*/bake.yaml")
	if err != nil || len(files) == 0 {
		f.Fatal("no seeds", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte(whole))
	dir := f.TempDir()
	common := []byte("- run: echo ${{ with.x }}\n- include: common.yaml\n")
	if err := os.WriteFile(filepath.Join(dir, "common.yaml"), common, 0o600); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		got, diags := ParseBytes("t.yaml", dir, text, small(), options(nil))
		again, diagsAgain := ParseBytes("t.yaml", dir, text, small(), options(nil))
		if a, b := describe(got, diags), describe(again, diagsAgain); a != b {
			t.Errorf("read twice:\n%s\n%s", a, b)
		}
		for _, d := range diags {
			checkPlace(t, d, map[string][]byte{"t.yaml": text, "common.yaml": common})
		}
		if len(diags) == 0 {
			checkJSON(t, got)
		}
	})
}

func describe(tmpl *Template, diags Diagnostics) string {
	var b bytes.Buffer
	diags.Format(&b, true)
	if tmpl != nil {
		for _, build := range tmpl.Builds {
			fmt.Fprintln(&b, build.Name, build.Needs, build.Platforms, build.Squash, string(build.Source.Body.JSON()), string(build.Config.JSON()))
			for _, s := range append(build.Steps, build.Tests...) {
				fmt.Fprintln(&b, s.Pos, s.Kind.Kind, s.Name, s.If, s.Env, s.Timeout, s.Cache, string(s.Body.JSON()))
			}
			for _, o := range build.Outputs {
				fmt.Fprintln(&b, o.Kind, o.Name, o.If, string(o.Body.JSON()))
			}
		}
	}
	return b.String()
}

func checkPlace(t *testing.T, d *Diagnostic, files map[string][]byte) {
	t.Helper()
	text, ok := files[d.Pos.File]
	if !ok {
		t.Fatalf("%v: in no file", d)
	}
	lines := splitLines(string(bytes.TrimPrefix(text, []byte("\ufeff"))))
	if d.Pos.Line < 1 || d.Pos.Line > len(lines) {
		t.Fatalf("%v: the file has %d lines", d, len(lines))
	}
	width := utf8.RuneCountInString(lines[d.Pos.Line-1])
	if d.Pos.Col < 1 || d.Pos.Col > width+1 {
		t.Errorf("%v: the line has %d columns", d, width)
	}
	if d.End != 0 && (d.End <= d.Pos.Col || d.End > max(width, d.Pos.Col)+1) {
		t.Errorf("%v: ends in column %d of %d", d, d.End, width)
	}
	if d.Message == "" {
		t.Errorf("%v: says nothing", d)
	}
	Diagnostics{d}.Format(io.Discard, false)
}

// checkJSON writes each block of a template, reads it, and expects the same.
func checkJSON(t *testing.T, tmpl *Template) {
	t.Helper()
	check := func(k Kind, proto any) {
		written := k.Body.JSON()
		back, err := FromJSON(written, k.Pos, tmpl.Env)
		if err != nil {
			t.Fatalf("reading %s: %v", written, err)
		}
		if got := back.JSON(); !bytes.Equal(got, written) {
			t.Errorf("wrote %s, read %s", written, got)
		}
		if diags := Decode(back, clone(proto)); len(diags) > 0 {
			t.Errorf("%s was right, and after JSON %v", written, diags.Err())
		}
	}
	lang := small().withBuild()
	for _, b := range tmpl.Builds {
		check(b.Source, lang.Sources[b.Source.Kind])
		for _, s := range append(b.Steps, b.Tests...) {
			check(s.Kind, lang.Steps[s.Kind.Kind])
		}
		for _, o := range b.Outputs {
			check(o, lang.Outputs[o.Kind])
		}
	}
}
