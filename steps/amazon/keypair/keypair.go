// Package keypair keeps EC2 key pairs as they should be: imported when they are
// missing, replaced when their material differs. It is the output `keypair`,
// what `bake keypair` does, and what a machine's `key_pair` with a public key needs.
package keypair

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"bake/builder"
	"bake/steps/amazon"
)

// A Change is what Ensure found and did.
type Change string

// The changes.
const (
	Unchanged Change = "unchanged"
	Imported  Change = "imported"
	Replaced  Change = "replaced" // the name stood for another key
	Retagged  Change = "retagged"
)

// Ensure makes name stand for key, with tags (DescribeKeyPairs, DeleteKeyPair,
// ImportKeyPair, CreateTags). Instances that run keep the key they were started
// with. Other tags that the pair has are left alone.
func Ensure(ctx context.Context, client *ec2.Client, name string, key Key, tags map[string]string) (Change, error) {
	have, err := Find(ctx, client, name)
	if errors.Is(err, builder.ErrNotFound) {
		return Imported, put(ctx, client, name, key, tags)
	}
	if err != nil {
		return "", err
	}
	if !same(have, key) {
		return Replaced, replace(ctx, client, have, key, tags)
	}
	missing := map[string]string{}
	for k, v := range tags {
		if !slices.ContainsFunc(have.Tags, func(t types.Tag) bool { return aws.ToString(t.Key) == k && aws.ToString(t.Value) == v }) {
			missing[k] = v
		}
	}
	if len(missing) == 0 {
		return Unchanged, nil
	}
	_, err = client.CreateTags(ctx, &ec2.CreateTagsInput{Resources: []string{aws.ToString(have.KeyPairId)}, Tags: list(missing)})
	if err != nil {
		return "", fmt.Errorf("tagging key pair %s: %w", name, err)
	}
	return Retagged, nil
}

// Find returns the key pair of a name, with its public key; builder.ErrNotFound if there is none.
func Find(ctx context.Context, client *ec2.Client, name string) (types.KeyPairInfo, error) {
	// A filter, not KeyNames: a name that does not exist is an answer then, and
	// AccessDenied stays an error.
	out, err := client.DescribeKeyPairs(ctx, &ec2.DescribeKeyPairsInput{
		IncludePublicKey: aws.Bool(true), Filters: []types.Filter{amazon.Filter("key-name", amazon.Literal(name))}})
	if err != nil {
		return types.KeyPairInfo{}, fmt.Errorf("looking for key pair %s: %w", name, err)
	}
	if len(out.KeyPairs) == 0 {
		return types.KeyPairInfo{}, builder.ErrNotFound
	}
	return out.KeyPairs[0], nil
}

// same compares material; the fingerprint decides where EC2 does not give it
// (pairs that were made before it kept public keys).
func same(have types.KeyPairInfo, key Key) bool {
	if material := aws.ToString(have.PublicKey); material != "" {
		return key.Same(material)
	}
	return aws.ToString(have.KeyFingerprint) == key.Fingerprint()
}

// replace imports the new key under the name of the old one. EC2 cannot do that
// in one call. If the import does not succeed, the old key is put back.
func replace(ctx context.Context, client *ec2.Client, old types.KeyPairInfo, key Key, tags map[string]string) error {
	name := aws.ToString(old.KeyName)
	// The old pair's own tags go on; the template's win.
	all := map[string]string{}
	for _, t := range old.Tags {
		all[aws.ToString(t.Key)] = aws.ToString(t.Value)
	}
	maps.Copy(all, tags)
	if _, err := client.DeleteKeyPair(ctx, &ec2.DeleteKeyPairInput{KeyName: &name}); err != nil {
		return fmt.Errorf("replacing key pair %s: %w", name, err)
	}
	// Between the two calls the name stands for nothing: an interruption waits.
	ctx = context.WithoutCancel(ctx)
	err := put(ctx, client, name, key, all)
	if err == nil || aws.ToString(old.PublicKey) == "" {
		return err
	}
	before, perr := Parse([]byte(aws.ToString(old.PublicKey)))
	if perr == nil {
		perr = put(ctx, client, name, before, all)
	}
	if perr != nil {
		return fmt.Errorf("%w; and the key pair is gone now: putting the old one back: %w", err, perr)
	}
	return fmt.Errorf("%w; the old key pair was put back", err)
}

// put imports a key. ImportKeyPair takes no client token: when its answer was
// lost, what stands under the name tells whether it was carried out.
func put(ctx context.Context, client *ec2.Client, name string, key Key, tags map[string]string) error {
	in := &ec2.ImportKeyPairInput{KeyName: &name, PublicKeyMaterial: key.Material()}
	if len(tags) > 0 {
		in.TagSpecifications = []types.TagSpecification{{ResourceType: types.ResourceTypeKeyPair, Tags: list(tags)}}
	}
	_, err := client.ImportKeyPair(ctx, in)
	if amazon.IsCode(err, "InvalidKeyPair.Duplicate") || amazon.IsUnsure(err) {
		if have, ferr := Find(ctx, client, name); ferr == nil && same(have, key) {
			return nil
		}
	}
	if err != nil {
		return fmt.Errorf("importing key pair %s: %w", name, err)
	}
	return nil
}

func list(tags map[string]string) []types.Tag {
	var all []types.Tag
	for _, k := range slices.Sorted(maps.Keys(tags)) {
		all = append(all, types.Tag{Key: aws.String(k), Value: aws.String(tags[k])})
	}
	return all
}
