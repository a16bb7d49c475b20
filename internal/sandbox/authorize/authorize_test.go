package authorize_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"regexp"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	ecstypes "github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"bake/internal/sandbox"
	"bake/internal/sandbox/sandboxtest"
)

const region = "eu-west-1"

func code(err error) string {
	var e smithy.APIError
	if errors.As(err, &e) {
		return e.ErrorCode()
	}
	return ""
}

// user is the configuration of a user with a policy.
func user(t *testing.T, s *sandbox.Sandbox, policy string) aws.Config {
	t.Helper()
	admin := iam.NewFromConfig(sandboxtest.Config(s, region))
	ann := aws.String("ann")
	if _, err := admin.CreateUser(t.Context(), &iam.CreateUserInput{UserName: ann}); err != nil && code(err) != "EntityAlreadyExists" {
		t.Fatal(err)
	}
	if _, err := admin.PutUserPolicy(t.Context(), &iam.PutUserPolicyInput{UserName: ann, PolicyName: ann, PolicyDocument: &policy}); err != nil {
		t.Fatal(err)
	}
	key, err := admin.CreateAccessKey(t.Context(), &iam.CreateAccessKeyInput{UserName: ann})
	if err != nil {
		t.Fatal(err)
	}
	return sandboxtest.ConfigAs(s, region, *key.AccessKey.AccessKeyId, *key.AccessKey.SecretAccessKey, "")
}

func volume(in ec2.CreateVolumeInput, tags ...string) *ec2.CreateVolumeInput {
	in.AvailabilityZone, in.Size = aws.String(region+"a"), aws.Int32(1)
	if len(tags) > 0 {
		spec := ec2types.TagSpecification{ResourceType: "volume"}
		for _, tag := range tags {
			k, v, _ := strings.Cut(tag, "=")
			spec.Tags = append(spec.Tags, ec2types.Tag{Key: &k, Value: &v})
		}
		in.TagSpecifications = []ec2types.TagSpecification{spec}
	}
	return &in
}

func TestEC2IsAllowedByResourceAndTag(t *testing.T) {
	s := sandboxtest.Start(t)
	admin := ec2.NewFromConfig(sandboxtest.Config(s, region))
	mine, err := admin.CreateVolume(t.Context(), volume(ec2.CreateVolumeInput{}, "team=web"))
	if err != nil {
		t.Fatal(err)
	}
	other, err := admin.CreateVolume(t.Context(), volume(ec2.CreateVolumeInput{}, "team=db"))
	if err != nil {
		t.Fatal(err)
	}
	c := ec2.NewFromConfig(user(t, s, `{"Version": "2012-10-17", "Statement": [
		{"Effect": "Allow", "Action": "ec2:Describe*", "Resource": "*"},
		{"Effect": "Allow", "Action": "ec2:CreateVolume", "Resource": "arn:aws:ec2:*:*:volume/*", "Condition": {"StringEquals": {"aws:RequestTag/team": "web"}}},
		{"Effect": "Allow", "Action": "ec2:CreateTags", "Resource": "arn:aws:ec2:*:*:volume/*", "Condition": {"StringEquals": {"ec2:CreateAction": "CreateVolume"}}},
		{"Effect": "Allow", "Action": "ec2:DeleteVolume", "Resource": "*", "Condition": {"StringEquals": {"aws:ResourceTag/team": "web"}}},
		{"Effect": "Deny", "Action": "ec2:DescribeKeyPairs", "Resource": "*"}]}`))
	const no = "UnauthorizedOperation"
	for _, call := range []struct {
		name string
		do   func() error
		want string
	}{
		{"reading", func() error { _, err := c.DescribeVolumes(t.Context(), nil); return err }, ""},
		{"reading what is denied", func() error { _, err := c.DescribeKeyPairs(t.Context(), nil); return err }, no},
		{"making with the tag", func() error {
			_, err := c.CreateVolume(t.Context(), volume(ec2.CreateVolumeInput{}, "team=web"))
			return err
		}, ""},
		{"making without the tag", func() error { _, err := c.CreateVolume(t.Context(), volume(ec2.CreateVolumeInput{})); return err }, no},
		{"making with another", func() error {
			_, err := c.CreateVolume(t.Context(), volume(ec2.CreateVolumeInput{}, "team=db"))
			return err
		}, no},
		{"a dry run without right", func() error {
			_, err := c.CreateVolume(t.Context(), volume(ec2.CreateVolumeInput{DryRun: aws.Bool(true)}))
			return err
		}, no},
		{"a dry run with right", func() error {
			_, err := c.CreateVolume(t.Context(), volume(ec2.CreateVolumeInput{DryRun: aws.Bool(true)}, "team=web"))
			return err
		}, "DryRunOperation"},
		{"tagging afterwards", func() error {
			_, err := c.CreateTags(t.Context(), &ec2.CreateTagsInput{Resources: []string{*mine.VolumeId}, Tags: []ec2types.Tag{{Key: aws.String("a"), Value: aws.String("b")}}})
			return err
		}, no},
		{"deleting its own", func() error {
			_, err := c.DeleteVolume(t.Context(), &ec2.DeleteVolumeInput{VolumeId: mine.VolumeId})
			return err
		}, ""},
		{"deleting another's", func() error {
			_, err := c.DeleteVolume(t.Context(), &ec2.DeleteVolumeInput{VolumeId: other.VolumeId})
			return err
		}, no},
	} {
		if err := call.do(); code(err) != call.want {
			t.Errorf("%s: %v, want %q", call.name, err, call.want)
		}
	}
}

func TestARefusalIsExplainedByItsEncodedMessage(t *testing.T) {
	s := sandboxtest.Start(t)
	cfg := user(t, s, `{"Statement": [{"Effect": "Allow", "Action": "sts:DecodeAuthorizationMessage", "Resource": "*"}]}`)
	_, err := ec2.NewFromConfig(cfg).CreateVolume(t.Context(), volume(ec2.CreateVolumeInput{}))
	m := regexp.MustCompile(`Encoded authorization failure message: (\S+)`).FindStringSubmatch(err.Error())
	if m == nil {
		t.Fatal(err)
	}
	out, err := sts.NewFromConfig(cfg).DecodeAuthorizationMessage(t.Context(), &sts.DecodeAuthorizationMessageInput{EncodedMessage: &m[1]})
	if err != nil {
		t.Fatal(err)
	}
	var decoded struct {
		Context struct{ Action, Resource string }
	}
	if err := json.Unmarshal([]byte(*out.DecodedMessage), &decoded); err != nil {
		t.Fatal(err)
	}
	if decoded.Context.Action != "ec2:CreateVolume" || decoded.Context.Resource != "arn:aws:ec2:"+region+":"+sandboxtest.Account+":volume/*" {
		t.Errorf("%+v", decoded)
	}
}

func TestOtherServicesAreAllowedByResource(t *testing.T) {
	s := sandboxtest.Start(t)
	cfg := user(t, s, `{"Version": "2012-10-17", "Statement": [
		{"Effect": "Allow", "Action": "ecr:GetAuthorizationToken", "Resource": "*"},
		{"Effect": "Allow", "Action": "ecr:*", "Resource": "arn:aws:ecr:*:*:repository/team/*"},
		{"Effect": "Allow", "Action": "ssm:GetParameter", "Resource": "arn:aws:ssm:*:*:parameter/app/*"},
		{"Effect": "Allow", "Action": "ecs:RegisterTaskDefinition", "Resource": "*"}]}`)
	registry, parameters := ecr.NewFromConfig(cfg), ssm.NewFromConfig(cfg)
	for name, want := range map[string]string{"team/api": "", "other/api": "AccessDeniedException"} {
		if _, err := registry.CreateRepository(t.Context(), &ecr.CreateRepositoryInput{RepositoryName: &name}); code(err) != want {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
	}
	for name, want := range map[string]string{"/app/x": "ParameterNotFound", "/other": "AccessDeniedException"} {
		if _, err := parameters.GetParameter(t.Context(), &ssm.GetParameterInput{Name: &name}); code(err) != want {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
	}
	if _, err := iam.NewFromConfig(cfg).ListRoles(t.Context(), nil); code(err) != "AccessDenied" {
		t.Errorf("a service that it has no rights for: %v", err)
	}
	_, err := ecs.NewFromConfig(cfg).RegisterTaskDefinition(t.Context(), &ecs.RegisterTaskDefinitionInput{Family: aws.String("f"), TaskRoleArn: aws.String("arn:aws:iam::" + sandboxtest.Account + ":role/r"),
		ContainerDefinitions: []ecstypes.ContainerDefinition{{Name: aws.String("c"), Image: aws.String("i")}}})
	if code(err) != "AccessDeniedException" || !strings.Contains(err.Error(), "iam:PassRole") {
		t.Errorf("a role that it may not pass: %v", err)
	}
}

func TestAPushNeedsTheRightsOfItsActions(t *testing.T) {
	s := sandboxtest.Start(t)
	made, err := ecr.NewFromConfig(sandboxtest.Config(s, region)).CreateRepository(t.Context(), &ecr.CreateRepositoryInput{RepositoryName: aws.String("api")})
	if err != nil {
		t.Fatal(err)
	}
	push := func(actions string) error {
		c := ecr.NewFromConfig(user(t, s, `{"Statement": [{"Effect": "Allow", "Action": [`+actions+`], "Resource": "*"}]}`))
		out, err := c.GetAuthorizationToken(t.Context(), nil)
		if err != nil {
			return err
		}
		text, _ := base64.StdEncoding.DecodeString(*out.AuthorizationData[0].AuthorizationToken)
		tag, _ := name.NewTag(*made.Repository.RepositoryUri + ":1")
		img, _ := random.Image(10, 1)
		return remote.Write(tag, img, remote.WithAuth(&authn.Basic{Username: "AWS", Password: strings.TrimPrefix(string(text), "AWS:")}))
	}
	if err := push(`"ecr:GetAuthorizationToken", "ecr:BatchGetImage", "ecr:BatchCheckLayerAvailability"`); err == nil || !strings.Contains(err.Error(), "ecr:InitiateLayerUpload") {
		t.Errorf("who may only read pushes: %v", err)
	}
	if err := push(`"ecr:*"`); err != nil {
		t.Error(err)
	}
}
