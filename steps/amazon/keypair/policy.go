package keypair

import (
	"maps"
	"slices"

	"bake/steps/amazon/permit"
)

// Permissions is what keeping the key pair has to be allowed.
func (o *Output) Permissions(env permit.Env) []permit.Statement {
	env = env.For(o.Access)
	return env.Under(Permissions(env, o.Name, o.Tags)...)
}

// Listing is what listing key pairs, and finding one, has to be allowed.
func Listing(permit.Env) []permit.Statement {
	return []permit.Statement{permit.Read("ec2:DescribeKeyPairs")}
}

// Deleting is what deleting the key pair of a name has to be allowed.
func Deleting(env permit.Env, name string) []permit.Statement {
	return append(Listing(env), permit.Statement{Sid: "DeleteKeyPair", Actions: []string{"ec2:DeleteKeyPair"}, Resources: []string{env.ARN("ec2", "key-pair/"+permit.Any(name))}})
}

// Permissions is what Ensure has to be allowed for the key pair of a name. Its
// ARN ends with the name.
func Permissions(env permit.Env, name string, tags map[string]string) []permit.Statement {
	all := []permit.Statement{
		permit.Read("ec2:DescribeKeyPairs"),
		{Sid: "KeepKeyPairs", Actions: []string{"ec2:ImportKeyPair", "ec2:DeleteKeyPair"}, Resources: []string{env.ARN("ec2", "key-pair/"+permit.Any(name))}},
		// The tags that an older pair has go on, whatever they are.
		{Sid: "TagNewKeyPairs", Actions: []string{"ec2:CreateTags"}, Resources: []string{env.ARN("ec2", "key-pair/*")}, Conditions: []permit.Condition{permit.Creating("ImportKeyPair")}},
	}
	if len(tags) > 0 {
		all = append(all, permit.Statement{Sid: "TagKeyPairs", Actions: []string{"ec2:CreateTags"}, Resources: []string{env.ARN("ec2", "key-pair/*")},
			Conditions: []permit.Condition{{Operator: "ForAllValues:StringEquals", Key: "aws:TagKeys", Values: slices.Sorted(maps.Keys(tags))}}})
	}
	return all
}
