package templates

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func format(t *testing.T, color bool, ds ...*Diagnostic) string {
	t.Helper()
	var b bytes.Buffer
	if err := Diagnostics(ds).Format(&b, color); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestFormatUnderlinesWhatIsWrong(t *testing.T) {
	at := func(line string, col, end int) *Diagnostic {
		return &Diagnostic{Pos: Pos{"web.yaml", 12, col}, End: end, Message: "it is wrong", Line: line}
	}
	tests := []struct {
		name string
		d    *Diagnostic
		want string
	}{
		{"a span", at("name: web", 7, 10), "   12 | name: web\n      |       ^^^\n"},
		{"only a place", at("name: web", 7, 0), "   12 | name: web\n      |       ^\n"},
		{"behind the line", at("name:", 6, 7), "   12 | name:\n      |      ^\n"},
		{"wide characters", at("日本 x", 4, 5), "   12 | 日本 x\n      |      ^\n"},
		{"combining characters", at("e\u0301\u0301 x", 5, 6), "   12 | e\u0301\u0301 x\n      |   ^\n"},
		{"tabs", at("a\tb\tx", 5, 6), "   12 | a       b       x\n      |                 ^\n"},
		{"escape sequences", at("a\x1b[31mb", 7, 8), "   12 | a\ufffd[31mb\n      |       ^\n"},
		{"a long line", at(strings.Repeat("x", 500)+"HERE"+strings.Repeat("y", 500), 501, 505),
			"   12 | ..." + strings.Repeat("x", 30) + "HERE" + strings.Repeat("y", 80) + "...\n      | " + strings.Repeat(" ", 33) + "^^^^\n"},
		{"a long mistake", at("run: "+strings.Repeat("z", 300), 6, 306),
			"   12 | run: " + strings.Repeat("z", 112) + "...\n      |      " + strings.Repeat("^", 115) + "\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			want := tt.d.Pos.String() + ": it is wrong\n" + tt.want
			if diff := cmp.Diff(want, format(t, false, tt.d)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestFormatOfWhatHasNoPlace(t *testing.T) {
	d := &Diagnostic{Message: `unknown variable "x" in --var`, Hint: "known here: y"}
	if got, want := format(t, false, d), "unknown variable \"x\" in --var\nhint: known here: y\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestFormatInColorSaysTheSame(t *testing.T) {
	d := &Diagnostic{Pos: Pos{"a.yaml", 1, 1}, End: 3, Message: "no", Line: "abc", Hint: "yes"}
	colored := format(t, true, d)
	if !strings.Contains(colored, red+"no"+plain) {
		t.Errorf("got %q", colored)
	}
	bare := strings.NewReplacer(bold, "", red, "", cyan, "", faint, "", plain, "").Replace(colored)
	if diff := cmp.Diff(format(t, false, d), bare); diff != "" {
		t.Error(diff)
	}
}

func TestSuggestFindsWhatWasMeant(t *testing.T) {
	known := []string{"install", "remove", "update", "keep_cache"}
	for word, want := range map[string]string{
		"instal": "install", "isntall": "install", "INSTALL": "install", "updat": "update", "keepcache": "keep_cache",
		"purge": "", "x": "", "": "",
	} {
		if got := Nearest(word, known); got != want {
			t.Errorf("%q: got %q, want %q", word, got, want)
		}
	}
}

func TestPlacesInsideScalarsOfEveryStyle(t *testing.T) {
	tests := []struct{ name, yaml, want string }{
		{"plain", "run: a ${{ BAD }}", "1:12-15"},
		{"plain over lines", "run: a\n  b\n  ${{ BAD }}", "3:7-10"},
		{"single quoted", "run: 'it''s ${{ BAD }}'", "1:17-20"},
		{"single quoted over lines", "run: 'it''s\n\n   ${{ BAD }}'", "3:8-11"},
		{"double quoted", `run: "\"\u00e9\t\x41 ${{ BAD }}"`, "1:26-29"},
		{"double quoted over lines", "run: \"a \\\n   ${{ BAD }}\"", "2:8-11"},
		{"literal", "run: |\n    a\n\n      b ${{ BAD }}\n", "4:13-16"},
		{"literal with indicator", "run: |2-\n      ${{ BAD }}\n", "2:11-14"},
		{"folded", "run: >-\n  a\n\n  b\n  ${{ BAD }}\n", "5:7-10"},
		{"anchored", "run: &x !!str ${{ BAD }}", "1:19-22"},
		{"anchored on another line", "run: &x\n  a ${{ BAD }}", "2:9-12"},
		{"wide", "run: 日本 ${{ BAD }}", "1:13-16"},
		{"expression over lines", "run: |\n  ${{\n    1 +\n    BAD }}\n", "4:5-8"},
		{"in a key's value in flow", "{run: [a, 'x ${{ BAD }}']}", "1:18-21"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n, diags := loadYAML("t.yaml", []byte(tt.yaml))
			if len(diags) > 0 {
				t.Fatal(diags.Err())
			}
			r := resolver{scope: &scope{}}
			r.resolve(n)
			if len(r.diags) != 1 {
				t.Fatalf("got %v", r.diags.Err())
			}
			if got, _, _ := strings.Cut(brief(r.diags), " "); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}
