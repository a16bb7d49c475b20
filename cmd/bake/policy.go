package main

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"bake/builder"
	"bake/steps/amazon"
	"bake/steps/amazon/image"
	"bake/steps/amazon/permit"
	"bake/templates"
)

func (a *app) policyCommand() *cobra.Command {
	var as string
	cmd := &cobra.Command{
		Use:   "policy TEMPLATE",
		Short: "Print the least IAM policy that a template needs",
		Long: "Print what whoever builds a template on AWS has to be allowed, as an IAM policy: what its sources,\n" +
			"options and outputs call, and no more. What AWS can tell apart by tags is allowed for the template's\n" +
			"own resources alone. It calls nothing.",
		Example: `  bake policy web.yaml > policy.json
  bake policy web.yaml --for arn:aws:iam::123456789012:role/share    what a role that copies are made with needs`,
		Args: arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error { return a.policy(args[0], as) },
	}
	a.templateFlags(cmd)
	cmd.Flags().StringVar(&as, "for", "", "the policy of a `ROLE` or profile that the template names, instead of the builder's own")
	return cmd
}

func (a *app) policy(file, as string) error {
	w, err := a.connect("", "embedded", "")
	if err != nil {
		return err
	}
	defer w.close()
	r, err := a.prepare(file, w)
	if err != nil {
		return err
	}
	statements, unknown, err := permissions(r.loaded.plan, w.catalog, r.loaded.template.Env)
	if err != nil {
		return err
	}
	for _, kind := range unknown {
		fmt.Fprintf(a.stderr, "warning: what %s needs is not known and is missing from the policy\n", kind)
	}
	others := actors(statements)
	if as != "" && !slices.Contains(others, as) {
		return usagef("it names: "+strings.Join(others, ", "), "the template names no role or profile %q", as)
	}
	mine := slices.DeleteFunc(statements, func(s permit.Statement) bool { return actor(s.As) != as })
	for _, other := range others {
		if as == "" {
			fmt.Fprintf(a.stderr, "%s needs a policy too: bake policy %s --for %s\n", other, file, other)
		}
	}
	doc := permit.Merge(mine)
	if doc.Statements == nil && len(unknown) > 0 {
		return usagef("", "nothing is known of what %s needs on AWS", file)
	}
	if doc.Statements == nil {
		return usagef("", "%s calls nothing on AWS", file)
	}
	enc := json.NewEncoder(a.stdout)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(doc)
}

// actor is whose rights an access stands for: the last role's, the profile's,
// or the builder's own.
func actor(as amazon.Access) string {
	if n := len(as.Roles); n > 0 {
		return as.Roles[n-1].ARN
	}
	return as.Profile
}

func actors(all []permit.Statement) []string {
	var out []string
	for _, s := range all {
		if who := actor(s.As); who != "" && !slices.Contains(out, who) {
			out = append(out, who)
		}
	}
	return out
}

// permissions collects what the sources and outputs of a plan ask for, and which
// of them call AWS without saying what for.
func permissions(p *builder.Plan, cat builder.Catalog, env *templates.Env) (all []permit.Statement, unknown []string, err error) {
	home, err := image.SourceAccess(p)
	if err != nil {
		return nil, nil, err
	}
	for _, b := range p.Builds {
		for _, s := range b.Steps {
			kind := made(cat, s)
			asker, ok := kind.(permit.Asker)
			if !ok {
				if callsAWS(kind) && !slices.Contains(unknown, s.Kind) {
					unknown = append(unknown, s.Kind)
				}
				continue
			}
			block, err := templates.FromJSON(s.Config, s.Pos, env)
			if err != nil {
				return nil, nil, err
			}
			if err := templates.Decode(block, asker).Err(); err != nil {
				return nil, nil, err
			}
			all = append(all, asker.Permissions(permit.Env{Plan: p, Build: b.Name, Home: home})...)
		}
	}
	return all, unknown, nil
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
