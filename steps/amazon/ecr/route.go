package ecr

import (
	"context"
	"net"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ecr"

	"bake/internal/registry"
	"bake/steps/amazon"
)

// Route finds the registry that stands in for one of ECR's where AWS is not
// itself (amazon.Options.Endpoint, AWS_ENDPOINT_URL): its token tells where it
// listens. Other registries are where their names say. It is a
// registry.Config's Route.
func (t *Tokens) Route(ctx context.Context, ref registry.Reference) (registry.Reference, error) {
	h, ok := ParseHost(ref.Host())
	access := amazon.Access{Region: h.Region}
	if !ok || h.Public || !t.elsewhere(ctx, access) {
		return ref, nil
	}
	host, err := t.endpoint(ctx, access, h.Account)
	if err != nil {
		return ref, t.cloud.Explain(ctx, access, err)
	}
	return ref.On(host)
}

// elsewhere reports whether AWS is not itself.
func (t *Tokens) elsewhere(ctx context.Context, access amazon.Access) bool {
	cfg, err := t.cloud.Config(ctx, access)
	return err == nil && cfg.BaseEndpoint != nil
}

// endpoint asks where the registry of an account is, and remembers whose it is.
func (t *Tokens) endpoint(ctx context.Context, access amazon.Access, account string) (string, error) {
	cfg, err := t.cloud.Config(ctx, access)
	if err != nil {
		return "", err
	}
	in := &ecr.GetAuthorizationTokenInput{}
	if account != "" {
		//lint:ignore SA1019 it chooses the endpoint in the answer, if no longer the token's rights
		in.RegistryIds = []string{account}
	}
	out, err := ecr.NewFromConfig(cfg).GetAuthorizationToken(ctx, in)
	if err != nil || len(out.AuthorizationData) == 0 {
		return "", err
	}
	_, host, _ := strings.Cut(aws.ToString(out.AuthorizationData[0].ProxyEndpoint), "://")
	t.stand(host, place{access: access, account: account})
	return host, nil
}

func (t *Tokens) stand(host string, p place) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stands[host] = p
}

func (t *Tokens) standing(host string) (place, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p, ok := t.stands[host]
	return p, ok
}

// whose finds out which region's registry listens on a host of this machine
// where AWS is not itself, for an address that an earlier run has printed.
func (t *Tokens) whose(ctx context.Context, access amazon.Access, host string) (place, bool) {
	if p, ok := t.standing(host); ok {
		return p, true
	}
	if !onThisMachine(host) || !t.elsewhere(ctx, access) {
		return place{}, false
	}
	for _, region := range t.regions(ctx, access) {
		at, err := t.endpoint(ctx, access.In(region), "")
		if err != nil {
			return place{}, false
		}
		if at == host {
			return t.standing(host)
		}
	}
	return place{}, false
}

// regions lists those there are, the access's own first (DescribeRegions).
func (t *Tokens) regions(ctx context.Context, access amazon.Access) []string {
	cfg, err := t.cloud.Config(ctx, access)
	if err != nil {
		return nil
	}
	all := []string{cfg.Region}
	out, err := ec2.NewFromConfig(cfg).DescribeRegions(ctx, &ec2.DescribeRegionsInput{})
	if err != nil {
		return all
	}
	for _, r := range out.Regions {
		if name := aws.ToString(r.RegionName); name != cfg.Region {
			all = append(all, name)
		}
	}
	return all
}

func onThisMachine(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
