package templates

import (
	"strings"
	"testing"
	"time"
)

type runStep struct {
	Script Strings `yaml:"script" bake:"main,required" doc:"Commands to run."`
	Shell  string  `yaml:"shell"`
}

type copyStep struct {
	From Strings `yaml:"from" bake:"required" doc:"Files to copy."`
	To   string  `yaml:"to" bake:"required" doc:"Where on the machine."`
	Mode Mode    `yaml:"mode"`
}

type userStep struct {
	Name string `yaml:"name" bake:"main,required"`
	UID  int    `yaml:"uid" min:"1"`
}

type rebootStep struct {
	Timeout time.Duration `yaml:"timeout" default:"5m"`
}

type imageSource struct {
	Name string `yaml:"name" bake:"main,required" doc:"Name of the image."`
	Pull string `yaml:"pull" bake:"beside" enum:"always|missing" default:"always"`
}

type scratchSource struct {
	Yes bool `yaml:"scratch" bake:"main" default:"true"`
}

type registryOutput struct {
	Repository string  `yaml:"repository" bake:"main,required"`
	Tags       Strings `yaml:"tags"`
	Wait       int     `yaml:"wait"`
}

type manifestOutput struct {
	File string            `yaml:"file" bake:"main,required"`
	Data map[string]string `yaml:"data"`
}

// small is a language with a few kinds of each sort.
func small() Language {
	return Language{
		Sources: map[string]any{"image": new(imageSource), "scratch": new(scratchSource)},
		Steps:   map[string]any{"run": new(runStep), "copy": new(copyStep), "user": new(userStep), "reboot": new(rebootStep)},
		Outputs: map[string]any{"registry": new(registryOutput), "manifest": new(manifestOutput)},
	}
}

func options(vars map[string]string) Options {
	return Options{Vars: vars, RunID: "r1", Now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		Environ: []string{"HOME=/home/me", "SECRET=hunter22"},
		Git:     func() Git { return Git{SHA: "0123abcd", Branch: "main"} }}
}

// parse reads a template that must be free of mistakes.
func parse(t testing.TB, text string, vars map[string]string) *Template {
	t.Helper()
	got, diags := ParseBytes("t.yaml", t.TempDir(), []byte(text), small(), options(vars))
	if len(diags) > 0 {
		var b strings.Builder
		diags.Format(&b, false)
		t.Fatal(b.String())
	}
	return got
}

const whole = `
name: api
description: all of it
variables:
  version: 1.10
  level: {default: 3, type: number}
  debug: false
  hosts: [a, b]
  token: {env: SECRET, sensitive: true}
source:
  image: debian:${{ var.version }}
  pull: missing
  platforms: [linux/amd64, linux/arm64]
steps:
  - run: echo ${{ var.version }} $${{ x }} ${{ upper(join(var.hosts, ",")) }}
    name: first
    env: {TOKEN: "${{ var.token }}", A: x}
    user: root
    timeout: 2m
    retries: 2
    on_error: continue
    cache: {expires: 24h}
  - user: app
  - reboot:
  - if: var.debug
    run: echo never
  - if: ${{ source.id != "" }}
    run: [echo maybe, echo two]
  - copy: {from: "${{ var.hosts }}", to: /x}
tests:
  - run: test ${{ source.id }}
config: {entrypoint: /api, ports: [8080], user: "65532"}
outputs:
  - registry: {repository: r/api, tags: "${{ var.version }}-${{ git.sha }}", wait: "${{ var.level }}"}
  - manifest: out-${{ run.timestamp }}.json
    name: list
  - manifest: {file: x, data: {ref: "${{ outputs.registry.ref }}@${{ env.HOME }}"}}
squash: true
`

func TestParseReadsAWholeTemplate(t *testing.T) {
	got := parse(t, whole, nil)
	b := got.Builds[0]
	if got.Name != "api" || b.Name != "api" || !b.Squash || len(b.Steps) != 5 || len(b.Platforms) != 2 {
		t.Errorf("got %+v", b)
	}
	for _, tt := range []struct {
		block Block
		want  string
	}{
		{b.Source.Body, `{"name":"debian:1.10","pull":"missing"}`},
		{b.Steps[0].Body, `"echo 1.10 $${{ x }} A,B"`},
		{b.Steps[1].Body, `"app"`},
		{b.Steps[2].Body, `null`},
		{b.Steps[3].Body, `["echo maybe","echo two"]`},
		{b.Steps[4].Body, `{"from":["a","b"],"to":"/x"}`},
		{b.Tests[0].Body, `"test ${{ source.id }}"`},
		{b.Outputs[0].Body, `{"repository":"r/api","tags":"1.10-0123abcd","wait":3}`},
		{b.Outputs[1].Body, `"out-20260102-030405.json"`},
		{b.Outputs[2].Body, `{"data":{"ref":"${{ outputs.registry.ref }}@/home/me"},"file":"x"}`},
	} {
		if got := string(tt.block.JSON()); got != tt.want {
			t.Errorf("got %s, want %s", got, tt.want)
		}
	}
	first := b.Steps[0]
	if first.Env["TOKEN"] != "${{ var.token }}" || first.User != "root" || first.Timeout != 2*time.Minute || !first.Continue || first.Cache.Expires != 24*time.Hour {
		t.Errorf("got %+v", first)
	}
	if b.Steps[3].If != `source.id != ""` {
		t.Errorf("the late condition is %q", b.Steps[3].If)
	}
	if b.Outputs[1].Name != "list" {
		t.Errorf("the name is %q", b.Outputs[1].Name)
	}
}

// These list every kind, so they are not among the golden templates: those
// need not change when a kind is added.
func TestAStepWithoutAKindIsToldTheKinds(t *testing.T) {
	for steps, want := range map[string]string{
		"[{name: nothing, timeout: 2m}]":         "2:9-37 the step has no kind | known here: copy, reboot, run, user",
		"[{shell: echo hi}]":                     `2:10-15 unknown key "shell" in step | write ` + "`run:`",
		"[{name: x, shell: echo hi}]":            `2:19-24 unknown key "shell" in step | write ` + "`run:`",
		"[{run: x, colour: red}]":                `2:18-24 unknown key "colour" in step | known here: cache, env, if, name, on_error, retries, retry_delay, timeout, user, workdir`,
		"[{copy: {from: a, to: b}, mode: 0644}]": `2:34-38 unknown key "mode" in step | it is a key of "copy": write it under it`,
	} {
		_, diags := ParseBytes("t.yaml", "/", []byte("source: {scratch: true}\nsteps: "+steps+"\n"), small(), Options{})
		if got := brief(diags); got != want {
			t.Errorf("%s: got %s, want %s", steps, got, want)
		}
	}
}

func TestASourceOrOutputWithoutAKindIsToldTheKinds(t *testing.T) {
	for text, want := range map[string]string{
		"source: {platforms: [linux/amd64]}\n":                     "1:9-35 the source has no kind | known here: build, image, scratch",
		"source: {scratch: true}\noutputs: [{name: nothing}]\n":    "2:11-26 the output has no kind | known here: manifest, registry",
		"source: {scratch: true}\noutputs: [{blob: x, name: y}]\n": `2:12-16 unknown key "blob" in output | known here: manifest, registry`,
	} {
		_, diags := ParseBytes("t.yaml", "/", []byte(text), small(), Options{})
		if got := brief(diags); got != want {
			t.Errorf("%s: got %s, want %s", text, got, want)
		}
	}
}
