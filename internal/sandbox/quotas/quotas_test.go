package quotas_test

import (
	"errors"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/servicequotas"
	"github.com/aws/smithy-go"

	"bake/internal/sandbox/sandboxtest"
)

func TestAQuotaIsAWSsDefaultUntilItIsSet(t *testing.T) {
	s := sandboxtest.Start(t)
	c := servicequotas.NewFromConfig(sandboxtest.Config(s, "eu-west-1"))
	get := func() float64 {
		t.Helper()
		out, err := c.GetServiceQuota(t.Context(), &servicequotas.GetServiceQuotaInput{ServiceCode: aws.String("fargate"), QuotaCode: aws.String("L-3032A538")})
		if err != nil {
			t.Fatal(err)
		}
		return *out.Quota.Value
	}
	if got := get(); got != 6 {
		t.Errorf("default: %v", got)
	}
	s.Services.Quotas.Set(sandboxtest.Account, "eu-west-1", "fargate", "L-3032A538", 100)
	if got := get(); got != 100 {
		t.Errorf("set: %v", got)
	}
	_, err := c.GetServiceQuota(t.Context(), &servicequotas.GetServiceQuotaInput{ServiceCode: aws.String("fargate"), QuotaCode: aws.String("L-0")})
	if e, _ := errors.AsType[smithy.APIError](err); e == nil || e.ErrorCode() != "NoSuchResourceException" {
		t.Errorf("one that is not there: %v", err)
	}
}
