package permit

import "strings"

// Encryption is the use of a KMS key by EBS for the caller: key is its id, ARN or
// alias; empty: any.
func Encryption(env Env, key string) []Statement {
	keys := "arn:" + env.Partition() + ":kms:*:*:key/*"
	use := Statement{Sid: "UseKeys", Actions: []string{"kms:DescribeKey", "kms:Decrypt", "kms:GenerateDataKeyWithoutPlaintext", "kms:ReEncryptFrom", "kms:ReEncryptTo"}, Resources: []string{keys}}
	grant := Statement{Sid: "LendKeysToEBS", Actions: []string{"kms:CreateGrant"}, Resources: []string{keys},
		Conditions: []Condition{{Operator: "Bool", Key: "kms:GrantIsForAWSResource", Values: []string{"true"}}}}
	switch {
	case strings.HasPrefix(key, "alias/"):
		named := Condition{Operator: "ForAnyValue:StringEquals", Key: "kms:ResourceAliases", Values: []string{key}}
		use.Conditions, grant.Conditions = append(use.Conditions, named), append(grant.Conditions, named)
	case strings.Contains(key, ":key/"):
		use.Resources, grant.Resources = []string{key}, []string{key}
	case key != "":
		one := strings.TrimSuffix(keys, "*") + strings.TrimPrefix(key, "key/")
		use.Resources, grant.Resources = []string{one}, []string{one}
	}
	return []Statement{use, grant}
}
