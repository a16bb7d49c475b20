package amazon

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestAnAccessSurvivesBeingWritten(t *testing.T) {
	role := "arn:aws:iam::123456789012:role/ci"
	for text, a := range map[string]Access{
		"eu-west-1":              {Region: "eu-west-1"},
		"eu-west-1?profile=prod": {Region: "eu-west-1", Profile: "prod"},
		"eu-west-1?role=arn%3Aaws%3Aiam%3A%3A123456789012%3Arole%2Fci": {Region: "eu-west-1", Roles: []Role{{ARN: role}}},
		"": {},
	} {
		if got := a.Where(); got != text {
			t.Errorf("%+v is written %q, want %q", a, got, text)
		}
	}
	for _, a := range []Access{
		{Region: "eu-west-1", Profile: "a b"},
		{Region: "us-east-1", Roles: []Role{{ARN: role}, {ARN: role + "2", ExternalID: "x&y", Duration: time.Hour, Tags: map[string]string{"team": "a=b"}, MFASerial: "arn:aws:iam::1:mfa/x"}}},
	} {
		back, err := ParseAccess(a.Where())
		if diff := cmp.Diff(a, back); err != nil || diff != "" {
			t.Errorf("%s: %v %s", a.Where(), err, diff)
		}
	}
	if _, err := ParseAccess(""); err == nil {
		t.Error("an access without a region was read")
	}
}
