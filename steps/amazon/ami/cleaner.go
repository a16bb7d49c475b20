package ami

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"bake/builder"
	"bake/steps/amazon"
)

// Cleaners returns what removes each kind of resource that a build makes.
func Cleaners(cloud *amazon.Cloud) map[string]builder.Cleaner {
	c := connector{cloud}
	return map[string]builder.Cleaner{
		kindInstance: instanceCleaner{c}, kindKeyPair: keyPairCleaner{c}, kindGroup: groupCleaner{c}, kindProfile: profileCleaner{c},
		kindVolume: volumeCleaner{c}, kindSnapshot: snapshotCleaner{c}, kindImage: imageCleaner{c},
	}
}

// tagLag is how long AWS may not find by its tags what it has just made.
const tagLag = 30 * time.Second

// connector makes clients for a resource.
type connector struct{ cloud *amazon.Cloud }

// Lag is how long a new resource may not be found (builder.Lagging).
func (connector) Lag() time.Duration { return tagLag }

func (c connector) ec2(ctx context.Context, r builder.Resource) (*ec2.Client, amazon.Access, error) {
	a, err := amazon.ParseAccess(r.Where)
	if err != nil {
		return nil, a, err
	}
	cfg, err := c.cloud.Config(ctx, a)
	return ec2.NewFromConfig(cfg), a, err
}

func byToken(r builder.Resource) []types.Filter {
	return []types.Filter{amazon.Filter("tag:"+amazon.TagToken, r.Token)}
}

// absent makes an answer that something is not there no error.
func absent(err error, codes ...string) error {
	if amazon.IsCode(err, codes...) {
		return nil
	}
	return err
}

// one returns the only id that was found.
func one(ids []string, err error) (string, error) {
	if err != nil {
		return "", err
	}
	if len(ids) == 0 {
		return "", builder.ErrNotFound
	}
	return ids[0], nil
}

// instanceCleaner terminates instances.
type instanceCleaner struct{ connector }

// Find returns the instance that was started with the token. One that has
// ended is as good as none.
func (c instanceCleaner) Find(ctx context.Context, r builder.Resource) (string, error) {
	a, err := amazon.ParseAccess(r.Where)
	if err != nil {
		return "", err
	}
	return c.there(ctx, a, byToken(r)...)
}

// there returns the id of an instance that has not ended.
func (c instanceCleaner) there(ctx context.Context, a amazon.Access, filters ...types.Filter) (string, error) {
	cfg, err := c.cloud.Config(ctx, a)
	if err != nil {
		return "", err
	}
	out, err := ec2.NewFromConfig(cfg).DescribeInstances(ctx, &ec2.DescribeInstancesInput{Filters: append(filters,
		amazon.Filter("instance-state-name", "pending", "running", "stopping", "stopped"))})
	if err != nil {
		return "", err
	}
	var ids []string
	for _, reservation := range out.Reservations {
		for _, i := range reservation.Instances {
			ids = append(ids, aws.ToString(i.InstanceId))
		}
	}
	return one(ids, nil)
}

// Delete terminates the instance. It returns when AWS has taken that on: the
// instance costs nothing any more and cannot come back. Whoever needs what it
// still holds waits for its end (groupCleaner).
func (c instanceCleaner) Delete(ctx context.Context, r builder.Resource) error {
	if c.cloud.HasEnded(r.ID) {
		return nil
	}
	client, a, err := c.ec2(ctx, r)
	if err != nil {
		return err
	}
	_, err = client.TerminateInstances(ctx, &ec2.TerminateInstancesInput{InstanceIds: []string{r.ID}})
	if amazon.IsCode(err, "InvalidInstanceID.NotFound") {
		return c.unknown(ctx, client, r)
	}
	if err == nil {
		c.cloud.NoteEnded(r.ID)
	}
	return c.cloud.Explain(ctx, a, err)
}

// unknown tells an instance that is long gone from one that is so new that AWS
// does not know it everywhere yet.
func (c instanceCleaner) unknown(ctx context.Context, client *ec2.Client, r builder.Resource) error {
	err := settle(ctx, func() error {
		_, err := client.TerminateInstances(ctx, &ec2.TerminateInstancesInput{InstanceIds: []string{r.ID}})
		if amazon.IsCode(err, "InvalidInstanceID.NotFound") {
			if _, ferr := c.Find(ctx, r); errors.Is(ferr, builder.ErrNotFound) {
				return nil // it has not been seen by its tags either
			}
		}
		return err
	}, "InvalidInstanceID.NotFound")
	return err
}

// keyPairCleaner deletes key pairs.
type keyPairCleaner struct{ connector }

// Find returns the name of the key pair: the name is the token's.
func (c keyPairCleaner) Find(ctx context.Context, r builder.Resource) (string, error) {
	client, _, err := c.ec2(ctx, r)
	if err != nil {
		return "", err
	}
	out, err := client.DescribeKeyPairs(ctx, &ec2.DescribeKeyPairsInput{Filters: []types.Filter{amazon.Filter("key-name", nameOf(r.Token))}})
	if err != nil {
		return "", err
	}
	var names []string
	for _, k := range out.KeyPairs {
		names = append(names, aws.ToString(k.KeyName))
	}
	return one(names, nil)
}

// Delete deletes the key pair; AWS takes it well that there is none.
func (c keyPairCleaner) Delete(ctx context.Context, r builder.Resource) error {
	client, a, err := c.ec2(ctx, r)
	if err != nil {
		return err
	}
	_, err = client.DeleteKeyPair(ctx, &ec2.DeleteKeyPairInput{KeyName: &r.ID})
	return c.cloud.Explain(ctx, a, absent(err, "InvalidKeyPair.NotFound"))
}

// groupCleaner deletes security groups.
type groupCleaner struct{ connector }

// Find returns the id of the group with the token.
func (c groupCleaner) Find(ctx context.Context, r builder.Resource) (string, error) {
	client, _, err := c.ec2(ctx, r)
	if err != nil {
		return "", err
	}
	out, err := client.DescribeSecurityGroups(ctx, &ec2.DescribeSecurityGroupsInput{Filters: byToken(r)})
	if err != nil {
		return "", err
	}
	var ids []string
	for _, g := range out.SecurityGroups {
		ids = append(ids, aws.ToString(g.GroupId))
	}
	return one(ids, nil)
}

// Delete deletes the group, as soon as the instances that have it are gone:
// their network interfaces hold it until then, and for a moment longer.
func (c groupCleaner) Delete(ctx context.Context, r builder.Resource) error {
	client, a, err := c.ec2(ctx, r)
	if err != nil {
		return err
	}
	deleted := func() error {
		_, err := client.DeleteSecurityGroup(ctx, &ec2.DeleteSecurityGroupInput{GroupId: &r.ID})
		return absent(err, "InvalidGroup.NotFound", "InvalidGroupId.NotFound")
	}
	if err = deleted(); amazon.IsCode(err, "DependencyViolation") {
		if err = c.users(ctx, client, a, r.ID); err == nil {
			err = settle(ctx, deleted, "DependencyViolation")
		}
	}
	return c.cloud.Explain(ctx, a, err)
}

// users waits for the end of the instances that have a group and are ending.
// One that is not ending is an error: waiting does not help.
func (c groupCleaner) users(ctx context.Context, client *ec2.Client, a amazon.Access, group string) error {
	out, err := client.DescribeInstances(ctx, &ec2.DescribeInstancesInput{Filters: []types.Filter{amazon.Filter("instance.group-id", group)}})
	if err != nil {
		return err
	}
	var all []types.Instance
	for _, reservation := range out.Reservations {
		all = append(all, reservation.Instances...)
	}
	for _, i := range all {
		if !c.cloud.HasEnded(aws.ToString(i.InstanceId)) && !ending(i) {
			return fmt.Errorf("instance %s still uses it", aws.ToString(i.InstanceId))
		}
	}
	for _, i := range all {
		w := amazon.Wait{Name: "terminate " + string(i.InstanceType), About: amazon.Span{Least: 8 * time.Second, Most: time.Minute}}
		_, err := c.cloud.FollowInstance(ctx, a, aws.ToString(i.InstanceId), w, func(i types.Instance) (bool, error) {
			return i.State != nil && i.State.Name == types.InstanceStateNameTerminated, nil
		})
		if err != nil && !errors.Is(err, builder.ErrNotFound) {
			return err
		}
	}
	return nil
}

// ending reports whether an instance is on its way out, or is out.
func ending(i types.Instance) bool {
	return i.State == nil || i.State.Name == types.InstanceStateNameShuttingDown || i.State.Name == types.InstanceStateNameTerminated
}

// volumeCleaner deletes volumes.
type volumeCleaner struct{ connector }

// Find returns the id of the volume with the token.
func (c volumeCleaner) Find(ctx context.Context, r builder.Resource) (string, error) {
	client, _, err := c.ec2(ctx, r)
	if err != nil {
		return "", err
	}
	out, err := client.DescribeVolumes(ctx, &ec2.DescribeVolumesInput{Filters: byToken(r)})
	if err != nil {
		return "", err
	}
	var ids []string
	for _, v := range out.Volumes {
		ids = append(ids, aws.ToString(v.VolumeId))
	}
	return one(ids, nil)
}

// Delete detaches the volume and deletes it. The root volume of an instance that
// is ending cannot be detached: it is deleted with it, or once it is free.
func (c volumeCleaner) Delete(ctx context.Context, r builder.Resource) error {
	client, a, err := c.ec2(ctx, r)
	if err != nil {
		return err
	}
	deleted := func() error {
		_, err := client.DeleteVolume(ctx, &ec2.DeleteVolumeInput{VolumeId: &r.ID})
		return absent(err, "InvalidVolume.NotFound")
	}
	if err = deleted(); amazon.IsCode(err, "VolumeInUse") {
		_, derr := client.DetachVolume(ctx, &ec2.DetachVolumeInput{VolumeId: &r.ID, Force: aws.Bool(true)})
		if derr = absent(derr, "IncorrectState", "OperationNotPermitted", "InvalidVolume.NotFound", "InvalidAttachment.NotFound"); derr != nil {
			return c.cloud.Explain(ctx, a, derr)
		}
		err = settle(ctx, deleted, "VolumeInUse", "IncorrectState")
	}
	return c.cloud.Explain(ctx, a, err)
}

// snapshotCleaner deletes snapshots.
type snapshotCleaner struct{ connector }

// Find returns the id of the snapshot with the token.
func (c snapshotCleaner) Find(ctx context.Context, r builder.Resource) (string, error) {
	client, _, err := c.ec2(ctx, r)
	if err != nil {
		return "", err
	}
	return one(snapshotsByToken(ctx, client, r))
}

func snapshotsByToken(ctx context.Context, client *ec2.Client, r builder.Resource) ([]string, error) {
	out, err := client.DescribeSnapshots(ctx, &ec2.DescribeSnapshotsInput{OwnerIds: []string{"self"}, Filters: byToken(r)})
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, s := range out.Snapshots {
		ids = append(ids, aws.ToString(s.SnapshotId))
	}
	return ids, nil
}

// Delete deletes the snapshot.
func (c snapshotCleaner) Delete(ctx context.Context, r builder.Resource) error {
	client, a, err := c.ec2(ctx, r)
	if err != nil {
		return err
	}
	return c.cloud.Explain(ctx, a, deleteSnapshot(ctx, client, r.ID))
}

// imageCleaner removes candidates: images that were not accepted.
type imageCleaner struct{ connector }

// Find returns the id of the image with the token, whatever its state.
func (c imageCleaner) Find(ctx context.Context, r builder.Resource) (string, error) {
	client, _, err := c.ec2(ctx, r)
	if err != nil {
		return "", err
	}
	out, err := client.DescribeImages(ctx, &ec2.DescribeImagesInput{Owners: []string{"self"}, IncludeDeprecated: aws.Bool(true), IncludeDisabled: aws.Bool(true), Filters: byToken(r)})
	if err != nil {
		return "", err
	}
	var ids []string
	for _, i := range out.Images {
		ids = append(ids, aws.ToString(i.ImageId))
	}
	return one(ids, nil)
}

// Delete deregisters the image and deletes its snapshots, also those of an
// image that is still being made or has failed: they carry the same token.
func (c imageCleaner) Delete(ctx context.Context, r builder.Resource) error {
	client, a, err := c.ec2(ctx, r)
	if err != nil {
		return err
	}
	var ids []string
	out, err := client.DescribeImages(ctx, &ec2.DescribeImagesInput{Owners: []string{"self"}, IncludeDeprecated: aws.Bool(true), IncludeDisabled: aws.Bool(true),
		Filters: []types.Filter{amazon.Filter("image-id", r.ID)}})
	if err != nil {
		return c.cloud.Explain(ctx, a, err)
	}
	for _, i := range out.Images {
		ids = append(ids, snapshotsOf(i)...)
	}
	err = amazon.OnceGranted(ctx, func() error {
		_, err := client.DeregisterImage(ctx, &ec2.DeregisterImageInput{ImageId: &r.ID})
		return err
	})
	if err = absent(err, "InvalidAMIID.NotFound", "InvalidAMIID.Unavailable"); err != nil {
		return c.cloud.Explain(ctx, a, fmt.Errorf("deregistering %s: %w", r.ID, err))
	}
	tagged, err := snapshotsByToken(ctx, client, r)
	if err != nil {
		return c.cloud.Explain(ctx, a, err)
	}
	seen := map[string]bool{}
	for _, id := range append(ids, tagged...) {
		if !seen[id] {
			seen[id] = true
			err = errors.Join(err, deleteSnapshot(ctx, client, id))
		}
	}
	return c.cloud.Explain(ctx, a, err)
}

// deleteSnapshot deletes a snapshot of an image that was just deregistered:
// AWS may hold it as in use for a moment.
func deleteSnapshot(ctx context.Context, client *ec2.Client, id string) error {
	err := settle(ctx, func() error {
		return amazon.OnceGranted(ctx, func() error {
			_, err := client.DeleteSnapshot(ctx, &ec2.DeleteSnapshotInput{SnapshotId: &id})
			return absent(err, "InvalidSnapshot.NotFound")
		})
	}, "InvalidSnapshot.InUse")
	if err != nil {
		return fmt.Errorf("deleting %s: %w", id, err)
	}
	return nil
}

// profileCleaner removes instance profiles and their roles, which have the
// same name.
type profileCleaner struct{ connector }

// Lag is longer: IAM is copied between regions.
func (profileCleaner) Lag() time.Duration { return tagLag }

func (c profileCleaner) iam(ctx context.Context, r builder.Resource) (*iam.Client, amazon.Access, error) {
	a, err := amazon.ParseAccess(r.Where)
	if err != nil {
		return nil, a, err
	}
	cfg, err := c.cloud.Config(ctx, a)
	return iam.NewFromConfig(cfg), a, err
}

// Find returns the name: the profile's or, if an attempt came only that far,
// the role's.
func (c profileCleaner) Find(ctx context.Context, r builder.Resource) (string, error) {
	client, _, err := c.iam(ctx, r)
	if err != nil {
		return "", err
	}
	name := nameOf(r.Token)
	_, err = client.GetInstanceProfile(ctx, &iam.GetInstanceProfileInput{InstanceProfileName: &name})
	if !amazon.IsCode(err, "NoSuchEntity") {
		return name, err
	}
	_, err = client.GetRole(ctx, &iam.GetRoleInput{RoleName: &name})
	if amazon.IsCode(err, "NoSuchEntity") {
		return "", builder.ErrNotFound
	}
	return name, err
}

// Delete takes the role out of the profile, and deletes both with the role's
// policies.
func (c profileCleaner) Delete(ctx context.Context, r builder.Resource) error {
	client, a, err := c.iam(ctx, r)
	if err != nil {
		return err
	}
	gone := func(err error) error { return absent(err, "NoSuchEntity") }
	_, err = client.RemoveRoleFromInstanceProfile(ctx, &iam.RemoveRoleFromInstanceProfileInput{InstanceProfileName: &r.ID, RoleName: &r.ID})
	if err = gone(err); err == nil {
		_, err = client.DeleteInstanceProfile(ctx, &iam.DeleteInstanceProfileInput{InstanceProfileName: &r.ID})
	}
	if err = gone(err); err == nil {
		err = deleteRole(ctx, client, r.ID)
	}
	return c.cloud.Explain(ctx, a, gone(err))
}

func deleteRole(ctx context.Context, client *iam.Client, name string) error {
	inline, err := client.ListRolePolicies(ctx, &iam.ListRolePoliciesInput{RoleName: &name})
	if err != nil {
		return err
	}
	for _, p := range inline.PolicyNames {
		if _, err := client.DeleteRolePolicy(ctx, &iam.DeleteRolePolicyInput{RoleName: &name, PolicyName: &p}); absent(err, "NoSuchEntity") != nil {
			return err
		}
	}
	attached, err := client.ListAttachedRolePolicies(ctx, &iam.ListAttachedRolePoliciesInput{RoleName: &name})
	if err != nil {
		return err
	}
	for _, p := range attached.AttachedPolicies {
		if _, err := client.DetachRolePolicy(ctx, &iam.DetachRolePolicyInput{RoleName: &name, PolicyArn: p.PolicyArn}); absent(err, "NoSuchEntity") != nil {
			return err
		}
	}
	return settle(ctx, func() error {
		_, err := client.DeleteRole(ctx, &iam.DeleteRoleInput{RoleName: &name})
		return err
	}, "DeleteConflict")
}
