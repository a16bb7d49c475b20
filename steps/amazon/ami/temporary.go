package ami

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	iamtypes "github.com/aws/aws-sdk-go-v2/service/iam/types"

	"bake/builder"
	"bake/steps/amazon"
	"bake/steps/amazon/keypair"
	"bake/steps/amazon/launch"
)

// nameOf is the unique name of something temporary.
func nameOf(token string) string { return "bake-" + token[:20] }

// keyPair returns the name of the key pair to start the instance with: the
// template's, or one with bake's own key, whose private part never leaves this
// machine; none if the key is sent before each login.
func (o *opening) keyPair(ctx context.Context) (string, error) {
	if o.SSH.PushKey {
		_, _, err := o.work.key(loginKey)
		return "", err
	}
	if k := o.Machine.KeyPair; k != nil {
		if k.PublicKey == "" {
			return k.Name, nil
		}
		key, err := keypair.Parse([]byte(k.PublicKey))
		if err != nil {
			return "", err
		}
		_, err = keypair.Ensure(ctx, o.client, k.Name, key, nil)
		return k.Name, err
	}
	_, public, err := o.work.key(loginKey)
	if err != nil {
		return "", err
	}
	r, err := o.sc.Create(ctx, builder.Resource{Kind: kindKeyPair, Name: "login", Where: o.access.Where()}, func(ctx context.Context, r builder.Resource) (string, error) {
		name := nameOf(r.Token)
		_, err := o.client.ImportKeyPair(ctx, &ec2.ImportKeyPairInput{KeyName: aws.String(name), PublicKeyMaterial: []byte(public + " bake"),
			TagSpecifications: launch.TagSpecifications(o.tags(r.Token), types.ResourceTypeKeyPair)})
		// The name is this token's alone: a pair that has it is ours, of a call
		// whose answer was lost.
		if err != nil && !amazon.IsCode(err, "InvalidKeyPair.Duplicate") {
			return "", err
		}
		return name, nil
	})
	return r.ID, err
}

// An entrance is a temporary security group, and who it is to let in.
type entrance struct {
	id   string
	from []netip.Prefix
}

// securityGroup makes a group that is to let in the caller and nobody else; over
// Session Manager it lets nobody in at all.
func (o *opening) securityGroup(ctx context.Context) (entrance, error) {
	from, err := o.callers(ctx)
	if err != nil {
		return entrance{}, err
	}
	r, err := o.sc.Create(ctx, builder.Resource{Kind: kindGroup, Name: "access", Where: o.access.Where()}, func(ctx context.Context, r builder.Resource) (string, error) {
		out, err := o.client.CreateSecurityGroup(ctx, &ec2.CreateSecurityGroupInput{
			GroupName: aws.String(nameOf(r.Token)), VpcId: aws.String(o.pin.Launch.VPC),
			Description:       aws.String("Temporary, of bake run " + string(o.sc.Run)),
			TagSpecifications: launch.TagSpecifications(o.tags(r.Token), types.ResourceTypeSecurityGroup),
		})
		if amazon.IsCode(err, "InvalidGroup.Duplicate") { // ours: the answer was lost
			return groupNamed(ctx, o.client, o.pin.Launch.VPC, nameOf(r.Token), err)
		}
		if err != nil {
			return "", err
		}
		return aws.ToString(out.GroupId), nil
	})
	return entrance{r.ID, from}, err
}

func groupNamed(ctx context.Context, client *ec2.Client, vpc, name string, cause error) (string, error) {
	out, err := client.DescribeSecurityGroups(ctx, &ec2.DescribeSecurityGroupsInput{Filters: []types.Filter{amazon.Filter("group-name", name), amazon.Filter("vpc-id", vpc)}})
	if err != nil {
		return "", err
	}
	if len(out.SecurityGroups) == 0 {
		return "", cause
	}
	return aws.ToString(out.SecurityGroups[0].GroupId), nil
}

// letIn adds the rules of the temporary group, if there is one. It may not be
// known yet.
func (o *opening) letIn(ctx context.Context) error {
	id, from := o.group.id, o.group.from
	if len(from) == 0 {
		return nil
	}
	port := int32(o.port())
	rule := types.IpPermission{IpProtocol: aws.String("tcp"), FromPort: &port, ToPort: &port}
	for _, p := range from {
		cidr, what := aws.String(p.String()), aws.String("bake")
		if p.Addr().Is4() {
			rule.IpRanges = append(rule.IpRanges, types.IpRange{CidrIp: cidr, Description: what})
		} else {
			rule.Ipv6Ranges = append(rule.Ipv6Ranges, types.Ipv6Range{CidrIpv6: cidr, Description: what})
		}
	}
	err := settle(ctx, func() error {
		_, err := o.client.AuthorizeSecurityGroupIngress(ctx, &ec2.AuthorizeSecurityGroupIngressInput{GroupId: &id, IpPermissions: []types.IpPermission{rule}})
		return err
	}, "InvalidGroup.NotFound", "InvalidGroupId.NotFound")
	if amazon.IsCode(err, "InvalidPermission.Duplicate") {
		return nil // an earlier attempt added it
	}
	if err != nil {
		return fmt.Errorf("letting %v into security group %s: %w", from, id, err)
	}
	return nil
}

func (s *Build) port() int {
	if s.SSH.Port > 0 {
		return s.SSH.Port
	}
	return 22
}

// settling is how long AWS may not know what it has just made.
const settling = 2 * time.Minute

// settle repeats a call while AWS answers with one of codes: it is eventually
// consistent, and what was just made may not be known everywhere.
func settle(ctx context.Context, call func() error, codes ...string) error {
	began, wait := time.Now(), 200*time.Millisecond
	for {
		err := call()
		if err == nil || !amazon.IsCode(err, codes...) || time.Since(began) > settling {
			return err
		}
		if err := pause(ctx, wait); err != nil {
			return err
		}
		wait = min(2*wait, 5*time.Second)
	}
}

// callers are the networks that the temporary group lets in.
func (o *opening) callers(ctx context.Context) ([]netip.Prefix, error) {
	var all []netip.Prefix
	switch {
	case o.SSH.Via == viaSession:
		return nil, nil
	case len(o.SSH.From) > 0:
		for _, text := range o.SSH.From {
			p, err := netip.ParsePrefix(text)
			if err != nil {
				return nil, err
			}
			all = append(all, p.Masked())
		}
		return all, nil
	case o.SSH.Via == viaEndpoint:
		return []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("172.16.0.0/12"), netip.MustParsePrefix("192.168.0.0/16")}, nil
	}
	endpoint, err := o.cloud.Endpoint(ctx, o.access)
	if err != nil {
		return nil, err
	}
	find := callerAddress
	if o.SSH.Address == "ipv6" {
		find = callerAddress6
	}
	addr, err := find(ctx, endpoint)
	if err != nil {
		return nil, err
	}
	return []netip.Prefix{netip.PrefixFrom(addr, addr.BitLen())}, nil
}

// AddressError says that this machine's address could not be found out.
type AddressError struct{ Err error }

func (e *AddressError) Error() string {
	return "finding out from which address this machine reaches AWS: " + e.Err.Error()
}

// Unwrap returns why.
func (e *AddressError) Unwrap() error { return e.Err }

// Hint says what to do.
func (e *AddressError) Hint() string {
	return "write ssh: {from: 203.0.113.7/32}, the network that the machine is reached from; or name a security group in machine: security_groups:"
}

// AWS's services that answer with the caller's address: the one that everybody
// knows has IPv4 alone.
const (
	checkIP  = "https://checkip.amazonaws.com"
	checkIP6 = "https://checkip.global.api.aws"
)

// callerAddress is the address that AWS sees calls from. endpoint is where AWS
// is, if not at AWS: the address towards it counts then.
func callerAddress(ctx context.Context, endpoint string) (netip.Addr, error) {
	if endpoint != "" {
		return addressTowards(endpoint)
	}
	return askAddress(ctx, http.DefaultClient, checkIP)
}

// callerAddress6 is the address that machines see this one come from over IPv6.
func callerAddress6(ctx context.Context, endpoint string) (netip.Addr, error) {
	if endpoint == "" {
		over6 := http.DefaultTransport.(*http.Transport).Clone()
		over6.DialContext = func(ctx context.Context, _, address string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp6", address)
		}
		defer over6.CloseIdleConnections()
		return askAddress(ctx, &http.Client{Transport: over6}, checkIP6)
	}
	addr, err := addressTowards(endpoint)
	switch {
	case err != nil:
		return addr, err
	case addr.IsLoopback():
		return netip.IPv6Loopback(), nil
	case addr.Is4():
		return addr, &AddressError{fmt.Errorf("%s is reached over IPv4, the machine over IPv6", endpoint)}
	}
	return addr, nil
}

// askAddress asks a service for the address that it sees this machine come from.
func askAddress(ctx context.Context, client *http.Client, service string) (netip.Addr, error) {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, service, nil)
	if err != nil {
		return netip.Addr{}, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return netip.Addr{}, &AddressError{err}
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 100))
	if err == nil && resp.StatusCode != http.StatusOK {
		err = errors.New(service + " answers " + resp.Status)
	}
	if err != nil {
		return netip.Addr{}, &AddressError{err}
	}
	addr, err := netip.ParseAddr(strings.TrimSpace(string(text)))
	if err != nil {
		return netip.Addr{}, &AddressError{err}
	}
	return addr, nil
}

// addressTowards is this machine's address on the way to an endpoint. No
// packet is sent.
func addressTowards(endpoint string) (netip.Addr, error) {
	u, err := url.Parse(endpoint)
	if err != nil {
		return netip.Addr{}, &AddressError{err}
	}
	port := u.Port()
	if port == "" {
		port = "80"
	}
	conn, err := net.Dial("udp", net.JoinHostPort(u.Hostname(), port))
	if err != nil {
		return netip.Addr{}, &AddressError{err}
	}
	defer conn.Close()
	return conn.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap(), nil
}

// profile is the template's, or the one that Session Manager needs.
func (s *Build) profile() *launch.Profile {
	if s.Machine.Profile == nil && s.SSH.Via == viaSession {
		return &launch.Profile{Policies: []string{managedInstance}}
	}
	return s.Machine.Profile
}

// managedInstance is the policy of instances that Session Manager reaches.
const managedInstance = "arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore"

// partition makes an ARN of AWS's own one of the region's partition.
func partition(region, arn string) string {
	switch {
	case strings.HasPrefix(region, "cn-"):
		return strings.Replace(arn, "arn:aws:", "arn:aws-cn:", 1)
	case strings.HasPrefix(region, "us-gov-"):
		return strings.Replace(arn, "arn:aws:", "arn:aws-us-gov:", 1)
	}
	return arn
}

const trustEC2 = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"%s"},"Action":"sts:AssumeRole"}]}`

// temporaryProfile makes a role and its instance profile, of one name. What an
// earlier attempt made of them is used.
func (o *opening) temporaryProfile(ctx context.Context, p *launch.Profile) (string, error) {
	policy, err := policyText(o.sc.Dir, p.Policy)
	if err != nil {
		return "", err
	}
	client := iam.NewFromConfig(o.cfg)
	for i, arn := range p.Policies {
		p.Policies[i] = partition(o.cfg.Region, arn)
	}
	whole := false
	make := func(ctx context.Context, r builder.Resource) (string, error) {
		whole = true
		return makeProfile(ctx, client, nameOf(r.Token), policy, p, o.tags(r.Token), servicePrincipal(o.cfg.Region))
	}
	r, err := o.sc.Create(ctx, builder.Resource{Kind: kindProfile, Name: "profile", Where: o.access.Where()}, make)
	if err == nil && !whole { // an earlier attempt may have made only a part of it
		_, err = make(ctx, r)
	}
	return r.ID, err
}

// profilePath marks what is bake's, for who looks for leftovers.
const profilePath = "/bake/"

func makeProfile(ctx context.Context, client *iam.Client, name, policy string, p *launch.Profile, tags map[string]string, principal string) (string, error) {
	var list []iamtypes.Tag
	for _, t := range launch.Tags(tags) {
		list = append(list, iamtypes.Tag{Key: t.Key, Value: t.Value})
	}
	there := func(err error) bool { return err == nil || amazon.IsCode(err, "EntityAlreadyExists") }
	in := &iam.CreateRoleInput{RoleName: &name, Path: aws.String(profilePath), Tags: list,
		Description: aws.String("Temporary, of a bake run"), AssumeRolePolicyDocument: aws.String(fmt.Sprintf(trustEC2, principal))}
	if p.Boundary != "" {
		in.PermissionsBoundary = &p.Boundary
	}
	if _, err := client.CreateRole(ctx, in); !there(err) {
		return "", err
	}
	// IAM is eventually consistent: it may not know yet what it has just made.
	known := func(call func() error) error { return settle(ctx, call, "NoSuchEntity") }
	if policy != "" {
		err := known(func() error {
			_, err := client.PutRolePolicy(ctx, &iam.PutRolePolicyInput{RoleName: &name, PolicyName: aws.String("bake"), PolicyDocument: &policy})
			return err
		})
		if err != nil {
			return "", err
		}
	}
	for _, arn := range p.Policies {
		err := known(func() error {
			_, err := client.AttachRolePolicy(ctx, &iam.AttachRolePolicyInput{RoleName: &name, PolicyArn: &arn})
			return err
		})
		if err != nil {
			return "", err
		}
	}
	if _, err := client.CreateInstanceProfile(ctx, &iam.CreateInstanceProfileInput{InstanceProfileName: &name, Path: aws.String(profilePath), Tags: list}); !there(err) {
		return "", err
	}
	err := known(func() error {
		_, err := client.AddRoleToInstanceProfile(ctx, &iam.AddRoleToInstanceProfileInput{InstanceProfileName: &name, RoleName: &name})
		return err
	})
	if err != nil && !amazon.IsCode(err, "LimitExceeded") { // a profile has one role: it has it already
		return "", err
	}
	return name, nil
}

func servicePrincipal(region string) string {
	if strings.HasPrefix(region, "cn-") {
		return "ec2.amazonaws.com.cn"
	}
	return "ec2.amazonaws.com"
}

// policyText is a policy document as JSON: the template's mapping, its text,
// or the content of a file.
func policyText(dir string, policy any) (string, error) {
	switch p := policy.(type) {
	case nil:
		return "", nil
	case string:
		if strings.HasPrefix(strings.TrimSpace(p), "{") {
			return p, nil
		}
		if !filepath.IsAbs(p) {
			p = filepath.Join(dir, p)
		}
		text, err := os.ReadFile(p)
		if err == nil && !json.Valid(text) {
			err = fmt.Errorf("%s is not JSON", p)
		}
		if err != nil {
			return "", fmt.Errorf("reading the policy of the instance profile: %w", err)
		}
		return string(text), nil
	}
	text, err := json.Marshal(policy)
	return string(text), err
}
