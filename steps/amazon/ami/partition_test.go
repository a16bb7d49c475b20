package ami

import "testing"

func TestNamesOfAPartition(t *testing.T) {
	for region, want := range map[string][2]string{
		"eu-west-1":     {"arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore", "ec2.amazonaws.com"},
		"cn-north-1":    {"arn:aws-cn:iam::aws:policy/AmazonSSMManagedInstanceCore", "ec2.amazonaws.com.cn"},
		"us-gov-west-1": {"arn:aws-us-gov:iam::aws:policy/AmazonSSMManagedInstanceCore", "ec2.amazonaws.com"},
	} {
		if got := [2]string{partition(region, managedInstance), servicePrincipal(region)}; got != want {
			t.Errorf("%s: %q, want %q", region, got, want)
		}
	}
}
