package ami

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"golang.org/x/sync/errgroup"

	"bake/builder"
	"bake/steps/amazon"
	"bake/steps/amazon/image"
	"bake/steps/amazon/launch"
)

// Kinds of resources, the keys of Cleaners.
const (
	kindInstance = "ec2-instance"
	kindKeyPair  = "ec2-key-pair"
	kindGroup    = "ec2-security-group"
	kindProfile  = "iam-instance-profile"
	kindVolume   = "ec2-volume"
	kindSnapshot = "ec2-snapshot"
	kindImage    = "ec2-image"
)

// Details of a builder.Machine.
const (
	detailAddress = "address"
	detailUser    = "user"
	detailKeys    = "keys" // name of the workfiles' folder
	detailBase    = "base" // id of the image it was started from
	detailSpot    = "spot" // "yes": it cannot be stopped
	detailExtra   = "extra_volumes"
	detailRoot    = "root_device"
	detailType    = "type"
	detailVolumes = "volumes"  // how many of its volumes become part of the image
	detailStarted = "launched" // when it was asked for
)

// Open starts an instance of the image: of the one that was pinned, of another
// build's, or of the candidate that is tested.
func (s *Source) Open(ctx context.Context, sc *builder.Scope, from builder.Opening) (builder.Machine, error) {
	pin, access, err := readPin(from.Pin)
	if err != nil {
		return builder.Machine{}, err
	}
	if from.Test {
		return s.Build.openTest(ctx, sc, from, access, pin.Launch)
	}
	return s.Build.open(ctx, sc, access, pin, from)
}

// openTest starts an instance of the candidate, as its users will: without the
// volumes and the user data of the build.
func (s Build) openTest(ctx context.Context, sc *builder.Scope, from builder.Opening, access amazon.Access, where launch.Resolved) (builder.Machine, error) {
	if from.Base == nil || from.Base.AMI == nil {
		return builder.Machine{}, errors.New("there is no AMI to start an instance from")
	}
	cfg, err := s.cloud.Config(ctx, access)
	if err != nil {
		return builder.Machine{}, err
	}
	found, err := Choice{ID: from.Base.AMI.ID, Deprecated: true}.find(ctx, cfg)
	if err != nil {
		return builder.Machine{}, s.cloud.Explain(ctx, access, err)
	}
	s.Machine.Volumes, s.Machine.UserData, s.Extra = nil, nil, nil
	user := from.Base.AMI.User
	if s.SSH.User != "" {
		user = s.SSH.User
	}
	return s.open(ctx, sc, access, pinned{Access: access.Where(), Image: baseOf(found, user), Launch: where}, from)
}

// opening is a machine that is being made.
type opening struct {
	Build
	sc     *builder.Scope
	from   builder.Opening
	cfg    aws.Config
	client *ec2.Client
	access amazon.Access
	pin    pinned
	work   workfiles
	facts  workfacts
	spec   launch.Spec
	extra  []builder.Resource
	group  entrance
	// started is the instance as RunInstances answered, if this process asked.
	started  types.Instance
	launched time.Time
	// ran is when the instance was first seen to run without the public address
	// that it is to have.
	ran time.Time
}

// open makes what an instance needs, all at once, and then the instance.
func (s Build) open(ctx context.Context, sc *builder.Scope, access amazon.Access, pin pinned, from builder.Opening) (builder.Machine, error) {
	cfg, err := s.cloud.Config(ctx, access)
	if err != nil {
		return builder.Machine{}, err
	}
	o := &opening{Build: s, sc: sc, from: from, cfg: cfg, client: ec2.NewFromConfig(cfg), access: access, pin: pin}
	if o.work, err = workfilesOf(sc); err != nil {
		return builder.Machine{}, err
	}
	if o.facts, err = o.work.facts(s.lifetime()); err != nil {
		return builder.Machine{}, err
	}
	m, err := o.run(ctx)
	return m, s.cloud.Explain(ctx, access, err)
}

func (o *opening) run(ctx context.Context) (builder.Machine, error) {
	if err := o.prepare(ctx); err != nil {
		return builder.Machine{}, err
	}
	// The group's rules are not needed before there is somebody to let in to.
	g, gctx := errgroup.WithContext(ctx)
	var instance types.Instance
	g.Go(func() error { return o.letIn(gctx) })
	g.Go(func() (err error) { instance, err = o.instance(gctx); return err })
	if err := g.Wait(); err != nil {
		return builder.Machine{}, err
	}
	if err := o.volumes(ctx, instance); err != nil {
		return builder.Machine{}, err
	}
	return o.machine(instance)
}

// prepare makes the key pair, the security group and the profile, which do not
// depend on each other, and says what the instance is started with.
func (o *opening) prepare(ctx context.Context) error {
	b, _ := o.sc.Plan.Build(o.sc.Step.Build())
	spec, err := o.Build.spec(o.sc.Plan, b, o.pin.Image)
	if err != nil {
		return err
	}
	spec.Tags = o.tags("")
	spec.Groups, spec.Ends = o.pin.Launch.Groups, true
	if spec.UserData, err = o.userData(); err != nil {
		return err
	}
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) { spec.KeyName, err = o.keyPair(gctx); return err })
	if len(spec.Groups) == 0 && !o.interfacesHaveGroups() {
		g.Go(func() (err error) {
			o.group, err = o.securityGroup(gctx)
			spec.Groups = []string{o.group.id}
			return err
		})
	}
	if p := o.profile(); p.Temporary() {
		g.Go(func() (err error) { spec.Profile, err = o.temporaryProfile(gctx, p); return err })
	}
	err = g.Wait()
	o.spec = spec
	return err
}

func (s *Build) interfacesHaveGroups() bool {
	return len(s.Machine.Interfaces) > 0 && (s.Machine.Interfaces[0].ID != "" || len(s.Machine.Interfaces[0].SecurityGroups) > 0)
}

// spec is what an instance of the build is started with, as far as it is known
// before anything is made.
func (s *Build) spec(p *builder.Plan, b builder.Build, from base) (launch.Spec, error) {
	want, err := image.Candidate(p, b.Name)
	if err != nil {
		return launch.Spec{}, err
	}
	encryption := launch.Encryption{Encrypt: want.Encrypt, KMSKey: want.KMSKey}
	devices, err := launch.Devices(from.image(), s.Machine.Volumes, encryption)
	if err != nil {
		return launch.Spec{}, err
	}
	// The template's tag is there also when it is only tried out: policies ask for it.
	tags := map[string]string{"Name": machineName(p, b.Name), amazon.TagTemplate: p.Name, amazon.TagBuild: b.Name}
	spec := launch.Spec{Machine: s.machine(), Image: from.ID, Devices: devices, Ends: true, Tags: tags}
	if profile := s.profile(); profile != nil {
		spec.Profile = profile.Name
	}
	if s.Machine.KeyPair != nil && s.Machine.KeyPair.PublicKey == "" {
		spec.KeyName = s.Machine.KeyPair.Name
	}
	return spec, nil
}

// machine is the template's; one that is reached at its IPv6 address has one.
func (s *Build) machine() launch.Machine {
	m := s.Machine
	if s.SSH.Address == "ipv6" && m.IPv6 == nil && len(m.Interfaces) == 0 {
		m.IPv6 = aws.Bool(true)
	}
	return m
}

func machineName(p *builder.Plan, build string) string {
	if build == p.Name || p.Name == "" {
		return "bake " + build
	}
	return "bake " + p.Name + " " + build
}

// tags are those of everything that the step makes.
func (o *opening) tags(token string) map[string]string {
	t := runTags(o.sc, token)
	t[amazon.TagExpires] = o.facts.Expires.Format(time.RFC3339)
	return t
}

// runTags say whose a resource is. "Name" is what consoles show.
func runTags(sc *builder.Scope, token string) map[string]string {
	t := map[string]string{
		"Name":          machineName(sc.Plan, sc.Step.Build()),
		amazon.TagRun:   string(sc.Run),
		amazon.TagBuild: sc.Step.Build(),
	}
	if sc.Plan.Name != "" {
		t[amazon.TagTemplate] = sc.Plan.Name
	}
	if token != "" {
		t[amazon.TagToken] = token
	}
	return t
}

// userData tells the machine its host key and when to end itself.
func (o *opening) userData() (string, error) {
	private, public, err := o.work.key(hostKey)
	if err != nil {
		return "", err
	}
	user, err := o.Machine.UserData.Read(o.sc.Dir)
	if err != nil {
		return "", err
	}
	data := user
	if u := o.Machine.UserData; u == nil || u.Merge {
		if data, err = launch.Merge(cloudConfig(private, public, o.lifetime()), user); err != nil {
			return "", err
		}
	}
	return launch.EncodeUserData(data)
}

// cloudConfig is bake's own user data. The timer makes a machine whose builder
// died end itself: it is terminated when it shuts down.
func cloudConfig(private []byte, public string, lifetime time.Duration) []byte {
	var b strings.Builder
	b.WriteString("#cloud-config\nssh_keys:\n  ed25519_private: |\n")
	for line := range strings.Lines(string(private)) {
		b.WriteString("    " + line)
	}
	fmt.Fprintf(&b, "  ed25519_public: %s bake\nruncmd:\n- %s\n", public, deadMan(lifetime))
	return []byte(b.String())
}

// deadMan is the command that sets the timer; it sets it anew each time.
func deadMan(lifetime time.Duration) string {
	return fmt.Sprintf("shutdown -P +%d", int(lifetime.Minutes()))
}

// instance starts the instance. One that AWS takes back while it starts, for
// want of room, is started again at the next place.
func (o *opening) instance(ctx context.Context) (types.Instance, error) {
	tries := o.pin.Launch.Tries
	for n, skip := 1, 0; ; n++ {
		name := "machine"
		if n > 1 {
			name = fmt.Sprintf("machine %d", n)
		}
		r, err := o.sc.Create(ctx, builder.Resource{Kind: kindInstance, Name: name, Where: o.access.Where()}, func(ctx context.Context, r builder.Resource) (string, error) {
			return o.start(ctx, r, skip)
		})
		if err != nil {
			return types.Instance{}, err
		}
		o.sc.Log("started instance %s", r.ID)
		i, err := o.await(ctx, r.ID)
		var died *launch.Died
		if !errors.As(err, &died) || !died.Elsewhere() {
			return i, err
		}
		if skip = o.facts.Tries[r.Token] + 1; skip >= len(tries) {
			return i, err
		}
		o.sc.Log("%v; trying elsewhere", died)
	}
}

// start is the creating call. Which try is under way is on disk before the
// call: the process that goes on after a crash repeats that one, with the same
// client token, and so never starts two.
func (o *opening) start(ctx context.Context, r builder.Resource, first int) (string, error) {
	spec := o.spec
	spec.Tags = o.tags(r.Token)
	if n, ok := o.facts.Tries[r.Token]; ok {
		first = n
	}
	s := launch.Starter{Client: o.client, Spec: spec, Tries: o.pin.Launch.Tries, First: first, Log: o.sc.Log, Settle: settling,
		Trying: func(n int, _ launch.Try) error {
			tries := maps.Clone(o.facts.Tries)
			if tries == nil {
				tries = map[string]int{}
			}
			tries[r.Token] = n
			o.facts.Tries = tries
			return o.work.save(o.facts)
		}}
	i, err := s.Start(ctx, r.Token)
	o.started, o.launched = i, time.Now()
	return aws.ToString(i.InstanceId), err
}

// await waits until the instance has the address that bake will use, or ends.
// It need not run yet: SSH is tried while it boots.
func (o *opening) await(ctx context.Context, id string) (types.Instance, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, o.timeout(), fmt.Errorf("instance %s has no address after %s", id, o.timeout()))
	defer cancel()
	if aws.ToString(o.started.InstanceId) == id && o.ready(o.started) {
		return o.started, nil // a private address is known from the beginning
	}
	var last string
	return o.cloud.FollowInstance(ctx, o.access, id, amazon.Wait{Name: "address"}, func(i types.Instance) (bool, error) {
		if err := launch.Alive(i); err != nil {
			return false, err
		}
		if state := string(i.State.Name); state != last {
			o.sc.Log("instance %s is %s", id, state)
			last = state
		}
		return o.ready(i), nil
	})
}

// ready reports whether bake can go on with an instance that lives.
func (o *opening) ready(i types.Instance) bool {
	return i.State != nil && o.address(i) != "" && (len(o.Extra) == 0 || i.State.Name == types.InstanceStateNameRunning)
}

// address is what bake connects to; empty if it is not there yet.
func (o *opening) address(i types.Instance) string {
	public, private := aws.ToString(i.PublicIpAddress), aws.ToString(i.PrivateIpAddress)
	switch o.SSH.Address {
	case "private":
		return private
	case "public":
		return public
	case "ipv6":
		return ipv6Of(i)
	case "public_dns":
		return aws.ToString(i.PublicDnsName)
	case "private_dns":
		return aws.ToString(i.PrivateDnsName)
	}
	if o.SSH.Via != "direct" && o.SSH.Via != "" {
		return private
	}
	if public != "" {
		return public
	}
	if o.expectsPublic(i) && !o.overdue(i) {
		return ""
	}
	return private
}

// publicLag is how long an instance may run before its public address is told.
const publicLag = 5 * time.Second

// overdue reports whether a public address that has not come will not come:
// it may come only with the running instance, and be told a moment later.
func (o *opening) overdue(i types.Instance) bool {
	if i.State.Name != types.InstanceStateNameRunning {
		return false
	}
	if o.ran.IsZero() {
		o.ran = time.Now()
	}
	return time.Since(o.ran) >= publicLag
}

func (o *opening) expectsPublic(i types.Instance) bool {
	if o.Machine.PublicIP != nil {
		return *o.Machine.PublicIP
	}
	if len(o.Machine.Interfaces) > 0 {
		return o.Machine.Interfaces[0].PublicIP != nil && *o.Machine.Interfaces[0].PublicIP
	}
	for _, t := range o.pin.Launch.Tries {
		if t.Subnet.ID == aws.ToString(i.SubnetId) {
			return t.Subnet.Public
		}
	}
	return false
}

func ipv6Of(i types.Instance) string {
	if i.Ipv6Address != nil {
		return *i.Ipv6Address
	}
	for _, n := range i.NetworkInterfaces {
		for _, a := range n.Ipv6Addresses {
			return aws.ToString(a.Ipv6Address)
		}
	}
	return ""
}

func (s *Build) timeout() time.Duration {
	if s.SSH.Timeout > 0 {
		return s.SSH.Timeout
	}
	return 10 * time.Minute
}

// machine is what later steps need, in this process or another.
func (o *opening) machine(i types.Instance) (builder.Machine, error) {
	m := builder.Machine{ID: aws.ToString(i.InstanceId), Where: o.access.Where(), Platform: o.pin.Image.platform(), Detail: map[string]string{
		detailAddress: o.address(i), detailUser: o.pin.Image.User, detailKeys: o.work.name(), detailBase: o.pin.Image.ID,
		detailType: string(i.InstanceType), "zone": zoneOf(i), detailRoot: o.pin.Image.RootDevice, detailVolumes: itoa(o.captured()),
	}}
	if !o.launched.IsZero() {
		m.Detail[detailStarted] = o.launched.UTC().Format(time.RFC3339Nano)
	}
	if i.InstanceLifecycle == types.InstanceLifecycleTypeSpot {
		m.Detail[detailSpot] = "yes"
	}
	var extra []string
	for n, r := range o.extra {
		extra = append(extra, o.Extra[n].Device+"="+r.ID+"/"+r.Token)
	}
	if len(extra) > 0 {
		m.Detail[detailExtra] = strings.Join(extra, " ")
	}
	return m, nil
}

// captured is how many volumes of the machine become part of its image.
func (o *opening) captured() int {
	has := map[string]bool{}
	for _, d := range o.pin.Image.Devices {
		has[d.Name] = true
	}
	for _, m := range o.spec.Devices {
		has[aws.ToString(m.DeviceName)] = m.Ebs != nil
	}
	n := 0
	for _, ebs := range has {
		if ebs {
			n++
		}
	}
	return n
}

func zoneOf(i types.Instance) string {
	if i.Placement == nil {
		return ""
	}
	return aws.ToString(i.Placement.AvailabilityZone)
}
