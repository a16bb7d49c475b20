package templates

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func write(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestVariablesTakeTheLastOfTheirSettings(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "v.txt", "from file\n")
	yaml := write(t, dir, "vars.yaml", "v: from var file\n")
	later := write(t, dir, "later.env", "# comment\n\nexport v=\"from \\\"later\\\"\"\nv='from later var file'\n")
	environ := []string{"BAKE_VAR_v=from BAKE_VAR", "V=from env"}
	const all = "{default: from default, file: v.txt, env: V}"
	tests := []struct {
		name, variable string
		opts           Options
		want           any
	}{
		{"default", "from default", Options{}, "from default"},
		{"file over default", "{default: x, file: v.txt}", Options{}, "from file"},
		{"default when the file is missing", "{default: x, file: nope.txt}", Options{}, "x"},
		{"env over file", all, Options{Environ: environ[1:]}, "from env"},
		{"BAKE_VAR over env", all, Options{Environ: environ}, "from BAKE_VAR"},
		{"var file over BAKE_VAR", all, Options{Environ: environ, VarFiles: []string{yaml}}, "from var file"},
		{"later var file over earlier", all, Options{VarFiles: []string{yaml, later}}, "from later var file"},
		{"--var over all", all, Options{Environ: environ, VarFiles: []string{yaml, later}, Vars: map[string]string{"v": "from --var"}}, "from --var"},
		{"an empty --var counts", all, Options{Vars: map[string]string{"v": ""}}, ""},
		{"the value of a flag is data", "x", Options{Vars: map[string]string{"v": "${{ run.id }}"}}, "${{ run.id }}"},
		{"numbers are text", "1.10", Options{}, "1.10"},
		{"unless they are declared", "{default: 1.10, type: number}", Options{}, 1.1},
		{"number from a flag", "{default: 1, type: number}", Options{Vars: map[string]string{"v": "42"}}, 42},
		{"bool by its default", "true", Options{Vars: map[string]string{"v": "false"}}, false},
		{"list by its default", "[a, 1, 1.10, true]", Options{}, []any{"a", 1, "1.10", true}},
		{"list from a flag", "[]", Options{Vars: map[string]string{"v": "a, 2,true"}}, []any{"a", 2, true}},
		{"list in brackets from a flag", "[]", Options{Vars: map[string]string{"v": `["a,b", 2]`}}, []any{"a,b", 2}},
		{"empty list from a flag", "[a]", Options{Vars: map[string]string{"v": ""}}, []any{}},
		{"expression as default", "${{ upper(env.NAME) }}-${{ git.sha }}", Options{Environ: []string{"NAME=me"}}, "ME-"},
		{"null is empty text", "{default: ~, type: string}", Options{Vars: map[string]string{"v": "x"}}, "x"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tmpl, diags := ParseBytes("t.yaml", dir, []byte("variables:\n  v: "+tt.variable+"\nsource: {scratch: true}\n"), small(), tt.opts)
			if len(diags) > 0 {
				t.Fatal(diags.Err())
			}
			if diff := cmp.Diff(tt.want, tmpl.Env.vars["v"].data); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestMatrixMultipliesABuild(t *testing.T) {
	tests := []struct {
		name, matrix string
		want         []string
	}{
		{"one list", "{arch: [amd64, arm64]}", []string{"t-amd64", "t-arm64"}},
		{"two lists", "{a: [1, 2], b: [x, y]}", []string{"t-1-x", "t-1-y", "t-2-x", "t-2-y"}},
		{"odd values", "{v: [1.10, true, 'a/b c', linux/arm64]}", []string{"t-1.10", "t-true", "t-a-b-c", "t-linux-arm64"}},
		{"exclude", "{a: [1, 2], b: [x, y], exclude: [{a: 1, b: y}]}", []string{"t-1-x", "t-2-x", "t-2-y"}},
		{"exclude by part", "{a: [1, 2], b: [x, y], exclude: [{a: 1}]}", []string{"t-2-x", "t-2-y"}},
		{"include adds a combination", "{a: [1], include: [{a: 2, b: z}]}", []string{"t-1", "t-2-z"}},
		{"include adds a value", "{a: [1, 2], include: [{a: 2, extra: z}]}", []string{"t-1", "t-2"}},
		{"only include", "{include: [{a: 1}, {a: 2}]}", []string{"t-1", "t-2"}},
		{"from a variable", "{a: '${{ var.list }}'}", []string{"t-p", "t-q"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tmpl := parse(t, "name: t\nvariables: {list: [p, q]}\nsource: {scratch: true}\nmatrix: "+tt.matrix+"\n", nil)
			var got []string
			for _, b := range tmpl.Builds {
				got = append(got, b.Name)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestMatrixValuesAreKnownInExpressions(t *testing.T) {
	tmpl := parse(t, `
source: {image: "debian:${{ matrix.release }}"}
matrix: {release: [bookworm, trixie], include: [{release: trixie, extra: yes}]}
steps:
  - run: echo ${{ matrix.release }} ${{ source.id }}
  - if: matrix.release == "trixie"
    run: echo ${{ matrix.extra }}
`, nil)
	first, second := tmpl.Builds[0], tmpl.Builds[1]
	if got := string(first.Source.Body.JSON()); got != `"debian:bookworm"` {
		t.Errorf("got %s", got)
	}
	if len(first.Steps) != 1 || len(second.Steps) != 2 {
		t.Errorf("got %d and %d steps", len(first.Steps), len(second.Steps))
	}
	if got := string(second.Steps[0].Body.JSON()); got != `"echo trixie ${{ source.id }}"` {
		t.Errorf("got %s", got)
	}
}

func TestIncludedStepsStandInTheirPlace(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "lib/a.yaml", "- run: a ${{ with.x }}\n- include: b.yaml\n  with: {y: '${{ with.x }}!'}\n  if: source.id == \"1\"\n")
	write(t, dir, "lib/b.yaml", "- run: b ${{ with.y }}\n- run: c\n  if: source.id != \"2\"\n")
	tmpl, diags := ParseBytes("sub/t.yaml", dir, []byte(`
variables: {s: {default: hunter22, sensitive: true}}
source: {scratch: true}
steps:
  - run: first
  - include: lib/a.yaml
    with: {x: "<${{ var.s }}>"}
  - run: last
`), small(), Options{})
	if len(diags) > 0 {
		t.Fatal(diags.Err())
	}
	var got []string
	for _, s := range tmpl.Builds[0].Steps {
		got = append(got, s.Pos.String()+" "+string(s.Body.JSON())+" "+s.If)
	}
	want := []string{
		`sub/t.yaml:5:5 "first" `,
		`sub/lib/a.yaml:1:3 "a ${{ (\"<\" + string(var.s) + \">\") }}" `,
		`sub/lib/b.yaml:1:3 "b ${{ (string((\"<\" + string(var.s) + \">\")) + \"!\") }}" source.id == "1"`,
		`sub/lib/b.yaml:2:3 "c" (source.id == "1") && (source.id != "2")`,
		`sub/t.yaml:8:5 "last" `,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	resolved, err := tmpl.Env.ResolveString("${{ (string((\"<\" + string(var.s) + \">\")) + \"!\") }}", true)
	if err != nil || resolved != "<hunter22>!" {
		t.Errorf("got %q, %v", resolved, err)
	}
}
