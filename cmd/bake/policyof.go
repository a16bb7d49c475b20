package main

import (
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"bake/builder"
	"bake/steps/amazon/ami"
	"bake/steps/amazon/ecr"
	"bake/steps/amazon/ecs"
	"bake/steps/amazon/image"
	"bake/steps/amazon/keypair"
	"bake/steps/amazon/permit"
	"bake/steps/publish"
)

// A commandLine is a command of bake as somebody would type it. It is read as
// the command itself would read it, and not run.
type commandLine struct {
	*app   // with the flags of the command line
	cmd    *cobra.Command
	args   []string
	wiring *wiring
	env    permit.Env
}

// name is the command without the word bake: "ecs status".
func (c *commandLine) name() string {
	_, words, _ := strings.Cut(c.cmd.CommandPath(), " ")
	return words
}

// text and on are what a flag of the command says; "" and false if it has none.
func (c *commandLine) text(flag string) string {
	if f := c.cmd.Flags().Lookup(flag); f != nil {
		return f.Value.String()
	}
	return ""
}

func (c *commandLine) on(flag string) bool {
	is, err := strconv.ParseBool(c.text(flag))
	return err == nil && is
}

// commandPolicy prints what a command has to be allowed, as it is typed.
func (a *app) commandPolicy(words []string, as, account string) error {
	b := *a
	b.flags = flags{sandbox: a.flags.sandbox}
	c := &commandLine{app: &b}
	root := b.root()
	cmd, rest, err := root.Find(words)
	if err != nil || cmd == root {
		return usagef("`bake policy TEMPLATE` is for building one; `bake --help` lists the commands", "%q is no command of bake", words[0])
	}
	if err := cmd.ParseFlags(rest); err != nil {
		return flagError(cmd, err)
	}
	c.cmd, c.args = cmd, cmd.Flags().Args()
	if err := cmd.ValidateArgs(c.args); err != nil {
		return err
	}
	if c.wiring, err = b.connect("", "embedded", ""); err != nil {
		return err
	}
	defer c.wiring.close()
	c.env = permit.Env{Plan: &builder.Plan{Name: strings.ReplaceAll(c.name(), " ", "-")}, Home: b.flags.aws, Account: account}
	needs := commandNeeds()[c.name()]
	if needs == nil {
		return usagef("it is known of: "+strings.Join(knownCommands(), ", "), "what `bake %s` needs is not known", c.name())
	}
	title := c.env.Plan.Name
	all, err := needs(c)
	if err != nil {
		return err
	}
	return a.printNeeds("`bake "+strings.Join(words, " ")+"`", title, all, as)
}

func knownCommands() []string {
	var all []string
	for name := range commandNeeds() {
		all = append(all, name)
	}
	slices.Sort(all)
	return all
}

// commandNeeds are what commands have to be allowed, by their names.
func commandNeeds() map[string]func(*commandLine) ([]permit.Statement, error) {
	all := map[string]func(*commandLine) ([]permit.Statement, error){
		"clean": cleanNeeds, "destroy": destroyNeeds, "release": releaseNeeds, "images": imagesNeeds,
		"keypair list": keypairNeeds, "keypair show": keypairNeeds, "keypair import": keypairNeeds, "keypair delete": keypairNeeds,
	}
	for command, does := range map[string]string{
		"deploy": ecs.Deploy, "run": ecs.Deploy, "rollback": ecs.Again, "refresh": ecs.Again, "scale": ecs.Again, "tasks restart": ecs.Again,
		"diff": ecs.Compare, "verify": ecs.Compare, "render": ecs.Compare, "init": ecs.Adopt, "status": ecs.Look, "wait": ecs.Follow, "logs": ecs.ReadLogs,
		"continue": ecs.GoOnOrBack, "stop": ecs.StopDeploys, "tasks": ecs.ListTasks, "tasks show": ecs.ListTasks, "tasks stop": ecs.StopTasks, "exec": ecs.EnterTask,
		"revisions": ecs.ListRevision, "clusters": ecs.Clusters, "clusters create": ecs.MakeCluster, "clusters describe": ecs.OneCluster, "clusters destroy": ecs.EndCluster,
		"services": ecs.Services, "services describe": ecs.Look, "services destroy": ecs.EndService,
	} {
		all["ecs "+command] = func(c *commandLine) ([]permit.Statement, error) { return ecsNeeds(c, does) }
	}
	return all
}

func cleanNeeds(c *commandLine) ([]permit.Statement, error) {
	if !c.on("aws") {
		return nil, usagef("`bake policy -- clean --aws` is for what runs of any machine left", "what a run's journal names is removed with the rights of the run")
	}
	env := c.env.For(c.flags.aws)
	all := ami.FindingLeftovers(env)
	if c.on("yes") {
		all = append(all, ami.RemovingLeftovers(env)...)
	}
	return env.Under(all...), nil
}

func destroyNeeds(c *commandLine) ([]permit.Statement, error) {
	var all []permit.Statement
	for _, arg := range c.args {
		d, env := image.Destroying{Name: arg, Remove: c.on("yes"), Unprotect: c.on("unprotect")}, c.env
		if isTemplate(arg) {
			r, err := c.prepare(arg, c.wiring)
			if err != nil {
				return nil, err
			}
			d.Name, env.Plan = "", r.loaded.plan
			if env.Home.Where() == "" {
				if env.Home, err = image.SourceAccess(env.Plan); err != nil {
					return nil, err
				}
			}
		}
		all = append(all, d.Permissions(env)...)
	}
	return all, nil
}

func keypairNeeds(c *commandLine) ([]permit.Statement, error) {
	env := c.env.For(c.flags.aws)
	switch c.cmd.Name() {
	case "import":
		tags := map[string]string{}
		given, err := c.cmd.Flags().GetStringArray("tag")
		if err != nil {
			return nil, err
		}
		for _, t := range given {
			k, v, _ := strings.Cut(t, "=")
			tags[k] = v
		}
		return env.Under(keypair.Permissions(env, c.args[0], tags)...), nil
	case "delete":
		return env.Under(keypair.Deleting(env, c.args[0])...), nil
	}
	return env.Under(keypair.Listing(env)...), nil
}

func imagesNeeds(c *commandLine) ([]permit.Statement, error) {
	if name, ok := ecr.IsRepository(c.args[0]); ok {
		return ecr.ListingImages(c.env, c.flags.aws, name), nil
	}
	return ecr.ListingTags(c.env, c.args[0]), nil
}

// releaseNeeds is what the outputs need, and reading the images where the
// manifest says that they are.
func releaseNeeds(c *commandLine) ([]permit.Statement, error) {
	var f releaseFlags
	flags := c.cmd.Flags()
	f.template, f.From, f.service, f.container, f.create = c.text("template"), c.text("from"), c.text("service"), c.text("container"), c.on("create")
	f.Outputs, _ = flags.GetStringSlice("outputs") // they are flags of the command
	f.to, _ = flags.GetStringArray("to")
	f.tags, _ = flags.GetStringArray("tag")
	f.Manifest = c.args[0]
	manifest, err := publish.ReadManifest(f.Manifest)
	if err != nil {
		return nil, usagef("the output `manifest` writes one", "%w", err)
	}
	if err := f.check(c.app, manifest); err != nil {
		return nil, err
	}
	now := c.now()
	opts, err := c.options(f.template, newRunID(now), now)
	if err != nil {
		return nil, err
	}
	l, err := f.load(c.app, c.wiring, opts)
	if err != nil {
		return nil, err
	}
	l.plan.Give(builder.Artifact{Image: &builder.Image{}}, f.wants)
	all, unknown, err := c.permissions(l.plan, c.wiring.catalog, l.template.Env, c.env.Account)
	c.warnUnknown(unknown)
	for _, b := range manifest.Builds {
		for _, o := range b.Outputs {
			if ref := o.Values["ref"]; ref != "" && strings.HasPrefix(ref, f.From) {
				all = append(all, ecr.Pulling(c.env, ref)...)
			}
		}
	}
	return all, err
}

// ecsNeeds is what a command of bake ecs does to the cluster and the service
// that it names.
func ecsNeeds(c *commandLine, does string) ([]permit.Statement, error) {
	f := &ecsFlags{cluster: c.text("cluster"), service: c.text("service"), set: map[string]any{}}
	args := c.args
	switch c.cmd.Name() {
	case "scale":
		args = args[:len(args)-1]
	case "run", "exec", "show":
		args = nil
	case "create", "describe", "destroy":
		if strings.HasPrefix(c.name(), "ecs clusters") {
			f.cluster = args[0]
		} else {
			f.service = args[0]
		}
		args = nil
	case "stop":
		if does == ecs.StopTasks {
			args = nil
		}
	case "revisions":
		if c.cmd.Flags().Changed("keep") {
			does = ecs.Prune
			if c.on("delete") {
				does = ecs.Erase
			}
		}
	}
	if like := c.text("like"); like != "" {
		f.set["like"] = like
	}
	if len(args) > 0 {
		f.file = args[0]
	}
	if f.file == "" && f.service == "" { // see withCluster
		if f.set["like"] == nil {
			f.set["like"] = "-"
		}
		f.set["before"] = []any{map[string]any{"command": []string{"true"}}}
	}
	out, err := c.ecsOutput(c.wiring, f)
	if err != nil {
		return nil, err
	}
	all := out.Command(c.env, does)
	if does == ecs.EndCluster && c.on("services") {
		each := *out
		each.Service = "*"
		all = append(append(all, each.Command(c.env, ecs.Services)...), each.Command(c.env, ecs.EndService)...)
	}
	return all, nil
}
