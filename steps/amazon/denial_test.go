package amazon_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/applicationautoscaling"
	"github.com/aws/aws-sdk-go-v2/service/applicationautoscaling/types"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecrpublic"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/servicequotas"
	"github.com/aws/aws-sdk-go-v2/service/ssm"

	"bake/internal/sandbox"
	"bake/internal/sandbox/sandboxtest"
	"bake/steps/amazon"
	"bake/steps/amazon/permit"
	"bake/steps/amazon/permit/permittest"
)

// limited is a cloud whose caller has a policy and nothing else.
func limited(t *testing.T, box *sandbox.Sandbox, policy string) *amazon.Cloud {
	t.Helper()
	admin, name := iam.NewFromConfig(sandboxtest.Config(box, "eu-west-1")), "ci"
	_, made := admin.CreateUser(t.Context(), &iam.CreateUserInput{UserName: &name})
	_, put := admin.PutUserPolicy(t.Context(), &iam.PutUserPolicyInput{UserName: &name, PolicyName: &name, PolicyDocument: &policy})
	key, err := admin.CreateAccessKey(t.Context(), &iam.CreateAccessKeyInput{UserName: &name})
	if err := errors.Join(made, put, err); err != nil {
		t.Fatal(err)
	}
	for k, v := range map[string]string{"AWS_ENDPOINT_URL": box.URL, "AWS_ACCESS_KEY_ID": *key.AccessKey.AccessKeyId, "AWS_SECRET_ACCESS_KEY": *key.AccessKey.SecretAccessKey,
		"AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null", "AWS_EC2_METADATA_DISABLED": "true", "AWS_PROFILE": "", "AWS_SESSION_TOKEN": "", "AWS_REGION": "eu-west-1"} {
		t.Setenv(k, v)
	}
	return amazon.New(amazon.Options{})
}

// calls are one of each service that bake calls, and the statement that each needs.
func calls(cfg aws.Config) map[string]func(context.Context) error {
	const in = ":eu-west-1:" + sandboxtest.Account + ":"
	text := aws.String
	return map[string]func(context.Context) error{
		`"ecr:DescribeRepositories", "Resource": "arn:aws:ecr` + in + `repository/api"`: func(ctx context.Context) error {
			_, err := ecr.NewFromConfig(cfg).DescribeRepositories(ctx, &ecr.DescribeRepositoriesInput{RepositoryNames: []string{"api"}})
			return err
		},
		`"ecr-public:GetAuthorizationToken", "Resource": "*"`: func(ctx context.Context) error {
			_, err := ecrpublic.NewFromConfig(cfg).GetAuthorizationToken(ctx, nil)
			return err
		},
		`"ecs:DescribeServices", "Resource": "arn:aws:ecs` + in + `service/prod/api"`: func(ctx context.Context) error {
			_, err := ecs.NewFromConfig(cfg).DescribeServices(ctx, &ecs.DescribeServicesInput{Cluster: text("prod"), Services: []string{"api"}})
			return err
		},
		`"ssm:GetParameter", "Resource": "arn:aws:ssm` + in + `parameter/web/latest"`: func(ctx context.Context) error {
			_, err := ssm.NewFromConfig(cfg).GetParameter(ctx, &ssm.GetParameterInput{Name: text("/web/latest")})
			return err
		},
		`"kms:DescribeKey", "Resource": "`: func(ctx context.Context) error {
			_, err := kms.NewFromConfig(cfg).DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: text("alias/aws/ebs")})
			return err
		},
		`"logs:DescribeLogGroups", "Resource": "arn:aws:logs` + in + `log-group::log-stream:"`: func(ctx context.Context) error {
			_, err := cloudwatchlogs.NewFromConfig(cfg).DescribeLogGroups(ctx, nil)
			return err
		},
		`"elasticloadbalancing:DescribeTargetGroups", "Resource": "*"`: func(ctx context.Context) error {
			_, err := elb.NewFromConfig(cfg).DescribeTargetGroups(ctx, nil)
			return err
		},
		`"secretsmanager:DescribeSecret", "Resource": "arn:aws:secretsmanager` + in + `secret:db"`: func(ctx context.Context) error {
			_, err := secretsmanager.NewFromConfig(cfg).DescribeSecret(ctx, &secretsmanager.DescribeSecretInput{SecretId: text("db")})
			return err
		},
		`"servicequotas:GetServiceQuota", "Resource": "*"`: func(ctx context.Context) error {
			_, err := servicequotas.NewFromConfig(cfg).GetServiceQuota(ctx, &servicequotas.GetServiceQuotaInput{ServiceCode: text("fargate"), QuotaCode: text("L-3032A538")})
			return err
		},
		`"application-autoscaling:DescribeScalableTargets", "Resource": "*"`: func(ctx context.Context) error {
			_, err := applicationautoscaling.NewFromConfig(cfg).DescribeScalableTargets(ctx, &applicationautoscaling.DescribeScalableTargetsInput{ServiceNamespace: types.ServiceNamespaceEcs})
			return err
		},
		`"iam:GetRole", "Resource": "arn:aws:iam::` + sandboxtest.Account + `:role/deployer"`: func(ctx context.Context) error {
			_, err := iam.NewFromConfig(cfg).GetRole(ctx, &iam.GetRoleInput{RoleName: text("deployer")})
			return err
		},
		`"ec2:TerminateInstances", "Resource": "arn:aws:ec2` + in + `instance/i-0123456789abcdef0"`: func(ctx context.Context) error {
			_, err := ec2.NewFromConfig(cfg).TerminateInstances(ctx, &ec2.TerminateInstancesInput{InstanceIds: []string{"i-0123456789abcdef0"}})
			return err
		},
	}
}

func TestADenialOfEveryServiceNamesTheStatementToAdd(t *testing.T) {
	cloud := limited(t, sandboxtest.Start(t), `{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sts:DecodeAuthorizationMessage", "Resource": "*"}]}`)
	cfg, err := cloud.Config(t.Context(), amazon.Access{})
	if err != nil {
		t.Fatal(err)
	}
	for want, call := range calls(cfg) {
		err := cloud.Explain(t.Context(), amazon.Access{}, call(t.Context()))
		if e, ok := errors.AsType[*amazon.Explained](err); !ok || !strings.Contains(e.Hint(), `add to the caller's policy: {"Effect": "Allow", "Action": `+want) {
			t.Errorf("want %s: %v", want, err)
		}
	}
}

func TestAnExplicitDenialOfEveryServiceIsSaidToBeOne(t *testing.T) {
	cloud := limited(t, sandboxtest.Start(t), `{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"},
		{"Effect": "Deny", "NotAction": "sts:DecodeAuthorizationMessage", "Resource": "*"}]}`)
	cfg, err := cloud.Config(t.Context(), amazon.Access{})
	if err != nil {
		t.Fatal(err)
	}
	for what, call := range calls(cfg) {
		err := call(t.Context())
		if err == nil || !strings.Contains(err.Error(), "with an explicit deny in an identity-based policy") {
			t.Errorf("%s: %v", what, err)
		}
		if e, ok := errors.AsType[*amazon.Explained](cloud.Explain(t.Context(), amazon.Access{}, err)); !ok || !strings.Contains(e.Hint(), "forbids it explicitly") {
			t.Errorf("%s: %v", what, e)
		}
	}
}

func TestADenialThatMayNotBeDecodedIsReadAsItStands(t *testing.T) {
	cloud := limited(t, sandboxtest.Start(t), `{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:Get*", "Resource": "*"}]}`)
	cfg, err := cloud.Config(t.Context(), amazon.Access{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = ec2.NewFromConfig(cfg).DescribeImages(t.Context(), nil)
	if e, ok := errors.AsType[*amazon.Explained](cloud.Explain(t.Context(), amazon.Access{}, err)); !ok || !strings.Contains(e.Hint(), `"Action": "ec2:DescribeImages", "Resource": "`) {
		t.Errorf("%v", e)
	}
}

// TestTheStatementOfADenialCanBePasted: adding what the hint says, time after
// time, lets the call through, for calls that need several things at once.
func TestTheStatementOfADenialCanBePasted(t *testing.T) {
	box := sandboxtest.Start(t)
	admin := ec2.NewFromConfig(sandboxtest.Config(box, "eu-west-1"))
	images, err := admin.DescribeImages(t.Context(), &ec2.DescribeImagesInput{Owners: []string{"amazon"}, Filters: []ec2types.Filter{amazon.Filter("architecture", "x86_64")}})
	if err != nil {
		t.Fatal(err)
	}
	image := images.Images[0].ImageId
	own, err := admin.CopyImage(t.Context(), &ec2.CopyImageInput{Name: aws.String("own"), SourceImageId: image, SourceRegion: aws.String("eu-west-1")})
	if err != nil {
		t.Fatal(err)
	}
	started, err := admin.RunInstances(t.Context(), &ec2.RunInstancesInput{ImageId: image, InstanceType: "t3.micro", MinCount: aws.Int32(1), MaxCount: aws.Int32(1)})
	if err != nil {
		t.Fatal(err)
	}
	tags := func(kind ec2types.ResourceType) []ec2types.TagSpecification {
		return []ec2types.TagSpecification{{ResourceType: kind, Tags: []ec2types.Tag{{Key: aws.String("bake:run"), Value: aws.String("r1")}}}}
	}
	for name, call := range map[string]func(*ec2.Client) error{
		"RunInstances": func(c *ec2.Client) error {
			_, err := c.RunInstances(t.Context(), &ec2.RunInstancesInput{ImageId: image, InstanceType: "t3.micro", MinCount: aws.Int32(1), MaxCount: aws.Int32(1), TagSpecifications: tags("instance"), DryRun: aws.Bool(true)})
			return err
		},
		"CreateImage": func(c *ec2.Client) error {
			_, err := c.CreateImage(t.Context(), &ec2.CreateImageInput{InstanceId: started.Instances[0].InstanceId, Name: aws.String("web"), TagSpecifications: tags("image"), DryRun: aws.Bool(true)})
			return err
		},
		"ModifyImageAttribute": func(c *ec2.Client) error {
			_, err := c.ModifyImageAttribute(t.Context(), &ec2.ModifyImageAttributeInput{ImageId: own.ImageId, Description: &ec2types.AttributeValue{Value: aws.String("web")}, DryRun: aws.Bool(true)})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			doc := permit.Document{Version: "2012-10-17", Statements: []permit.Allowed{{Effect: "Allow", Action: []string{"sts:DecodeAuthorizationMessage"}, Resource: []string{"*"}}}}
			for n := 0; ; n++ {
				cloud := permittest.Limit(t, box, doc)
				cfg, err := cloud.Config(t.Context(), amazon.Access{})
				if err != nil {
					t.Fatal(err)
				}
				err = call(ec2.NewFromConfig(cfg))
				// The instance, which nothing boots here, may have ended: what is
				// refused for another reason is allowed.
				if !amazon.IsCode(err, "UnauthorizedOperation") {
					if n == 0 {
						t.Error("nothing was refused")
					}
					break
				}
				told, ok := errors.AsType[*amazon.Explained](cloud.Explain(t.Context(), amazon.Access{}, err))
				if !ok || n > 12 {
					t.Fatalf("after %d statements: %v", n, err)
				}
				text, found := strings.CutPrefix(told.Hint(), "add to the caller's policy: ")
				var s struct{ Effect, Action, Resource string }
				if err := json.Unmarshal([]byte(text), &s); !found || err != nil {
					t.Fatalf("%q is no statement of %v: %v", told.Hint(), told, err)
				}
				doc.Statements = append(doc.Statements, permit.Allowed{Effect: s.Effect, Action: []string{s.Action}, Resource: []string{s.Resource}})
			}
			t.Logf("%+v", doc.Statements[1:])
		})
	}
}
