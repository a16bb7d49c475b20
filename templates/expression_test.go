package templates

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// resolveIn reads one value of a template in which a few variables are set, as
// a step's body.
func resolveIn(t *testing.T, expr string) (string, string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "VERSION"), []byte("1.2.3\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	text := "variables:\n  v: x\n  n: {default: 3, type: number}\n  on: true\n  list: [a, 2, false]\n  t: {default: hunter22, sensitive: true}\n  empty: ''\n" +
		"source: {scratch: true}\nsteps:\n  - run: |-\n      " + expr + "\n"
	got, diags := ParseBytes("t.yaml", dir, []byte(text), small(), options(nil))
	if len(diags) > 0 {
		return "", diags[0].Message
	}
	return string(got.Builds[0].Steps[0].Body.JSON()), ""
}

func TestExpressionsGiveTypedValues(t *testing.T) {
	tests := []struct{ expr, want string }{
		{"${{ var.v }}", `"x"`},
		{"${{ var.n }}", `3`},
		{"${{ var.on }}", `true`},
		{"${{ var.list }}", `["a",2,false]`},
		{"a${{ var.n }}b${{ var.on }}", `"a3btrue"`},
		{"${{ var.n / 2 }}", `1.5`},
		{"${{ var.n * 2 }}", `6`},
		{"${{ nil }}x", "the value is missing"},
		{`${{ default(var.empty, "d") }}`, `"d"`},
		{`${{ env.NOPE ?? "d" }}`, `"d"`},
		{`${{ env["HOME"] }}`, `"/home/me"`},
		{`${{ trim(file("VERSION")) }}`, `"1.2.3"`},
		{`${{ sha256("abc") }}`, `"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"`},
		{`${{ slug("My App/1.0") }}`, `"my-app-1-0"`},
		{`${{ join(var.list, "+") }}`, `"a+2+false"`},
		{`${{ split("a,b", ",") }}`, `["a","b"]`},
		{`${{ json({"b": 1, "a": [var.v]}) }}`, `"{\"a\":[\"x\"],\"b\":1}"`},
		{`${{ {"b": 1}["b"] }}`, `1`},
		{`${{ unbase64(base64("é")) }}`, `"é"`},
		{`${{ var.v | upper() }}`, `"X"`},
		{`${{ count(var.list, # == "a") }}`, `1`},
		{`${{ var.list[0] }}`, `"a"`},
		{`${{ var.v == "x" ? "yes" : "no" }}`, `"yes"`},
		{`${{ "}}" }}`, `"}}"`},
		{"$${{ var.v }}", `"$${{ var.v }}"`},
		{"$$${{ var.v }}", `"$$${{ var.v }}"`},
		{`${{ "$" }}${{ "{{" }}`, `"$${{"`}, // a value is never read as an expression
		{`a$${{ "{{ x }}" }}`, `"a$${{ \"{{ x }}\" }}"`},
		{`${{ git.sha }}-${{ run.id }}`, `"0123abcd-r1"`},
	}
	for _, tt := range tests {
		t.Run(tt.expr, func(t *testing.T) {
			got, message := resolveIn(t, tt.expr)
			if got+message != tt.want {
				t.Errorf("got %s%s, want %s", got, message, tt.want)
			}
		})
	}
}

func TestExpressionsThatWaitKeepTheirTextWithKnownNamesFilledIn(t *testing.T) {
	tests := []struct{ expr, want string }{
		{"${{ var.t }}", `${{ var.t }}`},
		{"${{ source.digest }}", `${{ source.digest }}`},
		{"${{ var.v + source.digest }}", `${{ "x" + source.digest }}`},
		{`${{ var . v + source["digest"] + var["v"] }}`, `${{ "x" + source["digest"] + "x" }}`},
		{"${{ var.list[0] + source.id }}", `${{ ["a", 2, false][0] + source.id }}`},
		{"${{ var.on ? source.id : var.v }}", `${{ true ? source.id : "x" }}`},
		{"x ${{ var.v }} ${{ source.id }} $${{ y }}", `x x ${{ source.id }} $${{ y }}`},
		{`cost: ${{ "$" }}${{ source.id }}`, `cost: ${{"$"}}${{ source.id }}`},
		{`${{ default(source.id, env.HOME) }}`, `${{ default(source.id, "/home/me") }}`},
		{`${{ "é" + var.v + source.id }}`, `${{ "é" + "x" + source.id }}`},
	}
	for _, tt := range tests {
		t.Run(tt.expr, func(t *testing.T) {
			body, message := resolveIn(t, tt.expr)
			back, err := FromJSON([]byte(body), Pos{}, nil)
			if err != nil {
				t.Fatal(message, err)
			}
			if got := back.node.template(); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

func TestExpressionsAreBounded(t *testing.T) {
	grow := "var.v"
	for range 40 {
		grow = `replace("aaaaaaaaaaaaaaaa", "a", ` + grow + `)`
	}
	deep := strings.Repeat("(", 2000) + "1" + strings.Repeat(")", 2000)
	tests := []struct{ expr, want string }{
		{"${{ " + grow + " }}", "the expression makes more than 1048576 bytes of text"},
		{"${{ map(map(map(map([var.v], # + #), # + #), # + #), # + #) }}", ""},
		{"${{ 1..100000000 }}", "the expression makes lists of more than 10000 elements"},
		{"${{ join(map(1..9000, string(#) + \"" + strings.Repeat("x", 300) + "\"), \"\") }}", "the expression makes more than 1048576 bytes of text"},
		{"${{ all(1..9000, all(1..9000, true)) }}", "a predicate inside another predicate"},
		{"${{ map([var.v], [#, #]) }}", "a list or mapping of # cannot be made"},
		{"${{ let a = var.v; a + a }}", "let and ; cannot be used"},
		{"${{ repeat(\"x\", 1000000000) }}", `unknown function "repeat"`},
		{"${{ now() }}", `unknown function "now"`},
		{"${{ var.v.Foo() }}", "only functions can be called"},
		{"${{ $env }}", `unknown name "$env"`},
		{"${{ " + strings.Repeat("1 + ", 900) + "1 }}", "the expression has more than 500 parts"},
		{"${{ " + deep + " }}", ""},
		{"${{ \"" + strings.Repeat("x", 5000) + "\" }}", "the expression is longer than 4096 bytes"},
	}
	for _, tt := range tests {
		t.Run(tt.expr[:min(len(tt.expr), 60)], func(t *testing.T) {
			if _, message := resolveIn(t, tt.expr); message != tt.want {
				t.Errorf("got %q, want %q", message, tt.want)
			}
		})
	}
}

func TestEnvResolvesWhatWaited(t *testing.T) {
	tmpl := parse(t, whole, nil)
	b := tmpl.Builds[0]
	env := tmpl.Env.WithSource(map[string]string{"id": "img-1"}).WithOutputs(map[string]map[string]string{"registry": {"ref": "r/api@sha256:0"}})

	back, err := FromJSON(b.Tests[0].Body.JSON(), b.Tests[0].Pos, env)
	if err != nil {
		t.Fatal(err)
	}
	got, diags := back.Resolve(env, true)
	if len(diags) > 0 || string(got.JSON()) != `"test img-1"` {
		t.Errorf("got %s %v", got.JSON(), diags.Err())
	}
	got, diags = b.Outputs[2].Body.Resolve(env, true)
	if want := `{"data":{"ref":"r/api@sha256:0@/home/me"},"file":"x"}`; len(diags) > 0 || string(got.JSON()) != want {
		t.Errorf("got %s %v, want %s", got.JSON(), diags.Err(), want)
	}
	if got, err := env.ResolveString(b.Steps[0].Env["TOKEN"], true); err != nil || got != "hunter22" {
		t.Errorf("the token is %q, %v", got, err)
	}
	if got, err := env.ResolveString(b.Steps[0].Env["TOKEN"], false); err != nil || got != "${{ var.token }}" {
		t.Errorf("before the end the token is %q, %v", got, err)
	}
	if yes, err := env.Truth(b.Steps[3].If); err != nil || !yes {
		t.Errorf("the condition is %v, %v", yes, err)
	}
	if diff := cmp.Diff([]string{"hunter22"}, env.Secrets()); diff != "" {
		t.Error(diff)
	}
}

func TestAnExpressionThatWaitsMayHoldLongValues(t *testing.T) {
	text := "variables:\n  long: " + strings.Repeat("x", 20_000) + "\n  list: [" + strings.Repeat("abc, ", 2_000) + "]\n" +
		"source: {scratch: true}\nsteps:\n  - run: ${{ source.id + var.long }}\n  - run: ${{ source.id in var.list }}\n"
	tmpl := parse(t, text, nil)
	env := tmpl.Env.WithSource(map[string]string{"id": "abc"})
	for i, want := range []string{`"abcxxx`, `true`} {
		body := tmpl.Builds[0].Steps[i].Body
		back, err := FromJSON(body.JSON(), body.Pos(), env)
		if err != nil {
			t.Fatal(err)
		}
		got, diags := back.Resolve(env, true)
		if len(diags) > 0 || !strings.HasPrefix(string(got.JSON()), want) {
			t.Errorf("got %.20s %v, want %s", got.JSON(), diags.Err(), want)
		}
	}
	_, diags := ParseBytes("t.yaml", "/", []byte(strings.Replace(text, "source.id + var.long", "source.id + var.long + var.long + var.long + var.long", 1)), small(), Options{})
	if got := brief(diags); !strings.Contains(got, "too long to keep until it can be worked out") {
		t.Errorf("got %s", got)
	}
}

func TestEnvSaysWhatItDoesNotKnow(t *testing.T) {
	env := parse(t, whole, nil).Env
	tests := []struct {
		env             *Env
		text, want, get string
	}{
		{env, "${{ source.id }}", "source.id is not known yet", ""},
		{env.WithSource(map[string]string{"id": ""}), "${{ source.ID }}", `the source has no "ID"`, ""},
		{env.WithOutputs(nil), "${{ outputs.ecr.ref }}", "outputs.ecr.ref is not known: that output did not run", ""},
		{env.WithOutputs(map[string]map[string]string{"ecr": {"digest": "d"}}), "${{ outputs.ecr.ref }}", `the output "ecr" has no "ref"`, ""},
		{env.WithOutputs(nil), `${{ default(outputs.ecr.ref, "none") }}`, "", "none"},
		{env.WithSource(nil), `${{ default(source.id, "none") }}`, "", "none"},
		{env, "${{ var.nope }}", `unknown variable "nope"`, ""},
		{nil, "${{ var.nope }}", `unknown variable "nope"`, ""},
		{nil, "plain $${{ x", "", "plain ${{ x"},
		{env, "${{ var.hosts }}", "a list or mapping cannot stand inside a text", ""},
	}
	for _, tt := range tests {
		got, err := tt.env.ResolveString(tt.text, true)
		message := ""
		if err != nil {
			message = err.Error()
		}
		if message != tt.want || got != tt.get {
			t.Errorf("%s: got %q, error %q; want %q, error %q", tt.text, got, message, tt.get, tt.want)
		}
	}
}

func TestErrorsOfSensitiveExpressionsDoNotQuoteTheValue(t *testing.T) {
	env := parse(t, whole, nil).Env
	for _, text := range []string{"${{ int(var.token) }}", "${{ file(var.token) }}", "${{ unbase64(var.token) }}"} {
		_, err := env.ResolveString(text, true)
		if err == nil || strings.Contains(err.Error(), "hunter") {
			t.Errorf("%s: %v", text, err)
		}
	}
	b := block(t, "{name: x, uid: '${{ var.token }}'}")
	resolved, diags := b.Resolve(env, true)
	if len(diags) > 0 {
		t.Fatal(diags.Err())
	}
	if got := brief(Decode(resolved, new(userStep))); got != `1:16-34 "uid" must be a whole number, not the sensitive value` {
		t.Errorf("got %s", got)
	}
}

func TestResolveIsSafeForConcurrentUse(t *testing.T) {
	tmpl := parse(t, whole, nil)
	env := tmpl.Env.WithSource(map[string]string{"id": "img-1"})
	done := make(chan string)
	for range 8 {
		go func() {
			got, _ := tmpl.Builds[0].Tests[0].Body.Resolve(env, true)
			done <- string(got.JSON())
		}()
	}
	for range 8 {
		if got := <-done; got != `"test img-1"` {
			t.Errorf("got %s", got)
		}
	}
}
