package ami

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"bake/builder"
	"bake/steps/amazon"
	"bake/steps/amazon/image"
	"bake/steps/amazon/launch"
	"bake/steps/ssh"
)

// Freeze cleans the machine, stops it and makes an image of it.
func (s *Build) Freeze(ctx context.Context, sc *builder.Scope, m builder.Machine, f builder.Freezing) (builder.Artifact, error) {
	access, err := amazon.ParseAccess(m.Where)
	if err != nil {
		return builder.Artifact{}, err
	}
	cfg, err := s.cloud.Config(ctx, access)
	if err != nil {
		return builder.Artifact{}, err
	}
	want, err := image.Candidate(sc.Plan, f.Build)
	if err != nil {
		return builder.Artifact{}, err
	}
	z := &freezing{Build: s, sc: sc, m: m, key: f.Key, client: ec2.NewFromConfig(cfg), access: access, want: want}
	a, err := z.run(ctx)
	return a, s.cloud.Explain(ctx, access, err)
}

// freezing is an image that is being made.
type freezing struct {
	*Build
	sc       *builder.Scope
	m        builder.Machine
	key      builder.Digest
	client   *ec2.Client
	access   amazon.Access
	want     image.CandidateSpec
	work     workfiles
	facts    workfacts
	bootMode types.BootModeOverrideValues // to be said in CreateImage
}

func (z *freezing) run(ctx context.Context) (_ builder.Artifact, err error) {
	if z.work, err = openWorkfiles(z.sc, z.m.Detail[detailKeys]); err != nil {
		return builder.Artifact{}, err
	}
	if z.facts, err = z.work.facts(z.lifetime()); err != nil {
		return builder.Artifact{}, err
	}
	if z.facts.Captured != z.m.ID {
		if err := z.rest(ctx); err != nil {
			return builder.Artifact{}, err
		}
	}
	if err := z.extraSnapshots(ctx); err != nil {
		return builder.Artifact{}, err
	}
	if err := z.shape(ctx); err != nil {
		return builder.Artifact{}, err
	}
	r, err := z.image(ctx)
	if err != nil {
		return builder.Artifact{}, err
	}
	made, err := z.await(ctx, r)
	if err != nil {
		return builder.Artifact{}, err
	}
	z.sc.Keep(r)
	return builder.Artifact{AMI: z.artifact(made)}, nil
}

// rest brings the machine to rest: clean, and stopped unless it is captured live.
func (z *freezing) rest(ctx context.Context) error {
	if z.facts.Cleaned == z.m.ID { // by an earlier process, which may have stopped it too
		i, err := z.cloud.WaitInstance(ctx, z.access, z.m.ID, func(i types.Instance) (bool, error) { return true, gone(i) })
		if err != nil {
			return err
		}
		if i.State != nil && i.State.Name != types.InstanceStateNameRunning {
			return z.stop(ctx)
		}
	}
	if err := z.clean(ctx); err != nil {
		return err
	}
	return z.stop(ctx)
}

// gone is launch.Alive for a machine that may be stopped.
func gone(i types.Instance) error {
	if i.State != nil && (i.State.Name == types.InstanceStateNameStopping || i.State.Name == types.InstanceStateNameStopped) {
		return nil
	}
	return launch.Alive(i)
}

// clean removes what must not be in the image. An earlier process may have
// done so and died: then the machine lets nobody in any more, and that is all
// that had to be proved.
func (z *freezing) clean(ctx context.Context) error {
	patience := z.timeout()
	again := z.facts.Cleaned == z.m.ID
	if again {
		patience = 15 * time.Second
	}
	script, err := z.cleaning(ctx)
	if err != nil {
		return err
	}
	comm, err := z.connect(ctx, z.sc, z.m, patience)
	if err != nil {
		if again && lockedOut(err) {
			z.sc.Log("the machine was cleaned by an earlier process")
			return nil
		}
		return err
	}
	defer comm.Close()
	z.facts.Cleaned = z.m.ID
	if err := z.work.save(z.facts); err != nil {
		return err
	}
	var found strings.Builder
	err = comm.Run(ctx, builder.Command{Script: script, Shell: []string{"/bin/sh"}, User: "root", Stdout: &found})
	if refused := z.tell(findings(found.String()), err); refused != nil {
		return fmt.Errorf("cleaning the machine: %w", refused)
	}
	return nil
}

// lockedOut reports whether a machine does not let bake in.
func lockedOut(err error) bool {
	if _, ok := errors.AsType[*ssh.AuthError](err); ok {
		return true
	}
	if _, ok := errors.AsType[*ssh.HostKeyError](err); ok {
		return true
	}
	_, ok := errors.AsType[*ssh.ConnectError](err)
	return ok
}

// quiesce is what comes after cleaning: everything stands on the disks.
func (z *freezing) quiesce() string {
	if z.Capture.Live {
		return freezeScript
	}
	return syncScript
}

// stop stops the machine, unless it is captured live. A spot instance that was
// asked for once cannot be stopped: CreateImage restarts it.
func (z *freezing) stop(ctx context.Context) error {
	if z.Capture.Live || z.spot() {
		return nil
	}
	z.sc.Log("stopping instance %s", z.m.ID)
	asked := time.Now()
	err := settle(ctx, func() error {
		_, err := z.client.StopInstances(ctx, &ec2.StopInstancesInput{InstanceIds: []string{z.m.ID}})
		return err
	}, "InvalidInstanceID.NotFound")
	if err != nil {
		return fmt.Errorf("stopping instance %s: %w", z.m.ID, err)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, stopTime, fmt.Errorf("instance %s has not stopped after %s", z.m.ID, stopTime))
	defer cancel()
	w := amazon.Wait{Name: "stop " + z.m.Detail[detailType], From: asked, About: amazon.Span{Least: 8 * time.Second, Most: 30 * time.Second}}
	_, err = z.cloud.FollowInstance(ctx, z.access, z.m.ID, w, func(i types.Instance) (bool, error) {
		if i.State != nil && i.State.Name == types.InstanceStateNameRunning {
			return false, nil
		}
		return i.State != nil && i.State.Name == types.InstanceStateNameStopped, gone(i)
	})
	return err
}

// stopTime is generous: large and bare-metal types take minutes.
const stopTime = 30 * time.Minute

func (z *freezing) spot() bool { return z.m.Detail[detailSpot] == "yes" }

// image asks for the image. CreateImage has no client token: its tags are
// looked up before it is repeated.
func (z *freezing) image(ctx context.Context) (builder.Resource, error) {
	return z.sc.Create(ctx, builder.Resource{Kind: kindImage, Name: z.want.Name, Where: z.access.Where()}, func(ctx context.Context, r builder.Resource) (string, error) {
		id, err := z.create(ctx, r, z.want.Name)
		if taken, ok := errors.AsType[*nameTaken](err); ok && z.want.IfExists == image.IfExistsReplace {
			id, err = z.create(ctx, r, image.TemporaryName(z.want.Name, r.Token))
			if err == nil {
				z.sc.Log("%s has the name: the AMI has another until it is published", taken.by)
			}
		}
		return id, err
	})
}

// nameTaken is another image that has the name.
type nameTaken struct {
	amazon.Explained
	by string // its id
}

// notReady are the codes of CreateImage for an instance that it thinks is
// still on its way to being stopped.
var notReady = []string{"IncorrectInstanceState", "IncorrectState", "InvalidInstanceID.NotFound", "InvalidInstanceID.NotReady"}

func (z *freezing) create(ctx context.Context, r builder.Resource, name string) (string, error) {
	in := z.input(r.Token, name)
	for began := time.Now(); ; {
		out, err := z.client.CreateImage(ctx, in, func(o *ec2.Options) { o.Retryer = amazon.Once(o.Retryer) })
		switch {
		case err == nil:
			return aws.ToString(out.ImageId), nil
		case amazon.IsCode(err, "InvalidAMIName.Duplicate"):
			id, err := z.adopt(ctx, r.Token, name, err)
			if !errors.Is(err, errMadeWay) {
				return id, err
			}
			continue
		case amazon.IsUnsure(err) && ctx.Err() == nil:
			id, found := look(ctx, imageCleaner{connector{z.cloud}}, r)
			if found == nil {
				return id, nil
			}
			if !errors.Is(found, builder.ErrNotFound) {
				return "", errors.Join(err, found)
			}
		case !amazon.IsCode(err, notReady...) && !stillRunning(err):
			return "", err
		}
		if time.Since(began) > createTime {
			return "", err
		}
		if err := pause(ctx, time.Second); err != nil {
			return "", err
		}
	}
}

// createTime is how long CreateImage is repeated.
const createTime = 5 * time.Minute

// stillRunning is what CreateImage says, with the code of any wrong value, for
// a state that it has not noticed yet.
func stillRunning(err error) bool {
	return amazon.IsCode(err, "InvalidParameterValue") && strings.Contains(err.Error(), "is not in state")
}

// look looks for what a call was to create that was not answered, for as long
// as it may take to show.
func look(ctx context.Context, c builder.Cleaner, r builder.Resource) (string, error) {
	for began := time.Now(); ; {
		id, err := c.Find(ctx, r)
		if !errors.Is(err, builder.ErrNotFound) || time.Since(began) > tagLag {
			return id, err
		}
		if err := pause(ctx, 500*time.Millisecond); err != nil {
			return "", err
		}
	}
}

// adopt takes an image that has the name already, if it is this very one.
func (z *freezing) adopt(ctx context.Context, token, name string, cause error) (string, error) {
	var have *types.Image
	err := settleNil(ctx, func() (bool, error) {
		var err error
		have, err = ownByName(ctx, z.client, name)
		return have != nil, err
	})
	switch {
	case err != nil:
		return "", err
	case have == nil:
		return "", cause
	case tagOf(have.Tags, amazon.TagToken) == token:
		return aws.ToString(have.ImageId), nil
	case image.Leftover(*have, z.sc.Plan.Name, z.sc.Step.Build()):
		return "", z.makeWay(ctx, *have)
	}
	return "", &nameTaken{by: aws.ToString(have.ImageId), Explained: amazon.Explained{Err: cause, Why: fmt.Sprintf("%s has the name %q", aws.ToString(have.ImageId), name),
		Cure: "put something into the name that changes, like ${{ run.timestamp }}; or set if_exists: replace; or remove that image: bake destroy " + aws.ToString(have.ImageId)}}
}

// errMadeWay says that the name is free now.
var errMadeWay = errors.New("the name is free now")

// makeWay removes an image that AWS has failed to make for an earlier run.
func (z *freezing) makeWay(ctx context.Context, old types.Image) error {
	id := aws.ToString(old.ImageId)
	z.sc.Log("removing %s of an earlier run: it is %s%s", id, old.State, reasonOf(old.StateReason))
	left := builder.Resource{Kind: kindImage, Where: z.access.Where(), ID: id, Token: tagOf(old.Tags, amazon.TagToken)}
	if err := (imageCleaner{connector{z.cloud}}).Delete(ctx, left); err != nil {
		return err
	}
	return errMadeWay
}

// settleNil repeats a question until it has an answer, or for as long as one
// may take to show.
func settleNil(ctx context.Context, ask func() (bool, error)) error {
	for began := time.Now(); ; {
		there, err := ask()
		if there || err != nil || time.Since(began) > tagLag {
			return err
		}
		if err := pause(ctx, 500*time.Millisecond); err != nil {
			return err
		}
	}
}

func (z *freezing) input(token, name string) *ec2.CreateImageInput {
	own := runTags(z.sc, token)
	delete(own, "Name")
	own[amazon.TagState], own[amazon.TagKey], own[tagUser] = stateCandidate, string(z.key), z.m.Detail[detailUser]
	of := func(tags map[string]string) map[string]string {
		all := maps.Clone(tags)
		if all == nil {
			all = map[string]string{}
		}
		maps.Copy(all, own)
		return all
	}
	in := &ec2.CreateImageInput{
		InstanceId: &z.m.ID, Name: &name, NoReboot: aws.Bool(!z.spot() || z.Capture.Live),
		BlockDeviceMappings: z.devices(),
		TagSpecifications: append(launch.TagSpecifications(of(z.want.Tags), types.ResourceTypeImage),
			launch.TagSpecifications(of(z.want.SnapshotTags), types.ResourceTypeSnapshot)...),
	}
	if z.want.Description != "" {
		in.Description = &z.want.Description
	}
	in.BootModeOverride = z.bootMode
	return in
}

// devices leaves the extra volumes out of the image, and says which of the
// others outlive an instance: on the build machine none did.
func (z *freezing) devices() []types.BlockDeviceMapping {
	var out []types.BlockDeviceMapping
	extra := extraVolumes(z.m)
	for _, device := range slices.Sorted(maps.Keys(extra)) {
		out = append(out, types.BlockDeviceMapping{DeviceName: aws.String(device), NoDevice: aws.String("")})
	}
	for _, v := range z.Machine.Volumes {
		if v.Delete != nil && !*v.Delete {
			name := v.Device
			if name == launch.Root {
				name = z.m.Detail[detailRoot]
			}
			out = append(out, types.BlockDeviceMapping{DeviceName: aws.String(name), Ebs: &types.EbsBlockDevice{DeleteOnTermination: aws.Bool(false)}})
		}
	}
	return out
}

// await waits for the image. Its snapshots tell how far it is.
func (z *freezing) await(ctx context.Context, r builder.Resource) (types.Image, error) {
	limit := z.Capture.Timeout
	if limit <= 0 {
		limit = 90 * time.Minute
	}
	ctx, cancel := context.WithTimeoutCause(ctx, limit, &slowImageError{ID: r.ID, Limit: limit, Run: z.sc.Run})
	defer cancel()
	z.sc.Log("making AMI %s (%s)", r.ID, z.want.Name)
	w := amazon.Wait{Name: "capture " + z.sc.Plan.Name + "/" + z.sc.Step.Build(), From: time.Now(), Early: true}
	shown, err := z.capture(ctx, r.Token, w)
	if err != nil {
		return types.Image{}, err
	}
	// What failed is told by the image's own reason.
	w.About, w.Early = shown.About(time.Since(w.From)), false
	made, err := z.cloud.FollowImage(ctx, z.access, r.ID, w, available)
	if err == nil && len(shown) == len(snapshotsOf(made)) {
		z.cloud.KeepFresh(amazon.Fresh{Image: made, Snapshots: shown})
	}
	return made, err
}

// hidden is how long the snapshots of an image may not show by their tags
// before the image itself is asked for its state.
const hidden = 30 * time.Second

// capture follows the snapshots until they are complete, or nearly so: the rest
// is seen of the image, which is what counts.
func (z *freezing) capture(ctx context.Context, token string, w amazon.Wait) (amazon.Capture, error) {
	usual := z.cloud.Usual(z.access, w)
	p := builder.Progress{ID: "image " + z.want.Name, Verb: "capturing", Total: 100, Unit: "%"}
	shown, err := z.cloud.FollowCapture(ctx, z.access, token, w, func(c amazon.Capture) (bool, error) {
		far := c.Progress()
		p.Done = int64(100 * far)
		z.sc.Progress(p)
		if err := z.letGo(ctx, c); err != nil {
			return false, err
		}
		over := len(c) == 0 && time.Since(w.From) > hidden || slices.ContainsFunc(c, func(s types.Snapshot) bool { return s.State == types.SnapshotStateError })
		onTime := usual.Least > 0 && time.Since(w.From) >= usual.Least/2 && far >= onTheWay
		return over || onTime || far >= nearly, nil
	})
	p.Ended = true
	z.sc.Progress(p)
	return shown, err
}

const (
	// nearly is how far a snapshot is when what comes next is its end.
	nearly = 0.95
	// onTheWay is how far one is after half of its usual time if it takes as long
	// as ever: then that time is relied on.
	onTheWay = 0.4
)

// letGo ends the machine as soon as all its volumes are being captured. A
// snapshot holds what was on the volume when it was begun, and neither writes to
// the volume nor its deletion change that (EBS user guide, "Create snapshots",
// "Delete a snapshot"); that it has begun shows in its progress. CreateImage has
// taken from the instance by then what else the image has of it. So the machine
// costs nothing for as long as AWS copies, and its security group can be removed
// the moment that the image is there. A one-time spot instance is restarted by
// CreateImage, and left alone until that is over.
func (z *freezing) letGo(ctx context.Context, c amazon.Capture) error {
	if strconv.Itoa(len(c)) != z.m.Detail[detailVolumes] || z.spot() && !z.Capture.Live || z.facts.Captured == z.m.ID {
		return nil
	}
	for _, s := range c {
		if s.State == types.SnapshotStateError || amazon.Capture([]types.Snapshot{s}).Progress() == 0 && s.State != types.SnapshotStateCompleted {
			return nil
		}
	}
	z.facts.Captured = z.m.ID
	if err := z.work.save(z.facts); err != nil {
		return err
	}
	if err := (instanceCleaner{connector{z.cloud}}).Delete(ctx, builder.Resource{Kind: kindInstance, ID: z.m.ID, Where: z.m.Where}); err != nil {
		z.sc.Log("the machine could not be terminated yet: %v", err) // it will be when the run ends
	}
	return nil
}

// captured reports whether an earlier process has let go of the machine.
func captured(sc *builder.Scope, m builder.Machine) bool {
	work, err := openWorkfiles(sc, m.Detail[detailKeys])
	if err != nil {
		return false
	}
	facts, err := work.read()
	return err == nil && facts.Captured == m.ID
}

// available is when the image can be used; or the reason why it never will.
func available(i types.Image) (bool, error) {
	switch i.State {
	case types.ImageStateAvailable:
		return true, nil
	case types.ImageStateFailed, types.ImageStateError, types.ImageStateInvalid, types.ImageStateDeregistered:
		return false, &ImageError{What: aws.ToString(i.ImageId), Problem: "making it ended as " + string(i.State) + reasonOf(i.StateReason),
			Cure: "is the KMS key enabled, and may the caller and EBS use it? The next run makes a new image"}
	}
	return false, nil
}

// follow reports a snapshot's progress until it is complete.
func (z *freezing) follow(ctx context.Context, id string) error {
	p := builder.Progress{ID: "snapshot " + id, Verb: "capturing", Total: 100, Unit: "%"}
	_, err := z.cloud.WaitSnapshot(ctx, z.access, id, func(s types.Snapshot) (bool, error) {
		if s.State == types.SnapshotStateError {
			return false, fmt.Errorf("snapshot %s failed: %s", id, aws.ToString(s.StateMessage))
		}
		var percent int64
		_, _ = fmt.Sscanf(aws.ToString(s.Progress), "%d%%", &percent) // "" before it begins
		p.Done = percent
		z.sc.Progress(p)
		return s.State == types.SnapshotStateCompleted, nil
	})
	p.Ended = true
	z.sc.Progress(p)
	return err
}

func snapshotsOf(i types.Image) []string {
	var ids []string
	for _, m := range i.BlockDeviceMappings {
		if m.Ebs == nil || m.Ebs.SnapshotId == nil || *m.Ebs.SnapshotId == "" {
			continue
		}
		if aws.ToString(m.DeviceName) == aws.ToString(i.RootDeviceName) {
			ids = slices.Insert(ids, 0, *m.Ebs.SnapshotId)
		} else {
			ids = append(ids, *m.Ebs.SnapshotId)
		}
	}
	return ids
}

func (z *freezing) artifact(i types.Image) *builder.AMI {
	return artifactOf(i, z.access, z.m.Detail[detailUser])
}

func artifactOf(i types.Image, a amazon.Access, user string) *builder.AMI {
	return &builder.AMI{Region: a.Region, ID: aws.ToString(i.ImageId), Name: aws.ToString(i.Name), Access: a.Where(), Account: aws.ToString(i.OwnerId),
		Architecture: string(i.Architecture), User: user, RootDevice: aws.ToString(i.RootDeviceName), Snapshots: snapshotsOf(i)}
}

// extraSnapshots keeps the extra volumes, or snapshots of them, as products.
func (z *freezing) extraSnapshots(ctx context.Context) error {
	volumes := extraVolumes(z.m)
	for _, v := range z.Extra {
		volume, ok := volumes[v.Device]
		if ok && v.After == "keep" {
			z.sc.Log("volume %s stays: %s", v.Device, volume.ID)
			z.sc.Keep(volume)
		}
		if !ok || v.After != "snapshot" {
			continue
		}
		r, err := z.sc.Create(ctx, builder.Resource{Kind: kindSnapshot, Name: "snapshot of " + v.Device, Where: z.access.Where()}, func(ctx context.Context, r builder.Resource) (string, error) {
			return z.extraSnapshot(ctx, v, volume.ID, r)
		})
		if err != nil {
			return err
		}
		if err := z.follow(ctx, r.ID); err != nil {
			return err
		}
		z.sc.Log("snapshot of %s is %s", v.Device, r.ID)
		z.sc.Keep(r)
	}
	return nil
}

// extraSnapshot makes a snapshot of an extra volume. CreateSnapshot has no
// client token: what an unanswered call may have made is looked for first.
func (z *freezing) extraSnapshot(ctx context.Context, v Extra, volume string, r builder.Resource) (string, error) {
	tags := maps.Clone(v.Tags)
	if tags == nil {
		tags = map[string]string{}
	}
	maps.Copy(tags, runTags(z.sc, r.Token))
	if v.Name != "" {
		tags["Name"] = v.Name
	}
	in := &ec2.CreateSnapshotInput{VolumeId: &volume, Description: aws.String("bake " + z.sc.Plan.Name + " " + v.Device),
		TagSpecifications: launch.TagSpecifications(tags, types.ResourceTypeSnapshot)}
	for began := time.Now(); ; {
		out, err := z.client.CreateSnapshot(ctx, in, func(o *ec2.Options) { o.Retryer = amazon.Once(o.Retryer) })
		if err == nil {
			return aws.ToString(out.SnapshotId), nil
		}
		if !amazon.IsUnsure(err) || ctx.Err() != nil || time.Since(began) > createTime {
			return "", err
		}
		id, found := look(ctx, snapshotCleaner{connector{z.cloud}}, r)
		if found == nil {
			return id, nil
		}
		if !errors.Is(found, builder.ErrNotFound) {
			return "", errors.Join(err, found)
		}
	}
}

// A slowImageError is an image that AWS has not made in time, and may yet make.
type slowImageError struct {
	ID    string
	Limit time.Duration
	Run   builder.RunID
}

func (e *slowImageError) Error() string {
	return fmt.Sprintf("AMI %s is not available after %s", e.ID, e.Limit)
}

// Hint says how to go on.
func (e *slowImageError) Hint() string {
	return fmt.Sprintf("`bake resume %s` goes on waiting for it, `bake clean %s` removes it; capture: {timeout: ...} gives it more time", e.Run, e.Run)
}

// Unwrap says that nothing is to be removed.
func (*slowImageError) Unwrap() error { return builder.ErrUnfinished }
