package ecs

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/google/go-cmp/cmp"

	"bake/templates"
)

// read reads a task definition, as a template holds it or as AWS returns it.
func read(t testing.TB, path string) *Definition {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return parse(t, path, string(data))
}

func parse(t testing.TB, name, text string) *Definition {
	t.Helper()
	b, diags := templates.ReadBlock(name, []byte(text))
	if err := diags.Err(); err != nil {
		t.Fatal(err)
	}
	def, diags := Task{block: b}.definition(true)
	if err := diags.Err(); err != nil {
		t.Fatal(err)
	}
	return def
}

func TestTenTaskDefinitionsDoNotDifferFromWhatAWSReturns(t *testing.T) {
	cases, err := filepath.Glob("testdata/definitions/*")
	if err != nil || len(cases) != 10 {
		t.Fatalf("%d cases: %v", len(cases), err)
	}
	for _, dir := range cases {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			mine, aws := read(t, filepath.Join(dir, "template.yaml")), read(t, filepath.Join(dir, "aws.json"))
			if diff := differences(aws, mine); len(diff) > 0 {
				t.Errorf("they differ: %+v", diff)
			}
			if diff := differences(mine, aws); len(diff) > 0 {
				t.Errorf("they differ the other way round: %+v", diff)
			}
			if a, b := hash(mine), hash(aws); a != b && aws.ExecutionRoleArn == nil {
				t.Errorf("hashes %s and %s", a, b)
			}
		})
	}
}

// TestNoChangeIsHidden changes every value of the ten definitions in turn: a
// comparison that is quiet because it looks at nothing would not notice.
func TestNoChangeIsHidden(t *testing.T) {
	cases, _ := filepath.Glob("testdata/definitions/*")
	changes := 0
	for _, dir := range cases {
		def := read(t, filepath.Join(dir, "template.yaml"))
		leaves := 0
		visit(normal(def), func(set func(any), old any) {
			leaves++
			was := normal(def)
			now := normal(def)
			n := 0
			visit(now, func(set func(any), old any) {
				if n++; n == leaves {
					set(other(old))
				}
			})
			var out []Difference
			compare("", "", was, now, &out)
			if len(out) == 0 {
				t.Errorf("%s: changing %v is not noticed", dir, old)
			}
			changes++
		})
	}
	if changes < 150 {
		t.Errorf("only %d values were changed", changes)
	}
}

func other(v any) any {
	switch v := v.(type) {
	case string:
		return v + "x"
	case float64:
		return v + 1
	case bool:
		return !v
	}
	return nil
}

// visit calls f for every value that is no mapping or list, in a fixed order.
func visit(v any, f func(set func(any), old any)) {
	switch v := v.(type) {
	case map[string]any:
		for _, k := range sortedKeys(v) {
			if isLeaf(v[k]) {
				f(func(x any) { v[k] = x }, v[k])
			} else {
				visit(v[k], f)
			}
		}
	case []any:
		for i := range v {
			if isLeaf(v[i]) {
				f(func(x any) { v[i] = x }, v[i])
			} else {
				visit(v[i], f)
			}
		}
	}
}

func isLeaf(v any) bool {
	switch v.(type) {
	case map[string]any, []any:
		return false
	}
	return true
}

func TestDifferencesNameTheirPlace(t *testing.T) {
	old := parse(t, "old.yaml", `
family: api
containerDefinitions:
  - {name: api, image: "api@sha256:1", environment: [{name: LOG, value: json}, {name: OLD, value: "1"}], portMappings: [{containerPort: 80}]}
`)
	now := parse(t, "new.yaml", `
family: api
cpu: "256"
containerDefinitions:
  - {name: api, image: "api@sha256:2", environment: [{name: LOG, value: text}, {name: NEW, value: "2"}], portMappings: [{containerPort: 80}]}
`)
	var b strings.Builder
	if err := WriteDifferences(&b, differences(old, now)); err != nil {
		t.Fatal(err)
	}
	want := `~ containerDefinitions[api].environment[LOG].value: json -> text
- containerDefinitions[api].environment[OLD]: {"name":"OLD","value":"1"}
+ containerDefinitions[api].environment[NEW]: {"name":"NEW","value":"2"}
~ containerDefinitions[api].image: api@sha256:1 -> api@sha256:2
+ cpu: 256
`
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Error(diff)
	}
}

func TestMistakesInATaskDefinitionHavePlaces(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"unknown key", "family: api\ncontainerDefinitions:\n  - name: api\n    memoryReservaton: 5\n", `task.yaml:4:5: unknown key "memoryReservaton" in "containerDefinitions"`},
		{"wrong type", "family: api\ncontainerDefinitions:\n  - {name: api, memory: lots}\n", `task.yaml:3:25: "memory" must be a whole number, not "lots"`},
		{"no list", "containerDefinitions: {name: api}\n", `task.yaml:1:23: "containerDefinitions" must be a list`},
		{"not a word of AWS", "networkMode: vpc\n", `task.yaml:1:14: "networkMode" must be one of`},
	} {
		t.Run(c.name, func(t *testing.T) {
			b, diags := templates.ReadBlock("task.yaml", []byte(c.text))
			if err := diags.Err(); err != nil {
				t.Fatal(err)
			}
			_, diags = Task{block: b}.definition(true)
			if len(diags) != 1 || !strings.HasPrefix(diags[0].Pos.String()+": "+diags[0].Message, c.want) {
				t.Errorf("got %v, want %s", diags.Err(), c.want)
			}
		})
	}
}

func TestANearWordIsSuggested(t *testing.T) {
	b, _ := templates.ReadBlock("task.yaml", []byte("famliy: api\n"))
	_, diags := Task{block: b}.definition(true)
	if len(diags) != 1 || diags[0].Hint != `did you mean "family"?` {
		t.Errorf("got %v", diags)
	}
}

func TestChangesKeepWhatTheyDoNotName(t *testing.T) {
	def := read(t, "testdata/definitions/fargate/aws.json")
	before := normal(def)
	value, secret := "text", "/api/token"
	o := Output{Service: "api", CPU: "512", Change: Change{
		Env: map[string]*string{"LOG": &value, "PORT": nil}, Secrets: map[string]*string{"TOKEN": &secret},
	}}
	changed := clone(def)
	if err := o.apply(changed, "eu-west-1"); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, normal(def)); diff != "" {
		t.Errorf("the original has changed too: %s", diff)
	}
	var b strings.Builder
	if err := WriteDifferences(&b, differences(def, changed)); err != nil {
		t.Fatal(err)
	}
	want := `~ containerDefinitions[api].environment[LOG].value: json -> text
- containerDefinitions[api].environment[PORT]: {"name":"PORT","value":"8080"}
+ containerDefinitions[api].secrets: [{"name":"TOKEN","valueFrom":"/api/token"}]
~ cpu: 256 -> 512
`
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Error(diff)
	}
}

func TestTheContainerIsTheOnlyEssentialOneUnlessItIsNamed(t *testing.T) {
	def := read(t, "testdata/definitions/arm64/aws.json")
	for _, c := range []struct{ name, want string }{{"", "edge"}, {"helper", "helper"}} {
		got, err := containerNamed(def, c.name)
		if err != nil || aws.ToString(got.Name) != c.want {
			t.Errorf("container %q is %v, %v", c.name, got, err)
		}
	}
	if _, err := containerNamed(def, "missing"); err == nil || !strings.Contains(err.Error(), "edge, helper") {
		t.Errorf("a missing container: %v", err)
	}
	if _, err := containerNamed(read(t, "testdata/definitions/firelens/aws.json"), ""); err == nil {
		t.Error("one of two essential containers was chosen")
	}
}
