package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestReadmeTemplateIsValid holds the template that newcomers copy against the
// language as it is.
func TestReadmeTemplateIsValid(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(text), "```yaml\n")
	template, _, closed := strings.Cut(rest, "```")
	if !ok || !closed {
		t.Fatal("the README has no template")
	}
	dir := t.TempDir()
	for name, text := range map[string]string{"site.yaml": template, "site/index.html": "x"} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var out, errs strings.Builder
	if code := Main([]string{"validate", filepath.Join(dir, "site.yaml")}, strings.NewReader(""), &out, &errs); code != 0 {
		t.Errorf("exit code %d\n%s%s", code, out.String(), errs.String())
	}
}
