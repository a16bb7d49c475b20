package ssm_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"

	"bake/internal/sandbox/api"
	"bake/internal/sandbox/sandboxtest"
)

func code(err error) string {
	var e smithy.APIError
	if errors.As(err, &e) {
		return e.ErrorCode()
	}
	return ""
}

func TestPutParameterIsAsStrictAsAWS(t *testing.T) {
	c := ssm.NewFromConfig(sandboxtest.Config(sandboxtest.Start(t), "eu-west-1"))
	tags := []types.Tag{{Key: aws.String("a"), Value: aws.String("b")}}
	for _, p := range []struct {
		name string
		in   ssm.PutParameterInput
		want string
	}{
		{"a new one", ssm.PutParameterInput{Name: aws.String("/app/a"), Value: aws.String("1"), Type: "String", Tags: tags}, ""},
		{"the same again", ssm.PutParameterInput{Name: aws.String("/app/a"), Value: aws.String("2")}, "ParameterAlreadyExists"},
		{"overwriting", ssm.PutParameterInput{Name: aws.String("/app/a"), Value: aws.String("2"), Overwrite: aws.Bool(true)}, ""},
		{"overwriting with tags", ssm.PutParameterInput{Name: aws.String("/app/a"), Value: aws.String("2"), Overwrite: aws.Bool(true), Tags: tags}, "ValidationException"},
		{"without a type", ssm.PutParameterInput{Name: aws.String("/app/b"), Value: aws.String("2")}, "ValidationException"},
		{"AWS's own name", ssm.PutParameterInput{Name: aws.String("/aws/service/x"), Value: aws.String("2"), Type: "String"}, "AccessDeniedException"},
		{"too long", ssm.PutParameterInput{Name: aws.String("l"), Value: aws.String(strings.Repeat("x", 4097)), Type: "String"}, "ValidationException"},
		{"no image", ssm.PutParameterInput{Name: aws.String("i"), Value: aws.String("x"), Type: "String", DataType: aws.String("aws:ec2:image")}, "ValidationException"},
		{"a key that is not there", ssm.PutParameterInput{Name: aws.String("s"), Value: aws.String("x"), Type: "SecureString", KeyId: aws.String("alias/none")}, "InvalidKeyId"},
		{"a path without its first slash", ssm.PutParameterInput{Name: aws.String("a/b"), Value: aws.String("x"), Type: "String"}, "ValidationException"},
	} {
		if _, err := c.PutParameter(t.Context(), &p.in); code(err) != p.want {
			t.Errorf("%s: %v, want %q", p.name, err, p.want)
		}
	}
}

func TestParametersAreReadByNameVersionLabelAndPath(t *testing.T) {
	c := ssm.NewFromConfig(sandboxtest.Config(sandboxtest.Start(t), "eu-west-1"))
	ctx := t.Context()
	put := func(name, value string, typ types.ParameterType) {
		t.Helper()
		if _, err := c.PutParameter(ctx, &ssm.PutParameterInput{Name: &name, Value: &value, Type: typ, Overwrite: aws.Bool(true)}); err != nil {
			t.Fatal(err)
		}
	}
	put("/app/a", "one", "String")
	put("/app/a", "two", "String")
	put("/app/deep/secret", "s3cret", "SecureString")
	put("plain", "p", "String")
	if _, err := c.LabelParameterVersion(ctx, &ssm.LabelParameterVersionInput{Name: aws.String("/app/a"), ParameterVersion: aws.Int64(1), Labels: []string{"stable"}}); err != nil {
		t.Fatal(err)
	}
	for ref, want := range map[string]string{"/app/a": "two", "/app/a:1": "one", "/app/a:stable": "one", "plain": "p",
		"arn:aws:ssm:eu-west-1:" + sandboxtest.Account + ":parameter/app/a": "two"} {
		out, err := c.GetParameter(ctx, &ssm.GetParameterInput{Name: &ref})
		if err != nil || *out.Parameter.Value != want {
			t.Errorf("%s: %+v, %v; want %s", ref, out, err, want)
		}
	}
	for ref, want := range map[string]string{"/app/none": "ParameterNotFound", "/app/a:9": "ParameterVersionNotFound"} {
		if _, err := c.GetParameter(ctx, &ssm.GetParameterInput{Name: &ref}); code(err) != want {
			t.Errorf("%s: %v, want %s", ref, err, want)
		}
	}
	for clear, want := range map[bool]bool{true: true, false: false} {
		out, err := c.GetParametersByPath(ctx, &ssm.GetParametersByPathInput{Path: aws.String("/app"), Recursive: aws.Bool(true), WithDecryption: &clear})
		if err != nil || len(out.Parameters) != 2 || (*out.Parameters[1].Value == "s3cret") != want {
			t.Errorf("by path, clear %v: %+v, %v", clear, out, err)
		}
	}
	several, err := c.GetParameters(ctx, &ssm.GetParametersInput{Names: []string{"plain", "none"}})
	if err != nil || len(several.Parameters) != 1 || !cmp.Equal(several.InvalidParameters, []string{"none"}) {
		t.Errorf("several: %+v, %v", several, err)
	}
}

func TestANewParameterIsHiddenWhereAFaultSaysSo(t *testing.T) {
	s := sandboxtest.Start(t)
	c := ssm.NewFromConfig(sandboxtest.Config(s, "eu-west-1"))
	if err := s.Faults.Add(api.Fault{Kind: api.FaultHidden, Times: 1}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.PutParameter(t.Context(), &ssm.PutParameterInput{Name: aws.String("p"), Value: aws.String("v"), Type: "String"}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"ParameterNotFound", ""} {
		if _, err := c.GetParameter(t.Context(), &ssm.GetParameterInput{Name: aws.String("p")}); code(err) != want {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
