package ecr_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"bake/internal/sandbox/sandboxtest"
)

// role makes a role of another account that this account may assume, with a policy.
func (w *world) role(t *testing.T, account, name, policy string) string {
	t.Helper()
	c := iam.NewFromConfig(sandboxtest.ConfigAs(w.Sandbox, region, account, "any", ""))
	trust := `{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::` + sandboxtest.Account + `:root"}, "Action": "sts:AssumeRole"}]}`
	out, err := c.CreateRole(t.Context(), &iam.CreateRoleInput{RoleName: &name, AssumeRolePolicyDocument: &trust})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.PutRolePolicy(t.Context(), &iam.PutRolePolicyInput{RoleName: &name, PolicyName: aws.String("push"), PolicyDocument: &policy}); err != nil {
		t.Fatal(err)
	}
	return aws.ToString(out.Role.Arn)
}

func TestOneOutputPushesToItsOwnAccountAndWithARoleToAnother(t *testing.T) {
	w := newWorld(t)
	const other = "999988887777"
	arn := w.role(t, other, "push", `{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "ecr:*", "Resource": "*"}]}`)
	body := `{repository: api, region: eu-west-1, tags: ["1"], create: true, also: [{assume_role: ["` + arn + `"]}]}`
	p := w.mustPush(t, body, w.image(t, 1))
	if refs := strings.Split(p.Values["refs"], ","); len(refs) != 2 || refs[0] == refs[1] || p.Values["registry"] != sandboxtest.Account {
		t.Errorf("%+v", p)
	}
	theirs := sdk.NewFromConfig(sandboxtest.ConfigAs(w.Sandbox, region, other, "any", ""))
	out, err := theirs.DescribeImages(t.Context(), &sdk.DescribeImagesInput{RepositoryName: aws.String("api")})
	if err != nil || len(out.ImageDetails) != 1 || aws.ToString(out.ImageDetails[0].ImageDigest) != p.Values["digest"] || fmt.Sprint(out.ImageDetails[0].ImageTags) != "[1]" {
		t.Errorf("the other account holds %+v, %v", out, err)
	}
	if again := w.mustPush(t, body, w.image(t, 1)); !again.Unchanged {
		t.Errorf("%+v", again)
	}
}

func TestTheRepositoryOfAnotherAccountIsMadeOnlyIfItsRoleMay(t *testing.T) {
	w := newWorld(t)
	arn := w.role(t, "999988887777", "read", `{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": ["ecr:Describe*", "ecr:GetAuthorizationToken"], "Resource": "*"}]}`)
	_, err := w.push(t, `{repository: api, region: eu-west-1, create: true, assume_role: ["`+arn+`"]}`, w.image(t, 1))
	if err == nil || !strings.Contains(hint(err), `"ecr:CreateRepository"`) {
		t.Errorf("%v; %s", err, hint(err))
	}
}
