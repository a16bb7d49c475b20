package secrets_test

import (
	"errors"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/smithy-go"

	"bake/internal/sandbox/sandboxtest"
)

func TestSecretsHaveVersionsAndAreNamedInManyWays(t *testing.T) {
	s := sandboxtest.Start(t)
	ctx := t.Context()
	c := secretsmanager.NewFromConfig(sandboxtest.Config(s, "eu-west-1"))
	made, err := c.CreateSecret(ctx, &secretsmanager.CreateSecretInput{Name: aws.String("app/db"), SecretString: aws.String(`{"user": "u", "port": 1}`), ClientRequestToken: aws.String("11111111-1111-1111-1111-111111111111")})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.PutSecretValue(ctx, &secretsmanager.PutSecretValueInput{SecretId: made.ARN, SecretString: aws.String(`{"user": "v"}`)}); err != nil {
		t.Fatal(err)
	}
	partial := (*made.ARN)[:len(*made.ARN)-7]
	for ref, want := range map[string]string{"app/db": `{"user": "v"}`, *made.ARN: `{"user": "v"}`, partial: `{"user": "v"}`,
		*made.ARN + ":user::": "v", *made.ARN + ":port:AWSPREVIOUS:": "1", *made.ARN + ":user::11111111-1111-1111-1111-111111111111": "u"} {
		if got, err := s.Services.Secrets.Value(sandboxtest.Account, "eu-west-1", ref); err != nil || got != want {
			t.Errorf("%s: %q, %v; want %q", ref, got, err, want)
		}
	}
	if _, err := s.Services.Secrets.Value(sandboxtest.Account, "eu-west-1", *made.ARN+":none::"); err == nil {
		t.Error("a member that is not there is found")
	}
	if _, err := c.DeleteSecret(ctx, &secretsmanager.DeleteSecretInput{SecretId: made.ARN}); err != nil {
		t.Fatal(err)
	}
	for id, want := range map[string]string{"app/db": "InvalidRequestException", "none": "ResourceNotFoundException"} {
		_, err := c.GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: &id})
		if e, _ := errors.AsType[smithy.APIError](err); e == nil || e.ErrorCode() != want {
			t.Errorf("%s: %v, want %s", id, err, want)
		}
	}
}
