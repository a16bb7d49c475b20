package builder_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"bake/builder"
	"bake/builder/buildertest"
	"bake/templates"
)

func parse(t *testing.T, c *cloud, text string, vars map[string]string) *templates.Template {
	t.Helper()
	file := filepath.Join(t.TempDir(), "bake.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	tmpl, diags := templates.Parse(file, c.catalog().Language(), templates.Options{Vars: vars, RunID: "r1", Now: time.Unix(0, 0)})
	if err := diags.Err(); err != nil {
		t.Fatal(err)
	}
	return tmpl
}

func compile(t *testing.T, c *cloud, text string) (*builder.Plan, templates.Diagnostics) {
	t.Helper()
	return builder.Compile(parse(t, c, text, nil), c.catalog())
}

// ids lists "build: step step ..." of a plan.
func ids(p *builder.Plan) []string {
	var all []string
	for _, b := range p.Builds {
		words := []string{b.Name + " <- " + strings.Join(b.Needs, ",") + ":"}
		for _, s := range b.Steps {
			words = append(words, strings.TrimPrefix(string(s.ID), b.Name+"/"))
		}
		all = append(all, strings.Join(words, " "))
	}
	return all
}

func TestCompileOrdersBuildsAndPhases(t *testing.T) {
	p, diags := compile(t, newCloud(0), `
name: graph
builds:
  web:
    source: {build: base}
    steps: [{script: one}]
    tests: [{script: check}]
    outputs: [{send: there}]
  base:
    source: {vm: small}
`)
	if err := diags.Err(); err != nil {
		t.Fatal(err)
	}
	want := []string{"base <- : open freeze accept", "web <- base: open provision/1 freeze test-open test/1 accept publish/1"}
	if diff := cmp.Diff(want, ids(p)); diff != "" {
		t.Errorf("plan (-want +got):\n%s", diff)
	}
}

func TestCompileExpandsPlatformsAndJoinsThem(t *testing.T) {
	p, diags := compile(t, newCloud(0), `
name: graph
builds:
  base:
    source: {vm: small, platforms: [linux/amd64, linux/arm64]}
  web:
    source: {build: base}
    outputs: [{send: there}]
`)
	if err := diags.Err(); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"base@linux-amd64 <- : open freeze accept", "base@linux-arm64 <- : open freeze accept",
		"base <- base@linux-amd64,base@linux-arm64: join accept",
		"web@linux-amd64 <- base@linux-amd64: open freeze accept", "web@linux-arm64 <- base@linux-arm64: open freeze accept",
		"web <- web@linux-amd64,web@linux-arm64: join accept publish/1",
	}
	if diff := cmp.Diff(want, ids(p)); diff != "" {
		t.Errorf("plan (-want +got):\n%s", diff)
	}
	if unknown := p.Only([]string{"web@linux-arm64"}); len(unknown) > 0 || len(p.Builds) != 2 {
		t.Errorf("only one platform: unknown %v, builds %v", unknown, ids(p))
	}
}

// keys pins a template and returns the key of each step of build "a".
func keys(t *testing.T, c *cloud, run builder.RunID, text string, vars map[string]string) []builder.Digest {
	t.Helper()
	tmpl := parse(t, c, text, vars)
	p, diags := builder.Compile(tmpl, c.catalog())
	if err := diags.Err(); err != nil {
		t.Fatal(err)
	}
	e := c.engine(new(buildertest.Memory))
	e.Env = tmpl.Env
	if err := e.Pin(t.Context(), run, p); err != nil {
		t.Fatal(err)
	}
	var all []builder.Digest
	for _, s := range p.Builds[0].Steps {
		all = append(all, s.Key)
	}
	return all
}

func TestKeysChangeWithWhatIsDoneAndNothingElse(t *testing.T) {
	const text = `
name: a
variables: {v: "1", secret: {default: x, sensitive: true}}
source: {vm: small}
steps:
  - script: first
  - name: second
    script: "second ${{ var.v }}"
    env: {A: "${{ source.id }}"}
    retries: 1
  - script: third ${{ var.secret }}
tests: [{script: check}]
`
	base := keys(t, newCloud(0), "r1", text, nil)
	for name, tc := range map[string]struct {
		from, to string
		vars     map[string]string
		run      builder.RunID
		changes  int // first step whose key changes: 0 is open, 1 the first step; -1 none
	}{
		"another name":         {"name: second", "name: renamed", nil, "r1", -1},
		"more retries":         {"retries: 1", "retries: 5", nil, "r1", -1},
		"another run":          {"", "", nil, "r2", -1},
		"another script":       {"script: first", "script: other", nil, "r1", 1},
		"another variable":     {"", "", map[string]string{"v": "2"}, "r1", 2},
		"another environment":  {"env: {A:", "env: {B:", nil, "r1", 2},
		"another user":         {"    retries: 1", "    user: nobody", nil, "r1", 2},
		"another secret":       {"", "", map[string]string{"secret": "y"}, "r1", -1},
		"another test":         {"script: check", "script: check more", nil, "r1", 6},
		"never cached":         {"    retries: 1", "    cache: false", nil, "r1", 2},
		"another source block": {"vm: small", "caching: small", nil, "r1", 0},
	} {
		t.Run(name, func(t *testing.T) {
			got := keys(t, newCloud(0), tc.run, strings.Replace(text, tc.from, tc.to, 1), tc.vars)
			for i := range base {
				if changed := got[i] != base[i]; changed != (tc.changes >= 0 && i >= tc.changes) {
					t.Errorf("key of step %d changed: %v", i, changed)
				}
			}
		})
	}
	never := strings.Replace(text, "    retries: 1", "    cache: false", 1)
	one, two := keys(t, newCloud(0), "r1", never, nil), keys(t, newCloud(0), "r2", never, nil)
	if one[1] != two[1] || one[2] == two[2] || one[3] == two[3] {
		t.Error("a step that is never cached has to give itself and what follows a new key in every run")
	}
}

func TestPlanHoldsNoSecret(t *testing.T) {
	c := newCloud(0)
	tmpl := parse(t, c, `
name: a
variables: {token: {sensitive: true}}
source: {vm: small}
steps:
  - script: "login ${{ var.token }}"
    env: {TOKEN: "${{ var.token }}"}
outputs: [{send: "x-${{ var.token }}"}]
`, map[string]string{"token": "hunter2"})
	p, diags := builder.Compile(tmpl, c.catalog())
	if err := diags.Err(); err != nil {
		t.Fatal(err)
	}
	j := new(buildertest.Memory)
	e := c.engine(j)
	e.Env = tmpl.Env
	if err := e.Pin(t.Context(), "r1", p); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Run(t.Context(), "r1", p); err != nil {
		t.Fatal(err)
	}
	entries, _ := j.Entries(t.Context())
	for _, entry := range entries {
		if strings.Contains(string(quoted(toJSON(t, entry))), "hunter2") && entry.State == nil {
			t.Errorf("the journal holds the secret: %s entry", entry.Kind)
		}
	}
	if got := c.puts["image-1"]; len(got) != 1 || got[0] != "login hunter2 TOKEN" {
		t.Errorf("the machine got %q", got)
	}
	if len(c.puts["x-hunter2"]) != 1 {
		t.Errorf("outputs got %v", c.puts)
	}
}
