package provisioners

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"bake/builder"
	"bake/internal/filetree"
	"bake/internal/lazyregexp"
	"bake/templates"
)

// Ansible runs a playbook of this machine against the build, through ansible's
// own connection to it. Ansible must be installed here, Python on the other
// machine. In the inventory the machine is called "bake" and is in the groups given.
type Ansible struct {
	Playbook     string            `yaml:"playbook" bake:"main,required" doc:"The playbook, relative to the template."`
	ExtraVars    map[string]any    `yaml:"extra_vars" doc:"Variables for the playbook; they win over all others."`
	Groups       templates.Strings `yaml:"groups" doc:"Groups of the inventory that the machine is in, for the playbook's hosts and group_vars."`
	Tags         templates.Strings `yaml:"tags" doc:"Run only tasks with these tags."`
	SkipTags     templates.Strings `yaml:"skip_tags" doc:"Pass over tasks with these tags."`
	Requirements string            `yaml:"requirements" doc:"A requirements file: roles and collections that ansible-galaxy installs for this run alone."`
	Verbose      int               `yaml:"verbose" min:"0" max:"4" doc:"How much ansible tells, 0 to 4."`
	Options      templates.Strings `yaml:"options" doc:"More options for ansible-playbook."`
	Inputs       templates.Strings `yaml:"inputs" doc:"More local files that the playbook reads, whose change makes the step run again."`

	Sums *filetree.Sums `yaml:"-"`
}

// beside are what a playbook reads without naming it; all of it counts for the step's key.
var beside = []string{"roles", "tasks", "handlers", "templates", "files", "vars", "defaults", "group_vars", "host_vars", "library", "filter_plugins", "module_utils"}

// Validate checks what the tags cannot say.
func (a *Ansible) Validate(b templates.Block) (ds templates.Diagnostics) {
	for i, g := range a.Groups {
		if g != "" && !groupName.MatchString(g) {
			ds = append(ds, b.At("groups", fmt.Sprint(i)).Errorf("not a name of a group: %q", g))
		}
	}
	return ds
}

var groupName = lazyregexp.New(`^[A-Za-z_][A-Za-z0-9_]*$`)

// Check reports a missing playbook and a missing ansible.
func (a *Ansible) Check(dir string, b templates.Block) templates.Diagnostics {
	ds := checkFile(dir, a.Playbook, b.At("playbook"))
	ds = append(ds, checkFile(dir, a.Requirements, b.At("requirements"))...)
	ds = append(ds, checkInputs(dir, a.Inputs, b)...)
	if _, err := exec.LookPath("ansible-playbook"); err != nil {
		d := b.Errorf("ansible-playbook is not installed on this machine")
		d.Hint = "install ansible here (apt-get install ansible, pip install ansible)"
		ds = append(ds, d)
	}
	return ds
}

// Fingerprint covers the playbook, the YAML files and well-known directories
// beside it, the requirements and the inputs.
func (a *Ansible) Fingerprint(ctx context.Context, dir string) (builder.Digest, error) {
	from := []string{a.Playbook}
	base := filepath.Dir(a.Playbook)
	for _, pattern := range []string{"*.yml", "*.yaml", "ansible.cfg", "{" + strings.Join(beside, ",") + "}"} {
		from = append(from, filepath.Join(base, pattern))
	}
	from = append(from, a.Inputs...)
	if a.Requirements != "" {
		from = append(from, a.Requirements)
	}
	var words []string
	for _, f := range from {
		sum, err := filetree.Digest(ctx, dir, f, filetree.Options{AllFiles: true, Sums: a.Sums})
		if errors.Is(err, fs.ErrNotExist) && f != a.Playbook && f != a.Requirements && !slices.Contains(a.Inputs, f) {
			sum = "none"
		} else if err != nil {
			return "", err
		}
		words = append(words, f, sum)
	}
	return digestText(words...), nil
}

// A ConnectionError is a machine that ansible has no connection to.
type ConnectionError struct{}

func (e *ConnectionError) Error() string {
	return "ansible cannot reach this machine: it is neither a directory, a container nor an SSH host"
}

// Hint tells what to do about it.
func (e *ConnectionError) Hint() string {
	return "copy the playbook in and run ansible there: `- run: ansible-playbook -c local ...`"
}

// Provision runs the playbook. Nothing is changed if ansible says so.
func (a *Ansible) Provision(ctx context.Context, sc *builder.Scope, comm builder.Communicator) (builder.Outcome, error) {
	chrooter, ok := builder.As[builder.Chrooter](comm)
	if !ok {
		return builder.Outcome{}, &ConnectionError{}
	}
	work, err := os.MkdirTemp(sc.WorkDir, "ansible-")
	if err != nil {
		return builder.Outcome{}, err
	}
	defer os.RemoveAll(work)
	playbook := a.Playbook
	if !filepath.IsAbs(playbook) {
		playbook = filepath.Join(sc.Dir, playbook)
	}
	if a.Requirements != "" {
		if err := a.galaxy(ctx, sc, work); err != nil {
			return builder.Outcome{}, err
		}
	}
	args, err := a.arguments(chrooter, work, playbook, sc)
	if err != nil {
		return builder.Outcome{}, err
	}
	out := sc.Stdout()
	defer out.Close()
	var said tail
	cmd := exec.CommandContext(ctx, "ansible-playbook", args...)
	cmd.Dir, cmd.Env = filepath.Dir(playbook), a.environment(sc, work)
	cmd.Stdout, cmd.Stderr = io.MultiWriter(out, &said), out
	err = runHere(cmd, "")
	if ctx.Err() != nil {
		return builder.Outcome{}, ctx.Err()
	}
	if err != nil {
		return builder.Outcome{}, fmt.Errorf("ansible-playbook %s: %w", a.Playbook, err)
	}
	return recap(said), nil
}

// arguments writes inventory and variables into work, where nobody else can
// read them, and returns the command line.
func (a *Ansible) arguments(c builder.Chrooter, work, playbook string, sc *builder.Scope) ([]string, error) {
	plugin, host, vars := c.Connection()
	// Below /tmp ansible removes what it makes; its default leaves a directory in the user's home.
	hostVars := map[string]any{"ansible_connection": plugin, "ansible_host": host, "ansible_remote_tmp": "/tmp"}
	for k, v := range vars {
		hostVars[k] = v
	}
	if sc.User != "" {
		hostVars["ansible_become"], hostVars["ansible_become_user"] = true, sc.User
	}
	hosts := map[string]any{"hosts": map[string]any{"bake": hostVars}}
	children := map[string]any{}
	for _, g := range a.Groups {
		children[g] = map[string]any{"hosts": map[string]any{"bake": nil}}
	}
	if len(children) > 0 {
		hosts["children"] = children
	}
	extra := maps.Clone(a.ExtraVars)
	if extra == nil {
		extra = map[string]any{}
	}
	// JSON is YAML, and no value of it is mistaken for something else.
	inventory, variables := filepath.Join(work, "inventory.yaml"), filepath.Join(work, "vars.json")
	for name, v := range map[string]any{inventory: map[string]any{"all": hosts}, variables: extra} {
		data, err := json.Marshal(v)
		if err != nil {
			return nil, err
		}
		if err := os.WriteFile(name, data, 0o600); err != nil {
			return nil, err
		}
	}
	args := []string{"--inventory", inventory, "--extra-vars", "@" + variables}
	if len(a.Tags) > 0 {
		args = append(args, "--tags", strings.Join(a.Tags, ","))
	}
	if len(a.SkipTags) > 0 {
		args = append(args, "--skip-tags", strings.Join(a.SkipTags, ","))
	}
	if a.Verbose > 0 {
		args = append(args, "-"+strings.Repeat("v", a.Verbose))
	}
	args = append(args, a.Options...)
	return append(args, "--", playbook), nil
}

// environment keeps what ansible writes of its own in work, and its output plain.
func (a *Ansible) environment(sc *builder.Scope, work string) []string {
	env := append(localEnv(sc),
		"ANSIBLE_LOCAL_TEMP="+filepath.Join(work, "tmp"),
		"ANSIBLE_RETRY_FILES_ENABLED=0",
		"ANSIBLE_NOCOWS=1",
		"ANSIBLE_NOCOLOR=1",
		"ANSIBLE_DEPRECATION_WARNINGS=0",
		"ANSIBLE_LOCALHOST_WARNING=0")
	if a.Requirements != "" {
		env = append(env,
			"ANSIBLE_ROLES_PATH="+filepath.Join(work, "roles")+":"+os.Getenv("ANSIBLE_ROLES_PATH"),
			"ANSIBLE_COLLECTIONS_PATH="+filepath.Join(work, "collections")+":"+os.Getenv("ANSIBLE_COLLECTIONS_PATH"))
	}
	return env
}

// galaxy installs what the requirements name into work.
func (a *Ansible) galaxy(ctx context.Context, sc *builder.Scope, work string) error {
	file := a.Requirements
	if !filepath.IsAbs(file) {
		file = filepath.Join(sc.Dir, file)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	for what, dir := range map[string]string{"role": "roles", "collection": "collections"} {
		if what == "collection" && !bytes.Contains(text, []byte("collections")) {
			continue
		}
		out := sc.Stdout()
		cmd := exec.CommandContext(ctx, "ansible-galaxy", what, "install", "-r", file, "-p", filepath.Join(work, dir))
		cmd.Dir, cmd.Env = filepath.Dir(file), a.environment(sc, work)
		cmd.Stdout, cmd.Stderr = out, out
		err := runHere(cmd, "")
		out.Close()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			return fmt.Errorf("ansible-galaxy %s install -r %s: %w", what, a.Requirements, err)
		}
	}
	return nil
}

var recapLine = lazyregexp.New(`(?m)^bake +: (ok=\d+ +changed=(\d+) .*)$`)

// recap reads the end of what ansible said.
func recap(said []byte) builder.Outcome {
	m := recapLine.FindSubmatch(said)
	if m == nil {
		return builder.Outcome{} // another callback writes the output: assume a change
	}
	return builder.Outcome{Unchanged: string(m[2]) == "0", Note: strings.Join(strings.Fields(string(m[1]))[:2], " ")}
}
