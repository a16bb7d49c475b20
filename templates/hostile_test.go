package templates

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bake/internal/need"
)

// Each of these would take gigabytes or hours without the limits.
func TestHostileTemplatesEndInADiagnostic(t *testing.T) {
	const src = "source: {scratch: true}\n"
	lines := func(n int, format string) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, format, i)
		}
		return b.String()
	}
	laughs := "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
	merges := "m0: &m0 {" + strings.TrimSuffix(lines(1000, "k%d: v, "), ", ") + "}\n"
	for i := range 60 {
		laughs += fmt.Sprintf("a%d: &a%d [%s]\n", i+1, i+1, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d, ", i), 10), ", "))
		merges += fmt.Sprintf("m%d: &m%d {<<: [%s]}\n", i+1, i+1, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*m%d, ", i), 10), ", "))
	}
	tests := []struct {
		name string
		text func() string
		want string
	}{
		{"100 MB", func() string { return src + strings.Repeat("# padding padding padding\n", 4<<20) }, "the file is larger than 1 MiB"},
		{"aliases of aliases", func() string { return laughs }, "the file stands for more than 100000 values"},
		{"merges of merges", func() string { return merges + lines(5000, "n%d: {<<: *m0}\n") }, "the file stands for more than 100000 values"},
		{"many values", func() string { return "a: [" + strings.Repeat("x,", 400_000) + "]" }, "the file stands for more than 100000 values"},
		{"deep lists", func() string { return "a: " + strings.Repeat("[", 9_000) + strings.Repeat("]", 9_000) }, "lists and mappings nest deeper than 64"},
		{"deeper lists", func() string { return "a: " + strings.Repeat("[", 200_000) }, "not YAML: exceeded max depth of 10000"},
		{"deep mappings", func() string { return strings.Repeat("{a: ", 9_000) + strings.Repeat("}", 9_000) }, "nest deeper than 64"},
		{"deep blocks", func() string {
			var b strings.Builder
			for i := range 700 {
				b.WriteString(strings.Repeat(" ", i) + "a:\n")
			}
			return b.String()
		}, "nest deeper than 64"},
		{"huge matrix", func() string { return src + "matrix:\n" + lines(30, "  k%d: [1, 2, 3, 4, 5, 6, 7, 8, 9]\n") }, "the matrix makes more than 256 builds"},
		{"matrix times builds", func() string {
			return "builds:\n" + lines(100, "  b%d: {matrix: {a: [1, 2, 3, 4, 5, 6, 7, 8, 9]}, source: {scratch: true}}\n")
		}, "the template makes more than 256 builds"},
		{"matrix times steps", func() string {
			return src + "matrix: {a: [" + strings.TrimSuffix(lines(200, "%d, "), ", ") + "]}\nsteps:\n" + strings.Repeat("  - run: x\n", 200)
		}, "the template has more than 10000 steps"},
		{"include of includes", func() string { return src + "steps:\n" + strings.Repeat("  - include: bomb0.yaml\n", 10) }, "the template includes more than 1000 files"},
		{"matrix of large values", func() string {
			return src + "variables: {v: " + strings.Repeat("x", 100_000) + "}\nmatrix: {a: [" + strings.TrimSuffix(lines(200, "%d, "), ", ") + "]}\nsteps:\n" +
				strings.Repeat("  - run: ${{ var.v + string(matrix.a) + \"y\" }}\n", 40)
		}, "32 MiB of text"},
		{"a million mistakes", func() string { return src + strings.Repeat("x: y\n", 30_000) }, "more mistakes from here on"},
		{"long words", func() string { return src + strings.Repeat("x", 1_000) + ": y\n" }, "unknown key"},
		{"not regular", func() string { return src + "steps:\n  - include: /dev/zero\n" }, "not a regular file"},
	}
	dir := t.TempDir()
	for i := range 5 {
		write(t, dir, fmt.Sprintf("bomb%d.yaml", i), strings.Repeat(fmt.Sprintf("- include: bomb%d.yaml\n", i+1), 10))
	}
	write(t, dir, "bomb5.yaml", "- run: x\n")
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, diags := ParseBytes("t.yaml", dir, []byte(tt.text()), small(), Options{})
			for _, d := range diags {
				if strings.Contains(d.Message, tt.want) {
					return
				}
			}
			t.Errorf("no diagnostic says %q; the first of %d: %.300v", tt.want, len(diags), diags[:min(len(diags), 1)].Err())
		})
	}
}

func TestParseReadsNoMoreThanItTakes(t *testing.T) {
	file := filepath.Join(t.TempDir(), "big.yaml")
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(100 << 30); err != nil { // a hole: nothing is written
		need.Missing(t, "no large sparse files: %v", err)
	}
	_, diags := Parse(file, small(), Options{})
	if len(diags) != 1 || diags[0].Message != "the file is larger than 1 MiB" {
		t.Errorf("got %v", diags.Err())
	}
}

func TestParseOfWhatIsNoFileSaysWhy(t *testing.T) {
	for file, want := range map[string]string{
		"nope.yaml": `reading template "nope.yaml": no such file or directory`,
		".":         `reading template ".": it is a directory`,
	} {
		_, diags := Parse(file, small(), Options{})
		if len(diags) != 1 || diags[0].Message != want {
			t.Errorf("got %v, want %s", diags.Err(), want)
		}
	}
}
