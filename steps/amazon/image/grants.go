package image

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	kmstypes "github.com/aws/aws-sdk-go-v2/service/kms/types"

	"bake/steps/amazon"
)

// An image whose snapshots are encrypted can be launched only by who may use
// its key as well. bake gives an account that by a grant of its own for each
// image, unless the key's policy does; and takes the grant back when the
// account is not to launch the image any more, or the image goes. Grants cannot
// be given to organizations: for those bake says what the key's policy lacks.

// lent are the operations that launching and copying an image need.
func lent() []kmstypes.GrantOperation {
	return []kmstypes.GrantOperation{kmstypes.GrantOperationDecrypt, kmstypes.GrantOperationDescribeKey, kmstypes.GrantOperationGenerateDataKeyWithoutPlaintext,
		kmstypes.GrantOperationReEncryptFrom, kmstypes.GrantOperationReEncryptTo, kmstypes.GrantOperationCreateGrant}
}

// keyActions are the same as a key's policy names them.
const keyActions = `["kms:Decrypt", "kms:DescribeKey", "kms:GenerateDataKeyWithoutPlaintext", "kms:ReEncrypt*", "kms:CreateGrant"]`

// encryptedSnapshots reports whether an image has any: only then there is a key.
func encryptedSnapshots(img types.Image) bool {
	return slices.ContainsFunc(img.BlockDeviceMappings, func(m types.BlockDeviceMapping) bool {
		return m.Ebs != nil && aws.ToBool(m.Ebs.Encrypted)
	})
}

// accounts are those among grantees.
func accounts(all []grantee) []grantee {
	return slices.DeleteFunc(slices.Clone(all), func(g grantee) bool { return g == everyone || strings.HasPrefix(string(g), "arn:") })
}

// shareKeys lets all that may launch the image use its keys, and takes back
// what those had who may not any more.
func (p *place) shareKeys(ctx context.Context, img types.Image, want, remove []grantee) error {
	if !encryptedSnapshots(img) || len(want)+len(remove) == 0 {
		return nil
	}
	keys, err := p.keysOf(ctx, img)
	if err != nil {
		return err
	}
	cfg, err := p.cloud.Config(ctx, p.access)
	if err != nil {
		return err
	}
	for _, arn := range keys {
		k := &sharedKey{place: p, kms: kms.NewFromConfig(cfg), arn: arn, image: *img.ImageId}
		if err := k.share(ctx, want); err != nil {
			return err
		}
		for _, account := range accounts(remove) {
			if err := k.revoke(ctx, account); err != nil {
				return err
			}
		}
	}
	return nil
}

// returnKeys takes back what accounts were given to use the image's keys: it is
// about to go.
func (p *place) returnKeys(ctx context.Context, img types.Image) error {
	if !encryptedSnapshots(img) {
		return nil
	}
	have, err := p.launchPermissions(ctx, *img.ImageId)
	if err != nil || len(accounts(have)) == 0 {
		return nil // it is gone, or nobody else's
	}
	return p.shareKeys(ctx, img, nil, have)
}

// A sharedKey is the key of an image.
type sharedKey struct {
	*place
	kms        *kms.Client
	arn, image string
}

// share gives grants to accounts that neither have one nor are named by the
// key's policy, and says what organizations lack.
func (k *sharedKey) share(ctx context.Context, want []grantee) error {
	if len(want) == 0 {
		return nil
	}
	policy, known, err := k.policy(ctx)
	if err != nil {
		return err
	}
	for _, g := range want {
		switch who := string(g); {
		case known && policy.lets(g.subject()):
		case strings.HasPrefix(who, "arn:"):
			if known {
				k.log("warning: KMS key %s does not let %s use it, which grants cannot be given to; add to the key's policy: %s", k.arn, who, g.statement())
			}
		default:
			if err := k.grant(ctx, g, known); err != nil {
				return err
			}
		}
	}
	return nil
}

// name tells a grant that bake made for one account and one image.
func (k *sharedKey) name(account grantee) string { return "bake:" + k.image + ":" + string(account) }

func (k *sharedKey) root(account grantee) string {
	partition := strings.SplitN(k.arn, ":", 3)[1]
	return "arn:" + partition + ":iam::" + string(account) + ":root"
}

// grant gives an account the use of the key, if it has no such grant yet. A
// grant of a name is made once however often it is asked for.
func (k *sharedKey) grant(ctx context.Context, account grantee, policyKnown bool) error {
	have, _, err := k.grants(ctx, account) // where they may not be listed, making one is what matters
	if len(have) > 0 || err != nil {
		return err
	}
	_, err = k.kms.CreateGrant(ctx, &kms.CreateGrantInput{KeyId: &k.arn, GranteePrincipal: aws.String(k.root(account)), Name: aws.String(k.name(account)), Operations: lent()})
	denied := amazon.IsCode(err, "AccessDeniedException", "AccessDenied")
	switch {
	case denied && !policyKnown:
		k.log("warning: whether account %s may use KMS key %s is not known: bake may neither read the key's policy (kms:GetKeyPolicy) nor make a grant (kms:CreateGrant)", account, k.arn)
		return nil
	case denied:
		return &amazon.Explained{
			Err:  fmt.Errorf("sharing image %s with account %s: it is encrypted with KMS key %s, which that account may not use: %w", k.image, account, k.arn, err),
			Cure: `let bake make grants ("kms:CreateGrant" and "kms:RevokeGrant" on the key), or add to the key's policy: ` + account.statement(),
		}
	case err != nil:
		return k.explain(ctx, "letting account %s use KMS key %s: %w", account, k.arn, err)
	}
	k.changed("account %s may use KMS key %s for %s", account, k.arn, k.image)
	return nil
}

// grants are the ids of those that bake has given an account for the image;
// false: bake may not ask.
func (k *sharedKey) grants(ctx context.Context, account grantee) (ids []string, known bool, err error) {
	pages := kms.NewListGrantsPaginator(k.kms, &kms.ListGrantsInput{KeyId: &k.arn, GranteePrincipal: aws.String(k.root(account))})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if amazon.IsCode(err, "AccessDeniedException", "AccessDenied") {
			return nil, false, nil
		}
		if err != nil {
			return nil, false, k.explain(ctx, "asking who may use KMS key %s: %w", k.arn, err)
		}
		for _, g := range page.Grants {
			if aws.ToString(g.Name) == k.name(account) {
				ids = append(ids, aws.ToString(g.GrantId))
			}
		}
	}
	return ids, true, nil
}

func (k *sharedKey) revoke(ctx context.Context, account grantee) error {
	ids, known, err := k.grants(ctx, account)
	if err == nil && !known {
		k.log("warning: whether account %s has a grant of KMS key %s for %s is not known (kms:ListGrants)", account, k.arn, k.image)
	}
	for _, id := range ids {
		_, rerr := k.kms.RevokeGrant(ctx, &kms.RevokeGrantInput{KeyId: &k.arn, GrantId: &id})
		if rerr != nil && !amazon.IsCode(rerr, "NotFoundException") {
			return errors.Join(err, k.explain(ctx, "taking KMS key %s back from account %s: %w", k.arn, account, rerr))
		}
		k.changed("account %s may no longer use KMS key %s for %s", account, k.arn, k.image)
	}
	return err
}

// A keyPolicy is what of a key's policy tells whom it lets use the key.
type keyPolicy []struct {
	Effect    string
	Action    json.RawMessage
	Principal json.RawMessage
	Condition json.RawMessage
}

// policy reads the key's policy; false: bake may not.
func (k *sharedKey) policy(ctx context.Context) (keyPolicy, bool, error) {
	out, err := k.kms.GetKeyPolicy(ctx, &kms.GetKeyPolicyInput{KeyId: &k.arn})
	if amazon.IsCode(err, "AccessDeniedException", "AccessDenied") {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, k.explain(ctx, "reading the policy of KMS key %s: %w", k.arn, err)
	}
	var doc struct{ Statement keyPolicy }
	if json.Unmarshal([]byte(aws.ToString(out.Policy)), &doc) != nil {
		return nil, false, nil // one statement without a list, or what AWS will have by then
	}
	return doc.Statement, true, nil
}

var usesKey = regexp.MustCompile(`"(\*|kms:\*|kms:Decrypt)"`)

// lets reports whether a statement gives somebody in an account, or in an
// organization, the use of the key. What it asks besides is the owner's affair.
func (p keyPolicy) lets(subject string) bool {
	for _, s := range p {
		if s.Effect == "Allow" && usesKey.Match(s.Action) && strings.Contains(string(s.Principal)+string(s.Condition), subject) {
			return true
		}
	}
	return false
}

// subject is what a key's policy calls a grantee by: an account, an
// organization's or a unit's id.
func (g grantee) subject() string {
	return string(g)[strings.LastIndexByte(string(g), '/')+1:]
}

// statement is what lets a grantee use a key, in the key's policy.
func (g grantee) statement() string {
	who, id := string(g), g.subject()
	switch {
	case strings.Contains(who, ":organization/"):
		return fmt.Sprintf(`{"Effect": "Allow", "Principal": "*", "Action": %s, "Resource": "*", "Condition": {"StringEquals": {"aws:PrincipalOrgID": %q}}}`, keyActions, id)
	case strings.Contains(who, ":ou/"):
		return fmt.Sprintf(`{"Effect": "Allow", "Principal": "*", "Action": %s, "Resource": "*", "Condition": {"ForAnyValue:StringLike": {"aws:PrincipalOrgPaths": "*/%s/*"}}}`, keyActions, id)
	}
	return fmt.Sprintf(`{"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::%s:root"}, "Action": %s, "Resource": "*"}`, id, keyActions)
}
