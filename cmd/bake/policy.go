package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"bake/builder"
	"bake/internal/registry"
	"bake/steps/amazon"
	"bake/steps/amazon/ecr"
	"bake/steps/amazon/image"
	"bake/steps/amazon/permit"
	"bake/steps/container"
	"bake/steps/publish"
	"bake/templates"
)

func (a *app) policyCommand() *cobra.Command {
	var as, account string
	cmd := &cobra.Command{
		Use:   "policy TEMPLATE | -- COMMAND...",
		Short: "Print the least IAM policies that a template or a command needs",
		Long: "Print what whoever builds a template on AWS has to be allowed, as IAM policies: what its sources,\n" +
			"options and outputs call, and no more. What AWS can tell apart by name or by tag is allowed for the\n" +
			"template's own resources alone. There is a policy for whoever runs bake, and one for each role or\n" +
			"profile that the template names; one that is longer than IAM takes is cut into several. Which is\n" +
			"whose is told on stderr, and with --output json beside each. It calls nothing.\n\n" +
			"After -- stands another command of bake as you would type it: the policy is what that command needs.\n" +
			"Where it removes what runs have made, it may remove that alone: what has the tag bake:run.",
		Example: `  bake policy web.yaml > policy.json
  bake policy web.yaml --account 123456789012                        ARNs of that account alone
  bake policy web.yaml --for arn:aws:iam::123456789012:role/share    what a role that copies are made with needs
  bake policy web.yaml --output json | jq '.policies[].name'
  bake policy -- clean --aws --yes                                   what a nightly job that cleans up needs
  bake policy -- destroy web.yaml --older-than 30d --yes
  bake policy -- ecs rollback --cluster prod --service api`,
		Args: func(cmd *cobra.Command, args []string) error {
			if cmd.ArgsLenAtDash() == 0 {
				return arguments(1, -1)(cmd, args)
			}
			return arguments(1, 1)(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if account != "" && !accountForm.MatchString(account) {
				return usagef("", "--account %q: an account has twelve digits", account)
			}
			if cmd.ArgsLenAtDash() == 0 {
				return a.commandPolicy(args, as, account)
			}
			return a.policy(args[0], as, account)
		},
	}
	a.templateFlags(cmd)
	a.outputFlag(cmd, "text|json")
	cmd.Flags().StringVar(&as, "for", "", "only the policy of a `ROLE` or profile that the template names; self: of whoever runs bake")
	cmd.Flags().StringVar(&account, "account", "", "twelve digits: the `ACCOUNT` of whoever runs bake; default: any")
	return cmd
}

// self is whoever runs bake, in --for.
const self = "self"

// policyOut is one policy as --output json tells it.
type policyOut struct {
	Name       string          `json:"name"`
	For        string          `json:"for"` // a role's ARN, a profile, or self
	Characters int             `json:"characters"`
	Document   permit.Document `json:"document"`
}

func (a *app) policy(file, as, account string) error {
	w, err := a.connect("", "embedded", "")
	if err != nil {
		return err
	}
	defer w.close()
	r, err := a.prepare(file, w)
	if err != nil {
		return err
	}
	statements, unknown, err := a.permissions(r.loaded.plan, w.catalog, r.loaded.template.Env, account)
	if err != nil {
		return err
	}
	a.warnUnknown(unknown)
	return a.printNeeds(file, r.loaded.plan.Name, statements, as)
}

func (a *app) warnUnknown(kinds []string) {
	for _, kind := range kinds {
		fmt.Fprintf(a.stderr, "warning: what %s needs is not known and is missing from the policy\n", kind)
	}
}

// printNeeds prints what something needs, by whose policy it is, or that of one
// of them alone.
func (a *app) printNeeds(what, title string, statements []permit.Statement, as string) error {
	who := actors(statements)
	switch {
	case len(who) == 0:
		return usagef("", "%s calls nothing on AWS", what)
	case as != "" && !slices.Contains(who, as):
		return usagef("it names: "+strings.Join(who, ", "), "the template names no role or profile %q that needs anything", as)
	case as != "":
		who = []string{as}
	}
	return a.printPolicies(policies(title, who, statements))
}

var accountForm = regexp.MustCompile(`^[0-9]{12}$`)

// policies are those of each actor, cut to what IAM takes.
func policies(template string, actors []string, all []permit.Statement) []policyOut {
	var out []policyOut
	for _, who := range actors {
		name := permit.Title(template, strings.TrimPrefix(who, self))
		mine := slices.DeleteFunc(slices.Clone(all), func(s permit.Statement) bool { return cmp.Or(s.As, self) != who })
		parts := permit.Merge(mine).Split()
		for i, d := range parts {
			one := policyOut{Name: name, For: who, Characters: d.Characters(), Document: d}
			if len(parts) > 1 {
				one.Name += fmt.Sprintf("-%d", i+1)
			}
			out = append(out, one)
		}
	}
	return out
}

func (a *app) printPolicies(all []policyOut) error {
	for _, p := range all {
		if p.Characters > permit.ManagedLimit {
			fmt.Fprintf(a.stderr, "warning: %s has %d characters; IAM takes %d\n", p.Name, p.Characters, permit.ManagedLimit)
		}
	}
	enc := json.NewEncoder(a.stdout)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	if a.flags.output == "json" {
		return enc.Encode(map[string][]policyOut{"policies": all})
	}
	for i, p := range all {
		if len(all) > 1 {
			whose := "whoever runs bake"
			if p.For != self {
				whose = p.For
			}
			fmt.Fprintf(a.stderr, "%d of %d: %s, for %s (%d of %d characters)\n", i+1, len(all), p.Name, whose, p.Characters, permit.ManagedLimit)
		}
		if err := enc.Encode(p.Document); err != nil {
			return err
		}
	}
	return nil
}

// actors are who needs something, whoever runs bake first.
func actors(all []permit.Statement) []string {
	var out []string
	for _, s := range all {
		if who := cmp.Or(s.As, self); !slices.Contains(out, who) {
			out = append(out, who)
		}
	}
	slices.SortFunc(out, func(a, b string) int {
		switch {
		case a == b:
			return 0
		case a == self:
			return -1
		case b == self:
			return 1
		}
		return cmp.Compare(a, b)
	})
	return out
}

// permissions collects what the sources and outputs of a plan ask for, and which
// of them call AWS without saying what for.
func (a *app) permissions(p *builder.Plan, cat builder.Catalog, env *templates.Env, account string) (all []permit.Statement, unknown []string, err error) {
	home, err := image.SourceAccess(p)
	if err != nil {
		return nil, nil, err
	}
	for _, b := range p.Builds {
		for _, s := range b.Steps {
			kind := made(cat, s)
			if kind == nil {
				continue
			}
			block, err := templates.FromJSON(s.Config, s.Pos, env)
			if err != nil {
				return nil, nil, err
			}
			if err := templates.Decode(block, kind).Err(); err != nil {
				return nil, nil, err
			}
			at := permit.Env{Plan: p, Build: b.Name, Home: home, Account: account}
			switch kind := kind.(type) {
			case permit.Asker:
				all = append(all, kind.Permissions(at)...)
			case *container.Image:
				all = append(all, a.pulling(at, kind)...)
			case *publish.Registry:
				all = append(all, ecr.Pushing(at, kind.Repository)...)
			default:
				if callsAWS(kind) && !slices.Contains(unknown, s.Kind) {
					unknown = append(unknown, s.Kind)
				}
			}
		}
	}
	return all, unknown, nil
}

// pulling is what an image needs that is taken from ECR, or through it.
func (a *app) pulling(env permit.Env, s *container.Image) []permit.Statement {
	all := ecr.Pulling(env, s.Name)
	for _, mirror := range s.Mirrors {
		if ref, err := registry.ParseReference(s.Name, false); err == nil {
			all = append(all, ecr.Pulling(env, mirror+"/"+ref.Repository.RepositoryStr())...)
		}
	}
	return append(all, ecr.PullingThrough(env, cmp.Or(s.Through, a.getenv("BAKE_PULL_THROUGH")), s.Name)...)
}

// made is the source or the output of a step; nil if it is another.
func made(cat builder.Catalog, s builder.Step) any {
	switch s.Phase {
	case builder.Open:
		return cat.Sources[s.Kind]()
	case builder.Publish:
		return cat.Outputs[s.Kind]()
	}
	return nil
}

// callsAWS reports whether a template says of the kind where and as whom it
// calls AWS.
func callsAWS(kind any) bool {
	t := reflect.TypeOf(kind)
	if t == nil || t.Kind() != reflect.Pointer || t.Elem().Kind() != reflect.Struct {
		return false
	}
	access, ok := t.Elem().FieldByName("Access")
	return ok && access.Type == reflect.TypeFor[amazon.Access]()
}
