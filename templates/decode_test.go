package templates

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// block reads YAML that must be free of mistakes.
func block(t testing.TB, text string) Block {
	t.Helper()
	n, diags := loadYAML("t.yaml", []byte(text))
	if len(diags) > 0 {
		t.Fatalf("reading %q: %v", text, diags.Err())
	}
	return Block{node: n, file: "t.yaml"}
}

type health struct {
	Test    Strings       `yaml:"test" bake:"main,required"`
	Timeout time.Duration `yaml:"timeout" default:"30s" min:"1s" max:"1h"`
}

type Shared struct {
	Quiet bool `yaml:"quiet" doc:"say nothing"`
}

type thing struct {
	From    string            `yaml:"from" bake:"main,required" pattern:"^[a-z./]+$" doc:"where it comes from"`
	Count   int               `yaml:"count" default:"3" min:"1" max:"9"`
	Ratio   float64           `yaml:"ratio"`
	On      bool              `yaml:"on"`
	Size    Size              `yaml:"size" max:"1GiB"`
	Mode    Mode              `yaml:"mode" default:"0644"`
	Level   string            `yaml:"level" enum:"low|high" default:"low"`
	Tags    Strings           `yaml:"tags" pattern:"^\\w+$"`
	Ports   []int             `yaml:"ports" default:"[80, 443]"`
	Env     map[string]string `yaml:"env"`
	Data    any               `yaml:"data"`
	Health  *health           `yaml:"health"`
	Checks  []health          `yaml:"checks"`
	Raw     Block             `yaml:"raw"`
	Ignored string
	Shared
}

type validated struct {
	A int `yaml:"a"`
	B int `yaml:"b"`
}

func (v *validated) Validate(b Block) Diagnostics {
	if v.A > v.B {
		return Diagnostics{b.At("a").Errorf("a is more than b")}
	}
	return nil
}

func TestDecodeFillsEveryTypeOfField(t *testing.T) {
	var got thing
	diags := Decode(block(t, `
from: site/
count: 7
ratio: 0.5
on: true
size: 1.5MiB
mode: 0755
level: high
tags: one
ports: [1, 2]
env: {A: 1, B: true, C: x, V: 1.10, EMPTY: }
data: {list: [1, 2.5, yes, null, true], text: x}
health: {test: [a, b], timeout: 1m}
checks: [echo hi, {test: x}, [a, b]]
quiet: true
`), &got)
	if len(diags) > 0 {
		t.Fatal(diags.Err())
	}
	want := thing{From: "site/", Count: 7, Ratio: 0.5, On: true, Size: 3 << 19, Mode: 0o755, Level: "high",
		Tags: Strings{"one"}, Ports: []int{1, 2}, Env: map[string]string{"A": "1", "B": "true", "C": "x", "V": "1.10", "EMPTY": ""},
		Data:   map[string]any{"list": []any{1, 2.5, "yes", nil, true}, "text": "x"},
		Health: &health{Strings{"a", "b"}, time.Minute},
		Checks: []health{{Strings{"echo hi"}, 30 * time.Second}, {Strings{"x"}, 30 * time.Second}, {Strings{"a", "b"}, 30 * time.Second}}}
	want.Quiet = true
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b Block) bool { return a == b })); diff != "" {
		t.Error(diff)
	}
}

func TestDecodeOfShortFormFillsDefaults(t *testing.T) {
	var got thing
	if diags := Decode(block(t, "a/b"), &got); len(diags) > 0 {
		t.Fatal(diags.Err())
	}
	want := thing{From: "a/b", Count: 3, Mode: 0o644, Level: "low", Ports: []int{80, 443}}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b Block) bool { return a == b })); diff != "" {
		t.Error(diff)
	}
}

func TestDecodeSaysEverythingThatIsWrong(t *testing.T) {
	tests := []struct{ yaml, want string }{
		{"form: x", `1:1-5 unknown key "form" | did you mean "from"?`},
		{"from:", `1:6-7 "from" has no value | from: where it comes from`},
		{"from: [a]", `1:7-10 "from" must be a string, not a list`},
		{"[a, b]", `1:1-7 the value must be a string or a mapping, not a list`},
		{"from: UPPER", `1:7-12 "from" must match ^[a-z./]+$, not "UPPER" | where it comes from`},
		{"{from: x, count: many}", `1:18-22 "count" must be a whole number, not "many"`},
		{"{from: x, count: 1.5}", `1:18-21 "count" must be a whole number, not 1.5`},
		{"{from: x, count: '5'}", `1:18-21 "count" must be a whole number, not "5" | write it without quotes`},
		{"{from: x, count: 10}", `1:18-20 "count" must be at most 9, not 10`},
		{"{from: x, count: 0}", `1:18-19 "count" must be at least 1, not 0`},
		{"{from: x, on: yes}", `1:15-18 "on" must be true or false, not "yes" | write true`},
		{"{from: x, size: 2GiB}", `1:17-21 "size" must be at most 1GiB, not "2GiB"`},
		{"{from: x, size: 2 potatoes}", `1:17-27 "size" must be a size like 512MiB or 20GiB, not "2 potatoes"`},
		{"{from: x, mode: 0999}", `1:17-21 "mode" must be a file mode like "0644", not 0999`},
		{"{from: x, level: hihg}", `1:18-22 "level" must be "low" or "high", not "hihg" | did you mean "high"?`},
		{"{from: x, tags: [a, b c]}", `1:21-24 "tags" must match ^\w+$, not "b c"`},
		{"{from: x, tags: {a: b}}", `1:17-23 "tags" must be a string or a list of strings, not a mapping`},
		{"{from: x, ports: 80}", `1:18-20 "ports" must be a list of whole numbers, not 80 | write it as a list: [80]`},
		{"{from: x, ports: [80, x, ~]}", `1:23-24 "ports" must be a whole number, not "x"; 1:26-27 element 3 of "ports" has no value`},
		{"{from: x, env: {A: [1]}}", `1:20-23 "A" must be a string, not a list`},
		{"{from: x, env: []}", `1:16-18 "env" must be a mapping of names to strings, not a list`},
		{"{from: x, health: {timeout: 5}}", `1:19-31 "test" is missing in "health"; 1:29-30 "timeout" must be a duration like 90s, 10m or 1h30m, not 5 | write the unit: 5s, 5m`},
		{"{from: x, health: {test: x, timeout: 2h}}", `1:38-40 "timeout" must be at most 1h, not "2h"`},
		{"{from: x, health: {test: x, tiemout: 2h}}", `1:29-36 unknown key "tiemout" in "health" | did you mean "timeout"?`},
	}
	for _, tt := range tests {
		t.Run(tt.yaml, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, brief(Decode(block(t, tt.yaml), new(thing)).Sort())); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// brief writes diagnostics on one line each.
func brief(ds Diagnostics) string {
	var out []string
	for _, d := range ds {
		s := fmt.Sprintf("%d:%d-%d %s", d.Pos.Line, d.Pos.Col, d.End, d.Message)
		if d.Hint != "" {
			s += " | " + d.Hint
		}
		out = append(out, s)
	}
	return strings.Join(out, "; ")
}

func TestDecodeAsksAValidatorOnlyIfItsFieldsAreRight(t *testing.T) {
	for text, want := range map[string]string{
		"{a: 2, b: 1}": "1:5-6 a is more than b",
		"{a: 2, b: x}": `1:11-12 "b" must be a whole number, not "x"`,
		"{a: 1, b: 2}": "",
	} {
		if got := brief(Decode(block(t, text), new(validated))); got != want {
			t.Errorf("%s: got %q, want %q", text, got, want)
		}
	}
}

func TestDecodeLeavesUnresolvedFieldsAlone(t *testing.T) {
	b := block(t, `{from: "${{ var.x }}", count: "${{ var.n }}", level: "${{ var.l }}-x", tags: [a, "${{ var.t }}"], health: "${{ var.h }}"}`)
	var got thing
	if diags := Decode(b, &got); len(diags) > 0 {
		t.Fatal(diags.Err())
	}
	if got.From != "" || got.Count != 0 || got.Level != "" || len(got.Tags) != 2 || got.Tags[1] != "" {
		t.Errorf("got %+v", got)
	}
	if !b.Unresolved() || !b.At("tags").Unresolved() || b.At("tags", "0").Unresolved() {
		t.Error("Unresolved does not say where the expressions are")
	}
}

func TestBlockFindsItsParts(t *testing.T) {
	b := block(t, "a:\n  b: [x, y]\n  c:\n")
	if got := b.At("a", "b", "1").Pos().String(); got != "t.yaml:2:10" {
		t.Errorf("a.b.1 is at %s", got)
	}
	if got := b.At("a", "nothing", "here").Pos(); got != b.At("a").Pos() {
		t.Errorf("what does not exist is at %s", got)
	}
	if !b.Has("a", "c") || b.Has("a", "d") || b.Has("a", "b", "2") {
		t.Error("Has is wrong")
	}
	if got := b.Key("a", "b").Pos().String(); got != "t.yaml:2:3" {
		t.Errorf("the key a.b is at %s", got)
	}
}

func TestJSONIsCanonicalAndReadsBackTheSame(t *testing.T) {
	tests := []struct{ yaml, want string }{
		{"{b: 1, a: [x, ~, true, 1.10, 0644, 0x1f, '1']}", `{"a":["x",null,true,1.10,"0644","0x1f","1"],"b":1}`},
		{"<a & b>", `"<a & b>"`},
		{"'${{ var.x }}-$${{ y }}'", `"${{ var.x }}-$${{ y }}"`},
		{"'a$$${{ x'", `"a$$${{ x"`},
		{"echo $HOME ${x} {{ y }}", `"echo $HOME ${x} {{ y }}"`},
	}
	for _, tt := range tests {
		b := block(t, tt.yaml)
		if got := string(b.JSON()); got != tt.want {
			t.Errorf("JSON of %s: got %s, want %s", tt.yaml, got, tt.want)
		}
		back, err := FromJSON(b.JSON(), b.Pos(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := string(back.JSON()); got != tt.want {
			t.Errorf("read back: got %s, want %s", got, tt.want)
		}
	}
}

func TestDecodeOfReadBackJSONGivesTheSameStruct(t *testing.T) {
	b := block(t, "{from: a, count: 0x8, mode: 0755, size: 10, data: {v: 1.10, n: '5'}, tags: '7', on: True, env: {A: '$${{ x }}'}}")
	var direct, viaJSON thing
	Decode(b, &direct)
	back, err := FromJSON(b.JSON(), b.Pos(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if diags := Decode(back, &viaJSON); len(diags) > 0 {
		t.Fatal(diags.Err())
	}
	if diff := cmp.Diff(direct, viaJSON, cmp.Comparer(func(a, b Block) bool { return a == b })); diff != "" {
		t.Error(diff)
	}
	if direct.Env["A"] != "${{ x }}" {
		t.Errorf("the escape became %q", direct.Env["A"])
	}
}

func TestFromJSONRefusesWhatIsNoBlock(t *testing.T) {
	for _, text := range []string{"", "{", "1 2", `"${{ x"`, strings.Repeat("[", 100) + strings.Repeat("]", 100)} {
		if _, err := FromJSON([]byte(text), Pos{}, nil); err == nil {
			t.Errorf("%.20s: no error", text)
		}
	}
}
