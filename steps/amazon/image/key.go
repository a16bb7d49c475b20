package image

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	kmstypes "github.com/aws/aws-sdk-go-v2/service/kms/types"

	"bake/internal/lazyregexp"
	"bake/steps/amazon"
)

// keyName is the form of what EC2 takes for KmsKeyId. AWS itself looks at it
// only when the copy is under way, which fails then.
var keyName = lazyregexp.New(`^(arn:[a-z0-9-]+:kms:[a-z0-9-]+:[0-9]{12}:)?(key/)?([0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}|mrk-[0-9a-f]{32})$|^(arn:[a-z0-9-]+:kms:[a-z0-9-]+:[0-9]{12}:)?alias/[a-zA-Z0-9/_-]+$`)

// travels reports whether a key's name may mean a key in another region too:
// an alias may exist there, and a multi-Region key has the same id everywhere.
func travels(key string) bool {
	return strings.HasPrefix(key, "alias/") || strings.HasPrefix(key, "mrk-")
}

// snapshots describes the image's snapshots.
func (p *place) snapshots(ctx context.Context, img types.Image) ([]types.Snapshot, error) {
	ids := snapshotsOf(img)
	if len(ids) == 0 {
		return nil, nil
	}
	if p.isFresh(aws.ToString(img.ImageId)) {
		return p.fresh.Snapshots, nil
	}
	var found []types.Snapshot
	// A filter is used and not ids: one id that is not known yet fails the whole call.
	err := settled(ctx, func() error {
		out, err := p.ec2.DescribeSnapshots(ctx, &ec2.DescribeSnapshotsInput{OwnerIds: []string{"self"}, Filters: []types.Filter{amazon.Filter("snapshot-id", ids...)}})
		if err != nil {
			return err
		}
		if found = out.Snapshots; len(found) < len(ids) {
			return errUnsettled
		}
		return nil
	})
	if err != nil {
		return nil, p.explain(ctx, "asking about the snapshots of image %s: %w", *img.ImageId, err)
	}
	return found, nil
}

// keysOf returns the ARNs of the KMS keys that the image's snapshots are
// encrypted with.
func (p *place) keysOf(ctx context.Context, img types.Image) ([]string, error) {
	snaps, err := p.snapshots(ctx, img)
	if err != nil {
		return nil, err
	}
	var keys []string
	for _, s := range snaps {
		if aws.ToBool(s.Encrypted) && aws.ToString(s.KmsKeyId) != "" && !slices.Contains(keys, *s.KmsKeyId) {
			keys = append(keys, *s.KmsKeyId)
		}
	}
	return keys, nil
}

// describeKey asks KMS about a key of any name. It returns nil if the caller
// may not ask: then the call that uses the key will tell.
func (p *place) describeKey(ctx context.Context, key string) (*kmstypes.KeyMetadata, error) {
	cfg, err := p.cloud.Config(ctx, p.access)
	if err != nil {
		return nil, err
	}
	out, err := kms.NewFromConfig(cfg).DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: &key})
	switch {
	case err == nil:
		return out.KeyMetadata, nil
	case amazon.IsCode(err, "AccessDeniedException", "AccessDenied"):
		p.log("KMS key %s could not be asked about (kms:DescribeKey)", key)
		return nil, nil
	}
	return nil, p.explain(ctx, "asking about KMS key %s in %s: %w", key, p.label, err)
}

// isDefaultKey reports whether a key is AWS's own for EBS.
func (p *place) isDefaultKey(ctx context.Context, key string) (bool, error) {
	meta, err := p.describeKey(ctx, key)
	if err != nil || meta == nil {
		return false, err
	}
	return meta.KeyManager == kmstypes.KeyManagerTypeAws, nil
}

// usableKey returns the ARN of the key that the template names for this place;
// "" if it names none or the caller may not ask. A key that cannot be used is
// an error before anything is copied, since AWS itself would tell only in the
// reason of a failed image.
func (p *place) usableKey(ctx context.Context) (string, error) {
	if p.want.KMSKey == "" {
		return "", nil
	}
	meta, err := p.describeKey(ctx, p.want.KMSKey)
	if err != nil || meta == nil {
		return "", err
	}
	if meta.KeyState != "" && meta.KeyState != kmstypes.KeyStateEnabled {
		return "", &amazon.Explained{
			Err:  fmt.Errorf("encrypting with KMS key %s in %s: it is %s", p.want.KMSKey, p.label, meta.KeyState),
			Cure: "enable the key, or name another one in kms_key:",
		}
	}
	return aws.ToString(meta.Arn), nil
}
