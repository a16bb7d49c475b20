package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"bake/steps/amazon"
)

// awsFlags are the flags of every command that calls AWS without a template.
func (a *app) awsFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&a.flags.aws.Region, "region", "", "AWS `REGION`; default: AWS_REGION or the profile's")
	f.StringVar(&a.flags.aws.Profile, "profile", "", "`PROFILE` of ~/.aws/config; default: AWS_PROFILE")
	f.Var((*rolesFlag)(&a.flags.aws), "assume-role", "assume a role: its `ARN` (repeatable: one with the rights of the one before)")
}

// rolesFlag collects the roles of an access.
type rolesFlag amazon.Access

func (r *rolesFlag) Type() string   { return "arn" }
func (r *rolesFlag) String() string { return "" }
func (r *rolesFlag) Set(arn string) error {
	if !strings.HasPrefix(arn, "arn:") || !strings.Contains(arn, ":role/") {
		return fmt.Errorf("%q is not the ARN of a role, like arn:aws:iam::123456789012:role/deploy", arn)
	}
	r.Roles = append(r.Roles, amazon.Role{ARN: arn})
	return nil
}

// cloud is the way to AWS, or to what answers at endpoint instead. It connects
// when it is used.
func (a *app) cloud(cacheDir, endpoint string) *amazon.Cloud {
	o := amazon.Options{CacheDir: cacheDir, Endpoint: endpoint, Waiting: a.notice}
	if a.asker != nil {
		o.Ask = a.asker.secret
	}
	return amazon.New(o)
}

// notice tells something that the user should know: on the display of the run,
// or on stderr where there is none.
func (a *app) notice(text string) {
	if a.notices != nil {
		if tell := a.notices.Load(); tell != nil {
			(*tell)(text)
			return
		}
	}
	fmt.Fprintf(a.stderr, "bake: %s\n", text)
}
