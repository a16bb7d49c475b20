package templates

import (
	"path/filepath"
	"regexp"
	"strings"
)

// A foreign file is a template of another tool, as people give it to bake when
// they meet it.
type foreignFile struct {
	what, hint string
	is         *regexp.Regexp // matches what the text says of itself; the place is shown
}

const packerHint = "the README's table \"Coming from Packer\" has bake's word for each of Packer's; `bake init` writes a template to start from"

func foreignFiles() []foreignFile {
	return []foreignFile{
		{"a Packer template in HCL", packerHint, regexp.MustCompile(`(?m)^(?:packer|source|build|locals?|variable|data)(?:[ \t]+"[^"\n]*")*[ \t]*\{[ \t]*$`)},
		{"a Packer template in JSON", packerHint, regexp.MustCompile(`\A\s*\{(?s:.*?)("builders")\s*:\s*\[`)},
		{"a Dockerfile", "its FROM is `source: {image: ...}`, RUN and COPY are `steps:`, ENTRYPOINT, ENV and the like are `config:`", regexp.MustCompile(`(?mi)\A(?:[ \t]*(?:#.*)?\n|ARG[ \t].*\n)*FROM[ \t]+\S+`)},
		{"a component of EC2 Image Builder", "its phases are `steps:` and `tests:`; the README's table \"Coming from EC2 Image Builder\" has the rest", regexp.MustCompile(`(?m)^schemaVersion:.*$`)},
		{"a CloudFormation template", "`bake init` writes a template of bake to start from", regexp.MustCompile(`(?m)^["{ ]*AWSTemplateFormatVersion\b`)},
		{"a Compose file", "`bake init` writes a template of bake to start from", regexp.MustCompile(`(?m)^services:[ \t]*$`)},
	}
}

// foreign recognizes a template of another tool. What YAML makes of it would be
// a list of mistakes that nobody made.
func foreign(src *source, text string) *Diagnostic {
	for _, f := range foreignFiles() {
		at := f.is.FindStringSubmatchIndex(text)
		if at == nil {
			continue
		}
		if len(at) > 2 {
			at = at[2:]
		}
		last := strings.LastIndexByte(strings.TrimRight(text[:at[1]], "\n"), '\n') + 1
		begin := max(at[0], last)
		line := strings.Count(text[:begin], "\n") + 1
		col := begin - (strings.LastIndexByte(text[:begin], '\n') + 1) + 1
		d := src.at(line, col, col+at[1]-begin, "this is %s, not one of bake", f.what)
		d.Hint = f.hint
		return d
	}
	if ext := filepath.Ext(src.name); ext == ".hcl" {
		d := src.at(1, 1, 0, "this is %s, not one of bake", foreignFiles()[0].what)
		d.Hint = packerHint
		return d
	}
	return nil
}

// ours reports whether a file has what only templates of bake have, whatever
// else it looks like.
func ours(root *node) bool {
	return root.kind == mappingNode && (root.get("source") != nil || root.get("builds") != nil)
}

// The foreign words are keys that people know from Packer, EC2 Image Builder,
// Docker and Ansible, with what they write here instead.

// foreignAtTop are keys of a whole template, or of one of its builds.
func foreignAtTop() map[string]string {
	return map[string]string{
		"provisioners":    "write the list `steps:`",
		"provisioner":     "write the list `steps:`",
		"phases":          "write `steps:` and `tests:`",
		"tasks":           "write the list `steps:`",
		"stages":          "write `builds:`, a mapping of names to builds",
		"post-processors": "write the list `outputs:`",
		"post-processor":  "write the list `outputs:`",
		"post_processors": "write the list `outputs:`",
		"distributions":   "write the list `outputs:`",
		"builders":        "write `source:`, or `builds:` for several images",
		"sources":         "write `source:`, or `builds:` for several images",
		"from":            "write `source: {image: ...}`",
		"locals":          "write `variables:` with a default",
		"vars":            "write `variables:`",
		"entrypoint":      "write it under `config:`",
		"cmd":             "write it under `config:`",
		"expose":          "write `ports:` under `config:`",
	}
}

// foreignSteps are kinds of steps.
func foreignSteps() map[string]string {
	return map[string]string{
		"inline":            "write `run: |` with the lines below it",
		"shell":             "write `run:`",
		"cmd":               "write `run:`",
		"command":           "write `run:`",
		"commands":          "write `run: |` with the lines below it",
		"executebash":       "write `run: |` with the lines below it",
		"scripts":           "write a step `script:` for each",
		"shell-local":       "write `local:`",
		"shell_local":       "write `local:`",
		"file":              "write `copy: {from: ..., to: ...}`",
		"add":               "write `copy: {from: ..., to: ...}`, or `fetch:` for a URL",
		"apt":               "write `package: {install: [...]}`",
		"dnf":               "write `package: {install: [...]}`",
		"yum":               "write `package: {install: [...]}`",
		"ansible-local":     "write `ansible:`",
		"breakpoint":        "leave it out: `--on-error ask` or `keep` stops where a step fails, and `bake ssh` looks inside",
		"sleep":             "write `wait:` for what has to be ready",
		"pause_before":      "write a step `wait:` for what has to be ready",
		"max_retries":       "write `retries:`",
		"environment_vars":  "write `env:`, a mapping",
		"env_vars":          "write `env:`, a mapping",
		"environment":       "write `env:`, a mapping",
		"continue_on_error": "write `on_error: continue`",
		"timeoutseconds":    "write `timeout:` with its unit",
		"execute_command":   "write `user: root` to run a step as root",
		"expect_disconnect": "write a step `reboot: {}`",
		"maxattempts":       "write `retries:`",
		"onfailure":         "write `on_error:`",
		"windows-restart":   "bake builds Linux only; there it is `reboot: {}`",
		"powershell":        "bake builds Linux only",
		"windows-shell":     "bake builds Linux only",
		"amazon-import":     "bake makes images on EC2 itself; there is no import of disks",
		"docker-push":       "write `- registry: {repository: ..., tags: [...]}` or `- ecr:` under outputs",
		"docker-tag":        "write `tags:` in the output",
		"shell_provisioner": "write `run:`",
		"file_provisioner":  "write `copy: {from: ..., to: ...}`",
		"destination":       "write `copy: {from: ..., to: ...}`",
	}
}

// foreignKeys are keys of sources, machines, outputs and steps.
func foreignKeys() map[string]string {
	return map[string]string{
		"source_ami":                   "write `source: {ami: {id: ...}}`",
		"source_ami_filter":            "write `source: {ami: {owner: ..., name: ...}}`",
		"most_recent":                  "leave it out: the newest is taken",
		"parentimage":                  "write `source: {ami: {id: ...}}`",
		"instance_type":                "write `machine: {type: ...}` in the source",
		"instancetypes":                "write `machine: {type: [...]}` in the source",
		"ssh_username":                 "write `ssh: {user: ...}` in the source",
		"communicator":                 "leave it out: it is SSH for machines, the engine for containers",
		"subnet_id":                    "write `machine: {subnet: ...}` in the source",
		"vpc_id":                       "write `machine: {vpc: ...}` in the source",
		"security_group_id":            "write `machine: {security_groups: [...]}` in the source",
		"iam_instance_profile":         "write `machine: {profile: ...}` in the source",
		"launch_block_device_mappings": "write `machine: {volumes: [...]}` in the source",
		"ami_name":                     "write `- ami: {name: ...}` under outputs",
		"ami_description":              "write `- ami: {description: ...}` under outputs",
		"ami_users":                    "write `launch_permissions: {accounts: [...]}` in the output ami",
		"ami_org_arns":                 "write `launch_permissions: {organizations: [...]}` in the output ami",
		"ami_ou_arns":                  "write `launch_permissions: {organizational_units: [...]}` in the output ami",
		"ami_regions":                  "write `regions: [...]` in the output ami",
		"encrypt_boot":                 "write `encrypt: true` in the output ami",
		"kms_key_id":                   "write `kms_key:`",
		"volume_size":                  "write `size:` with its unit, like 20GiB",
		"volume_type":                  "write `type:`",
		"device_name":                  "write `device:`",
		"force_deregister":             "write `if_exists: replace` in the output ami",
		"run_tags":                     "write `tags:` in `machine:`",
		"destination":                  "write `to:`",
		"dest":                         "write `to:`",
		"src":                          "write `from:`",
	}
}

// suggestKey is suggest for a key of what ("" is the template, or "step" and
// the like): what a word of another tool is called here comes before what only
// looks like it.
func suggestKey(what, word string, known []string) string {
	word = strings.ToLower(word)
	for _, words := range []struct {
		here  bool
		words map[string]string
	}{{what == "", foreignAtTop()}, {what == "step", foreignSteps()}, {true, foreignKeys()}} {
		if hint := words.words[word]; words.here && hint != "" {
			return hint
		}
	}
	return suggest(word, known)
}
