package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestReadmeTemplatesAreValid holds the templates that newcomers copy against
// the language as it is.
func TestReadmeTemplatesAreValid(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(text), "```yaml\n")
	if !ok {
		t.Fatal("the README has no template")
	}
	for ok {
		var template string
		template, rest, _ = strings.Cut(rest, "```")
		_, rest, ok = strings.Cut(rest, "```yaml\n")
		name := strings.TrimPrefix(regexp.MustCompile(`(?m)^name: \S+`).FindString(template), "name: ")
		t.Run(name, func(t *testing.T) { validReadmeTemplate(t, template) })
	}
}

// TestReadmeCommandsAreReal parses every command line that the README prints.
func TestReadmeCommandsAreReal(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	lines := regexp.MustCompile("(?m)^bake .*$|`bake [^`]*`").FindAllString(string(text), -1)
	if len(lines) < 30 {
		t.Errorf("only %d command lines were found", len(lines))
	}
	for _, line := range lines {
		line, _, _ = strings.Cut(strings.Trim(line, "`"), "  ")
		line, _, _ = strings.Cut(line, " #")
		for _, one := range alternatives(line) {
			mention := line != one || strings.Contains(string(text), "`"+line+"`") // of a command alone, without what it is given
			if err := parsed(shellWords(one)); err != nil && !(mention && strings.Contains(err.Error(), " needs ")) {
				t.Errorf("%s: %v", one, err)
			}
		}
	}
}

// alternatives are the command lines that a line stands for: a; b and a|b ...
func alternatives(line string) []string {
	var all []string
	for _, one := range strings.Split(line, "; ") {
		group, rest, several := strings.Cut(strings.TrimSuffix(one, " ..."), "|")
		all = append(all, group)
		for _, word := range strings.Split(rest, "|") {
			if several {
				all = append(all, group[:strings.LastIndexByte(group, ' ')+1]+word)
			}
		}
	}
	return all
}

func validReadmeTemplate(t *testing.T, template string) {
	dir := t.TempDir()
	task := `{"family": "api", "containerDefinitions": [{"name": "api", "image": "api", "essential": true}]}`
	for name, text := range map[string]string{"bake.yaml": template, "site/index.html": "x", "app/index.html": "x", "setup.sh": "true\n", "bin/api": "x", "api.task.json": task} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var out, errs strings.Builder
	if code := Main([]string{"validate", filepath.Join(dir, "bake.yaml")}, strings.NewReader(""), &out, &errs); code != 0 {
		t.Errorf("exit code %d\n%s%s", code, out.String(), errs.String())
	}
}
