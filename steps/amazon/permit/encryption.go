package permit

import "strings"

// Encryption is the use of a KMS key by EBS for the caller: key is its id, ARN or
// alias; empty: any.
func Encryption(env Env, key string) []Statement {
	keys, named := env.Key(key)
	through := Condition{"StringLike", "kms:ViaService", []string{"ec2." + env.region() + ".amazonaws.com*"}}
	return []Statement{
		DescribeKey(env, key),
		{Sid: "UseKeys", Actions: []string{"kms:Decrypt", "kms:GenerateDataKeyWithoutPlaintext", "kms:ReEncryptFrom", "kms:ReEncryptTo"}, Resources: keys, Conditions: append(named, through)},
		{Sid: "LendKeysToEBS", Actions: []string{"kms:CreateGrant"}, Resources: keys,
			Conditions: append(named, Condition{"Bool", "kms:GrantIsForAWSResource", []string{"true"}})},
	}
}

// DescribeKey is asking whether a KMS key can be used.
func DescribeKey(env Env, key string) Statement {
	keys, named := env.Key(key)
	return Statement{Sid: "AskAboutKeys", Actions: []string{"kms:DescribeKey"}, Resources: keys, Conditions: named}
}

// Key is the ARN of a KMS key that a template names by id, ARN or alias, and the
// condition that only a key with the alias has. ARNs of keys do not hold
// aliases. An empty name is any key.
func (e Env) Key(key string) (arns []string, named []Condition) {
	account, region, id := e.account(), e.region(), key
	if parts := strings.SplitN(key, ":", 6); len(parts) == 6 {
		region, account, id = parts[3], parts[4], parts[5]
	}
	if strings.HasPrefix(id, "alias/") {
		named = []Condition{{"ForAnyValue:StringEquals", "kms:ResourceAliases", []string{id}}}
		id = ""
	}
	return []string{e.arn("kms", region, account, "key/"+Any(strings.TrimPrefix(id, "key/")))}, named
}
