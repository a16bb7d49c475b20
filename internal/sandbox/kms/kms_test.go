package kms_test

import (
	"errors"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/smithy-go"

	"bake/internal/sandbox/api"
	"bake/internal/sandbox/sandboxtest"
)

const other = "444455556666"

func TestAKeyIsUsedByWhoMay(t *testing.T) {
	s := sandboxtest.Start(t)
	ctx := t.Context()
	c := kms.NewFromConfig(sandboxtest.Config(s, "eu-west-1"))
	create := func() *string {
		t.Helper()
		k, err := c.CreateKey(ctx, nil)
		if err != nil {
			t.Fatal(err)
		}
		return k.KeyMetadata.Arn
	}
	mine, off, doomed, shared, granted := create(), create(), create(), create(), create()
	must := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(c.CreateAlias(ctx, &kms.CreateAliasInput{AliasName: aws.String("alias/app"), TargetKeyId: mine}))
	must(c.DisableKey(ctx, &kms.DisableKeyInput{KeyId: off}))
	must(c.ScheduleKeyDeletion(ctx, &kms.ScheduleKeyDeletionInput{KeyId: doomed}))
	must(c.PutKeyPolicy(ctx, &kms.PutKeyPolicyInput{KeyId: shared, Policy: aws.String(`{"Statement": [{"Effect": "Allow", "Principal": {"AWS": ["arn:aws:iam::` + other + `:root"]}, "Action": "kms:*", "Resource": "*"}]}`)}))
	must(c.CreateGrant(ctx, &kms.CreateGrantInput{KeyId: granted, GranteePrincipal: aws.String("arn:aws:iam::" + other + ":role/x"), Operations: []types.GrantOperation{"Decrypt"}}))
	for _, k := range []struct{ name, account, region, ref, want string }{
		{"by ARN", sandboxtest.Account, "eu-west-1", *mine, ""},
		{"by alias", sandboxtest.Account, "eu-west-1", "alias/app", ""},
		{"AWS's own", sandboxtest.Account, "eu-west-1", "alias/aws/ebs", ""},
		{"an alias that is not there", sandboxtest.Account, "eu-west-1", "alias/none", "NotFoundException"},
		{"in another region", sandboxtest.Account, "us-east-1", *mine, "NotFoundException"},
		{"disabled", sandboxtest.Account, "eu-west-1", *off, "DisabledException"},
		{"pending deletion", sandboxtest.Account, "eu-west-1", *doomed, "KMSInvalidStateException"},
		{"of another account", other, "eu-west-1", *mine, "AccessDeniedException"},
		{"shared by its policy", other, "eu-west-1", *shared, ""},
		{"shared by a grant", other, "eu-west-1", *granted, ""},
	} {
		err := s.Services.KMS.Key(k.account, k.region, k.ref)
		if e, _ := errors.AsType[*api.Error](err); e == nil && k.want != "" || e != nil && e.Code != k.want {
			t.Errorf("%s: %v, want %q", k.name, err, k.want)
		}
	}
	_, err := c.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: aws.String("alias/none")})
	if e, _ := errors.AsType[smithy.APIError](err); e == nil || e.ErrorCode() != "NotFoundException" {
		t.Error(err)
	}
}
