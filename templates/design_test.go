package templates

import (
	"testing"
	"time"
)

// Kinds of sources and outputs for Amazon, as far as the examples use them.
type amiSource struct {
	ID    string `yaml:"id"`
	Owner string `yaml:"owner"`
	Name  string `yaml:"name"`
	SSM   string `yaml:"ssm"`

	Machine *machine `yaml:"machine" bake:"beside"`
}

type machine struct {
	Type    Strings `yaml:"type"`
	Subnet  *subnet `yaml:"subnet"`
	Profile string  `yaml:"profile"`
}

type subnet struct {
	ID   string            `yaml:"id" bake:"main"`
	Tags map[string]string `yaml:"tags"`
}

type packagesSource struct {
	Distribution string `yaml:"distribution"`
	Release      string `yaml:"release" bake:"main,required"`
}

type packageStep struct {
	Install Strings `yaml:"install" bake:"main"`
}

type ownedCopy struct {
	copyStep
	Owner string `yaml:"owner"`
}

type amiOutput struct {
	Name              string             `yaml:"name" bake:"main,required"`
	LaunchPermissions *launchPermissions `yaml:"launch_permissions"`
	Regions           Strings            `yaml:"regions"`
	Tags              map[string]string  `yaml:"tags"`
}

type launchPermissions struct {
	Accounts      []string `yaml:"accounts" pattern:"^[0-9]{12}$"`
	Organizations []string `yaml:"organizations"`
	Public        bool     `yaml:"public"`
}

type ecrOutput struct {
	Repository string  `yaml:"repository" bake:"main,required"`
	Tags       Strings `yaml:"tags"`
	Create     bool    `yaml:"create"`
	Scan       *struct {
		FailOn string `yaml:"fail_on" enum:"low|medium|high|critical"`
	} `yaml:"scan"`
}

type ecsOutput struct {
	Cluster   string        `yaml:"cluster" bake:"required"`
	Service   string        `yaml:"service" bake:"required"`
	Container string        `yaml:"container"`
	Wait      time.Duration `yaml:"wait"`
}

func amazon() Language {
	l := small()
	l.Sources["ami"] = new(amiSource)
	l.Sources["packages"] = new(packagesSource)
	l.Steps["copy"] = new(ownedCopy)
	l.Steps["package"] = new(packageStep)
	l.Outputs["ami"] = new(amiOutput)
	l.Outputs["ecr"] = new(ecrOutput)
	l.Outputs["ecs"] = new(ecsOutput)
	return l
}

// The two examples that the language was designed with.
const (
	webExample = `# yaml-language-server: $schema=./bake.schema.json
name: web
description: nginx with the site baked in

variables:
  version: {default: 1.4.2, description: Site release, pattern: '^\d+\.\d+\.\d+$'}
  token:   {env: RELEASE_TOKEN, sensitive: true}

source:
  ami: {owner: amazon, name: al2023-ami-2023.*-x86_64}     # or {id: ami-...} or {ssm: /aws/service/...}
  machine: {type: [t3.small, t3a.small], subnet: {tags: {tier: build}}, profile: image-builder}

steps:
  - run: dnf install -y nginx
  - copy: {from: site/, to: /usr/share/nginx/html/, owner: nginx}
  - name: enable the service
    run: systemctl enable nginx
    timeout: 2m
    retries: 1
  - reboot:

tests:                                    # on a fresh machine started from the candidate image
  - run: curl -fsS localhost | grep -q '${{ var.version }}'

outputs:
  - ami:
      name: web-${{ var.version }}-${{ run.timestamp }}
      launch_permissions: {accounts: ["123456789012"], organizations: [], public: false}
      regions: [eu-west-1, us-east-1]
      tags: {app: web}
`
	apiExample = `name: api
variables: {version: 1.0.0}
source: {image: debian:bookworm-slim, platforms: [linux/amd64, linux/arm64]}   # or {packages: {distribution: debian, release: bookworm}}, or {scratch: true}
steps:
  - package: {install: [ca-certificates]}
  - copy: {from: bin/api, to: /usr/local/bin/api, mode: "0755"}
config: {entrypoint: [/usr/local/bin/api], ports: [8080], user: "65532", env: {LOG: json}, labels: {}}
outputs:
  - ecr: {repository: api, tags: ["${{ var.version }}"], create: true, scan: {fail_on: high}}
  - ecs: {cluster: prod, service: api, container: api, wait: 10m}
`
)

func TestTheExamplesOfTheDesignAreValid(t *testing.T) {
	opts := options(nil)
	opts.Environ = []string{"RELEASE_TOKEN=hunter22"}
	web, diags := ParseBytes("web.yaml", t.TempDir(), []byte(webExample), amazon(), opts)
	if len(diags) > 0 {
		t.Fatal(diags.Err())
	}
	b := web.Builds[0]
	want := `{"machine":{"profile":"image-builder","subnet":{"tags":{"tier":"build"}},"type":["t3.small","t3a.small"]},"name":"al2023-ami-2023.*-x86_64","owner":"amazon"}`
	if got := string(b.Source.Body.JSON()); b.Source.Kind != "ami" || got != want {
		t.Errorf("the source is %s %s", b.Source.Kind, got)
	}
	var out amiOutput
	if diags := Decode(b.Outputs[0].Body, &out); len(diags) > 0 || out.Name != "web-1.4.2-20260102-030405" {
		t.Errorf("the output is %+v %v", out, diags.Err())
	}
	if len(b.Steps) != 4 || b.Steps[2].Name != "enable the service" || b.Steps[3].Kind.Kind != "reboot" {
		t.Errorf("the steps are %+v", b.Steps)
	}

	api, diags := ParseBytes("api.yaml", t.TempDir(), []byte(apiExample), amazon(), opts)
	if len(diags) > 0 {
		t.Fatal(diags.Err())
	}
	var config Config
	if diags := Decode(api.Builds[0].Config, &config); len(diags) > 0 || config.User != "65532" || config.Ports[0] != "8080" {
		t.Errorf("the config is %+v %v", config, diags.Err())
	}
}

func TestAKeyBesideItsKindIsNotTakenUnderIt(t *testing.T) {
	_, diags := ParseBytes("t.yaml", "/", []byte("source: {ami: {id: ami-1, machine: {type: t3.small}}}\n"), amazon(), Options{})
	if got, want := brief(diags), `1:27-34 "machine" stands beside "ami", not under it | move it one level up`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
