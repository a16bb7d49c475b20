package ecr

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"

	"bake/builder"
	"bake/steps/amazon"
)

// repair brings the repository's settings to what the template names. What
// is right already is not written.
func (t *target) repair(ctx context.Context, sc *builder.Scope, c *Create) error {
	for _, f := range []func(context.Context, *builder.Scope, *Create) error{
		t.repairEncryption, t.repairScanning, t.repairMutability, t.repairLifecycle, t.repairPolicy, t.repairTags,
	} {
		if err := f(ctx, sc, c); err != nil {
			return fmt.Errorf("repository %s: %w", t, err)
		}
	}
	return nil
}

// An EncryptionError is a repository whose encryption is not what the template
// says: that cannot be changed.
type EncryptionError struct{ Repository, Have, Want string }

func (e *EncryptionError) Error() string {
	return fmt.Sprintf("repository %s is encrypted with %s, not %s, and that cannot be changed", e.Repository, e.Have, e.Want)
}

// Hint says how to get out of it.
func (e *EncryptionError) Hint() string {
	return "take `encryption` out of the template, push to a new repository, or copy the images, delete this one and let bake make it anew"
}

func (t *target) repairEncryption(_ context.Context, _ *builder.Scope, c *Create) error {
	if c.Encryption == nil {
		return nil
	}
	want, have := c.Encryption.configuration(), t.repo.private.EncryptionConfiguration
	if have == nil {
		have = &types.EncryptionConfiguration{EncryptionType: types.EncryptionTypeAes256}
	}
	if want.EncryptionType == have.EncryptionType && (want.KmsKey == nil || sameKey(*want.KmsKey, aws.ToString(have.KmsKey))) {
		return nil
	}
	return &EncryptionError{Repository: t.name, Have: encryptionWords(have), Want: encryptionWords(want)}
}

func encryptionWords(c *types.EncryptionConfiguration) string {
	return strings.TrimSpace(string(c.EncryptionType) + " " + aws.ToString(c.KmsKey))
}

// sameKey reports whether have, an ARN, may be the key that the template names
// by ARN or id. What an alias stands for, ECR does not tell.
func sameKey(want, have string) bool {
	return want == have || strings.Contains(want, "alias/") || strings.HasSuffix(have, "/"+want)
}

func (t *target) repairScanning(ctx context.Context, sc *builder.Scope, c *Create) error {
	have := t.repo.private.ImageScanningConfiguration
	if c.ScanOnPush == nil || have != nil && have.ScanOnPush == *c.ScanOnPush || have == nil && !*c.ScanOnPush {
		return nil
	}
	_, err := t.api.PutImageScanningConfiguration(ctx, &ecr.PutImageScanningConfigurationInput{
		RepositoryName: &t.name, RegistryId: orNil(t.account), ImageScanningConfiguration: &types.ImageScanningConfiguration{ScanOnPush: *c.ScanOnPush}})
	if err == nil {
		t.note(sc, "set scan on push of %s to %v", t, *c.ScanOnPush)
	}
	return err
}

func (t *target) repairMutability(ctx context.Context, sc *builder.Scope, c *Create) error {
	if c.Immutable == nil {
		return nil
	}
	want, filters := c.Immutable.mutability()
	have := t.repo.private
	if have.ImageTagMutability == want && slices.Equal(patterns(filters), patterns(have.ImageTagMutabilityExclusionFilters)) {
		return nil
	}
	_, err := t.api.PutImageTagMutability(ctx, &ecr.PutImageTagMutabilityInput{
		RepositoryName: &t.name, RegistryId: orNil(t.account), ImageTagMutability: want, ImageTagMutabilityExclusionFilters: filters})
	if err == nil {
		t.repo.fixed = fixedTag(want, filters)
		t.note(sc, "set tags of %s to %s", t, want)
	}
	return err
}

func patterns(filters []types.ImageTagMutabilityExclusionFilter) []string {
	var all []string
	for _, f := range filters {
		all = append(all, aws.ToString(f.Filter))
	}
	slices.Sort(all)
	return all
}

func (t *target) repairLifecycle(ctx context.Context, sc *builder.Scope, c *Create) error {
	want, err := policyText(c.Lifecycle)
	if err != nil || want == "" {
		return err
	}
	out, err := t.api.GetLifecyclePolicy(ctx, &ecr.GetLifecyclePolicyInput{RepositoryName: &t.name, RegistryId: orNil(t.account)})
	absent := amazon.IsCode(err, "LifecyclePolicyNotFoundException")
	switch {
	case err != nil && !absent:
		return err
	case absent && want == none, !absent && want != none && samePolicy(want, aws.ToString(out.LifecyclePolicyText)):
		return nil
	case want == none:
		_, err = t.api.DeleteLifecyclePolicy(ctx, &ecr.DeleteLifecyclePolicyInput{RepositoryName: &t.name, RegistryId: orNil(t.account)})
	default:
		_, err = t.api.PutLifecyclePolicy(ctx, &ecr.PutLifecyclePolicyInput{RepositoryName: &t.name, RegistryId: orNil(t.account), LifecyclePolicyText: &want})
	}
	if err == nil {
		t.note(sc, "set the lifecycle policy of %s", t)
	}
	return err
}

func (t *target) repairPolicy(ctx context.Context, sc *builder.Scope, c *Create) error {
	return t.repairPolicyWith(sc, c, policyCalls{
		get: func() (*string, error) {
			out, err := t.api.GetRepositoryPolicy(ctx, &ecr.GetRepositoryPolicyInput{RepositoryName: &t.name, RegistryId: orNil(t.account)})
			if err != nil {
				return nil, err
			}
			return out.PolicyText, nil
		},
		set: func(text string) error {
			_, err := t.api.SetRepositoryPolicy(ctx, &ecr.SetRepositoryPolicyInput{RepositoryName: &t.name, RegistryId: orNil(t.account), PolicyText: &text})
			return err
		},
		remove: func() error {
			_, err := t.api.DeleteRepositoryPolicy(ctx, &ecr.DeleteRepositoryPolicyInput{RepositoryName: &t.name, RegistryId: orNil(t.account)})
			return err
		},
	})
}

// policyCalls are a registry's calls for the policy of a repository. get fails
// with RepositoryPolicyNotFoundException if it has none.
type policyCalls struct {
	get    func() (*string, error)
	set    func(text string) error
	remove func() error
}

// repairPolicyWith brings the policy to what the template says, in either kind
// of registry.
func (t *target) repairPolicyWith(sc *builder.Scope, c *Create, calls policyCalls) error {
	want, err := policyText(c.Policy)
	if err != nil || want == "" {
		return err
	}
	have, err := calls.get()
	absent := amazon.IsCode(err, "RepositoryPolicyNotFoundException")
	switch {
	case err != nil && !absent:
		return err
	case absent && want == none, !absent && want != none && samePolicy(want, aws.ToString(have)):
		return nil
	case want == none:
		err = calls.remove()
	default:
		err = calls.set(want)
	}
	if err == nil {
		t.note(sc, "set the policy of %s", t)
	}
	return err
}

func (t *target) repairTags(ctx context.Context, sc *builder.Scope, c *Create) error {
	if len(c.Tags) == 0 {
		return nil
	}
	out, err := t.api.ListTagsForResource(ctx, &ecr.ListTagsForResourceInput{ResourceArn: &t.repo.arn})
	if err != nil {
		return err
	}
	have := map[string]string{}
	for _, tag := range out.Tags {
		have[aws.ToString(tag.Key)] = aws.ToString(tag.Value)
	}
	var missing []types.Tag
	for _, k := range missingTags(c.Tags, have) {
		missing = append(missing, types.Tag{Key: aws.String(k), Value: aws.String(c.Tags[k])})
	}
	if len(missing) == 0 {
		return nil
	}
	if _, err := t.api.TagResource(ctx, &ecr.TagResourceInput{ResourceArn: &t.repo.arn, Tags: missing}); err != nil {
		return err
	}
	t.note(sc, "set %d tags of %s", len(missing), t)
	return nil
}

// missingTags are the keys that are not as they should be.
func missingTags(want, have map[string]string) []string {
	var keys []string
	for _, k := range slices.Sorted(maps.Keys(want)) {
		if v, ok := have[k]; !ok || v != want[k] {
			keys = append(keys, k)
		}
	}
	return keys
}
