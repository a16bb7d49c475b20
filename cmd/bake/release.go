package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"bake/builder"
	"bake/internal/redact"
	"bake/steps/amazon/ecr"
	"bake/steps/publish"
	"bake/templates"
)

// A releaseRequest is what `bake release` was asked to do, as far as `bake
// resume` needs it.
type releaseRequest struct {
	Manifest string   `json:"manifest"`          // absolute
	From     string   `json:"from,omitempty"`    // of several repositories, the one to take images from
	Outputs  []string `json:"outputs,omitempty"` // kinds of outputs that run; all if empty
	Text     string   `json:"text,omitempty"`    // the template that flags stand for
}

// releaseFlags are the flags of `bake release` that other commands do not have.
type releaseFlags struct {
	releaseRequest
	template  string
	to        []string
	tags      []string
	create    bool
	service   string
	container string
}

func (a *app) releaseCommand() *cobra.Command {
	var f releaseFlags
	cmd := &cobra.Command{
		Use:        "release MANIFEST",
		SuggestFor: []string{"promote", "push", "publish"},
		Short:      "Deploy what an earlier job built, without building it",
		Long: `Deploy what an earlier job built, by its digest, to another stage, account or
region. MANIFEST is the file that the output ` + "`manifest`" + ` wrote. What is done with
the images say the outputs of a template, whose sources, steps and tests are
left aside (it may be the one that built them), or flags. Images are copied
from registry to registry where an output wants them elsewhere; layers that
are there already are not sent. A release is a run like any other: it has a
journal, and ` + "`bake resume`" + ` goes on with it.`,
		Example: `  bake release dist/bake.manifest.json --template deploy.yaml --var stage=prod
  bake release dist/bake.manifest.json --template web.yaml --outputs ecr,ecs
  bake release dist/bake.manifest.json --to 210987654321.dkr.ecr.eu-west-1.amazonaws.com/api --tag 1.4.2
  bake release dist/bake.manifest.json --to api --region eu-central-1 --service prod/api`,
		Args: arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			f.Manifest = args[0]
			return a.release(cmd.Context(), f)
		},
	}
	a.buildFlags(cmd)
	a.awsFlags(cmd)
	fs := cmd.Flags()
	fs.StringVarP(&f.template, "template", "t", "", "run the outputs of this template `FILE`")
	fs.StringSliceVar(&f.Outputs, "outputs", nil, "only outputs of these `KINDS`, like ecr,ecs")
	fs.StringVar(&f.From, "from", "", "take images from the `REPOSITORY` that begins so, if they were pushed to several")
	fs.StringArrayVar(&f.to, "to", nil, "without a template: push to this `REPOSITORY`, an address or a name in ECR (repeatable)")
	fs.StringArrayVar(&f.tags, "tag", nil, "without a template: `TAG` for the pushed image (repeatable; default: those it has)")
	fs.BoolVar(&f.create, "create", false, "without a template: make a repository of ECR that is missing")
	fs.StringVar(&f.service, "service", "", "without a template: deploy to the ECS service `CLUSTER/SERVICE`")
	fs.StringVar(&f.container, "container", "", "without a template: `NAME` of the service's container that gets the image")
	return cmd
}

// release runs outputs for what a manifest lists.
func (a *app) release(ctx context.Context, f releaseFlags) error {
	manifest, err := publish.ReadManifest(f.Manifest)
	if err != nil {
		return usagef("the output `manifest` writes one", "%w", err)
	}
	if f.Manifest, err = filepath.Abs(f.Manifest); err != nil {
		return err
	}
	if err := f.check(a, manifest); err != nil {
		return err
	}
	w, err := a.wire()
	if err != nil {
		return err
	}
	defer w.close()
	r, err := a.prepareRelease(ctx, f, manifest, w)
	if err != nil {
		return err
	}
	if code := runCode(r.do(ctx)); code != exitDone {
		return exitError(code)
	}
	return nil
}

// check wants a template, or flags that stand for one.
func (f *releaseFlags) check(a *app, m publish.ManifestFile) error {
	flags := len(f.to) > 0 || f.service != ""
	switch {
	case f.template != "" && flags:
		return usagef("the template says it", "--template does not go with --to and --service")
	case f.template == "" && !flags:
		return usagef("name a template with outputs (--template), a repository (--to) or a service (--service CLUSTER/SERVICE)", "there is nothing to do with the images")
	case f.template != "":
		return nil
	}
	text, err := f.text(a, m)
	f.Text = text
	return err
}

// text is the template that the flags stand for. JSON is YAML.
func (f *releaseFlags) text(a *app, m publish.ManifestFile) (string, error) {
	name := ""
	if len(a.flags.only) == 1 {
		name = a.flags.only[0]
	}
	b, err := m.Build(name)
	if err != nil {
		return "", usagef("--only BUILD", "%w", err)
	}
	var outputs []map[string]any
	for _, to := range f.to {
		outputs = append(outputs, f.pushTo(a, b, to))
	}
	if f.service != "" {
		out, err := f.deployTo(a)
		if err != nil {
			return "", err
		}
		outputs = append(outputs, out)
	}
	text, err := json.MarshalIndent(map[string]any{
		"name":   m.Name,
		"builds": map[string]any{b.Build: map[string]any{"source": map[string]any{"manifest": map[string]any{"path": f.Manifest, "build": b.Build, "from": f.From}}, "outputs": outputs}},
	}, "", "  ")
	return string(text), err
}

// pushTo is the output for a repository: of ECR, or of another registry if its
// name begins with a host.
func (f *releaseFlags) pushTo(a *app, b publish.ManifestBuild, to string) map[string]any {
	tags := f.tags
	for _, o := range b.Outputs {
		if len(tags) == 0 && o.Values["tags"] != "" {
			tags = strings.Split(o.Values["tags"], ",")
		}
	}
	body := map[string]any{"repository": to, "tags": tags}
	host, _, hasPath := strings.Cut(to, "/")
	_, isECR := ecr.ParseHost(host)
	if hasPath && !isECR && strings.ContainsAny(host, ".:") {
		return map[string]any{"registry": body}
	}
	if f.create {
		body["create"] = true
	}
	a.addAccess(body)
	return map[string]any{"ecr": body}
}

// addAccess puts the flags of AWS into an output.
func (a *app) addAccess(body map[string]any) {
	if a.flags.aws.Region != "" {
		body["region"] = a.flags.aws.Region
	}
	if a.flags.aws.Profile != "" {
		body["profile"] = a.flags.aws.Profile
	}
	var roles []string
	for _, r := range a.flags.aws.Roles {
		roles = append(roles, r.ARN)
	}
	if len(roles) > 0 {
		body["assume_role"] = roles
	}
}

// deployTo is the output for a service of ECS.
func (f *releaseFlags) deployTo(a *app) (map[string]any, error) {
	cluster, service, ok := strings.Cut(f.service, "/")
	if !ok || cluster == "" || service == "" {
		return nil, usagef("--service CLUSTER/SERVICE", "--service %q does not name a cluster and a service", f.service)
	}
	body := map[string]any{"cluster": cluster, "service": service}
	if f.container != "" {
		body["container"] = f.container
	}
	if len(f.to) == 0 {
		body["image"] = "${{ source.ref }}"
	}
	a.addAccess(body)
	return map[string]any{"ecs": body}, nil
}

// prepareRelease reads the template and looks up the images.
func (a *app) prepareRelease(ctx context.Context, f releaseFlags, manifest publish.ManifestFile, w *wiring) (*run, error) {
	now := a.now()
	file := cmp.Or(f.template, releaseName)
	r := &run{app: a, wiring: w, file: file, id: newRunID(now)}
	opts, err := a.options(file, r.id, now)
	if err != nil {
		return nil, err
	}
	if r.loaded, err = f.load(a, w, opts); err != nil {
		return nil, err
	}
	r.redactor = redact.New(r.loaded.template.Env.Secrets())
	if r.req, err = a.request(file, opts, r.loaded.template); err != nil {
		return nil, err
	}
	r.req.Started, r.req.Release = now, &f.releaseRequest
	return r, f.give(ctx, r.loaded.plan, manifest, w)
}

// load reads the template that is released with.
func (f *releaseFlags) load(a *app, w *wiring, opts templates.Options) (loaded, error) {
	file := cmp.Or(f.template, releaseName)
	if f.Text != "" {
		return a.loadText(file, f.Text, w.catalog, opts)
	}
	return a.load(file, w.catalog, opts)
}

// releaseName is what diagnostics call the template that flags stand for.
const releaseName = "release.yaml"

// give turns the plan into the release: every build's artifact is what the
// manifest lists for it.
func (q releaseRequest) give(ctx context.Context, p *builder.Plan, manifest publish.ManifestFile, w *wiring) error {
	before := len(p.Builds)
	err := p.GiveEach(q.wants, func(b builder.Build) (builder.Artifact, builder.Pin, error) {
		name := b.Name
		if before == 1 && !slices.ContainsFunc(manifest.Builds, func(m publish.ManifestBuild) bool { return m.Build == name }) {
			name = "" // a template with one build, whatever it is called
		}
		made, err := manifest.Build(name)
		if err != nil {
			return builder.Artifact{}, builder.Pin{}, usagef("--only BUILD leaves the others out", "%s: %w", filepath.Base(q.Manifest), err)
		}
		return made.Release(ctx, w.registries, q.From)
	})
	if err != nil {
		return err
	}
	if len(p.Builds) == 0 {
		return usagef("", "the template has no such outputs")
	}
	return nil
}

// wants says which outputs run: not one that would write the manifest anew
// that is being released.
func (q releaseRequest) wants(s builder.Step) bool {
	if s.Kind == "manifest" {
		var config struct {
			Path string `json:"path"`
		}
		if json.Unmarshal(s.Config, &config) != nil {
			_ = json.Unmarshal(s.Config, &config.Path) // the short form
		}
		path := cmp.Or(config.Path, publish.DefaultManifest)
		if !filepath.IsAbs(path) {
			path = filepath.Join(filepath.Dir(s.Pos.File), path)
		}
		if abs, err := filepath.Abs(path); err == nil && abs == q.Manifest {
			return false
		}
	}
	return len(q.Outputs) == 0 || slices.Contains(q.Outputs, s.Kind)
}

// again is give for a run that goes on: what its plan was given holds.
func (q releaseRequest) again(ctx context.Context, p, then *builder.Plan, w *wiring) error {
	if then == nil { // it was killed before it began
		manifest, err := publish.ReadManifest(q.Manifest)
		if err != nil {
			return err
		}
		return q.give(ctx, p, manifest, w)
	}
	return p.GiveEach(q.wants, func(b builder.Build) (builder.Artifact, builder.Pin, error) {
		old, ok := then.Build(b.Name)
		if !ok || old.Given == nil {
			return builder.Artifact{}, builder.Pin{}, fmt.Errorf("build %s is not in the run's plan", b.Name)
		}
		return *old.Given, old.Pin, nil
	})
}
