package ecr

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"

	"bake/builder"
	"bake/steps/amazon"
)

// await waits until ECR has copied the image, index and images, everywhere
// that its registry replicates to (DescribeImageReplicationStatus).
func (r *Replication) await(ctx context.Context, sc *builder.Scope, t *target) error {
	ctx, cancel := context.WithTimeout(ctx, r.Timeout)
	defer cancel()
	digests := slices.Compact(slices.Sorted(slices.Values(append([]string{t.pushed.Digest}, t.pushed.Manifests...))))
	var where []string
	for _, digest := range digests {
		got, err := t.replicated(ctx, digest)
		if err != nil {
			return fmt.Errorf("replication of %s@%s: %w", t.repo.uri, short(digest), err)
		}
		where = append(where, got...)
	}
	where = slices.Compact(slices.Sorted(slices.Values(where)))
	if len(where) == 0 {
		sc.Log("warning: no rule of the registry replicates %s", t)
		return nil
	}
	sc.Log("replicated to %s", strings.Join(where, ", "))
	return nil
}

// replicated waits for one image and returns where it is now.
func (t *target) replicated(ctx context.Context, digest string) ([]string, error) {
	for n := 0; ; n++ {
		out, err := t.api.DescribeImageReplicationStatus(ctx, &ecr.DescribeImageReplicationStatusInput{
			RepositoryName: &t.name, RegistryId: orNil(t.account), ImageId: &types.ImageIdentifier{ImageDigest: &digest}})
		var left []string
		switch {
		case err != nil && ctx.Err() != nil:
			return nil, lateError(ctx, "the copies")
		case amazon.IsCode(err, "ImageNotFoundException"):
			left = []string{"the image to be seen"} // it was pushed this moment
		case err != nil:
			return nil, err
		default:
			var done []string
			if done, left, err = sortReplicas(out.ReplicationStatuses); err != nil || len(left) == 0 {
				return done, err
			}
		}
		if err := pause(ctx, n); err != nil {
			return nil, lateError(ctx, strings.Join(left, ", "))
		}
	}
}

// sortReplicas tells the regions that have the image from those that do not yet.
func sortReplicas(all []types.ImageReplicationStatus) (done, left []string, err error) {
	for _, s := range all {
		where := aws.ToString(s.Region)
		if id := aws.ToString(s.RegistryId); id != "" {
			where += " of " + id
		}
		switch s.Status {
		case types.ReplicationStatusComplete:
			done = append(done, where)
		case types.ReplicationStatusFailed:
			return nil, nil, fmt.Errorf("copying to %s failed: %s", where, cmp.Or(aws.ToString(s.FailureCode), "ECR does not say why"))
		default:
			left = append(left, where)
		}
	}
	return done, left, nil
}
