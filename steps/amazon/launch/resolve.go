package launch

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"golang.org/x/sync/errgroup"

	"bake/steps/amazon"
	"bake/templates"
)

// Resolved is what a Machine's names mean in one region: plain data.
type Resolved struct {
	Tries  []Try    `json:"tries"`            // where it may be started, in this order
	VPC    string   `json:"vpc"`              // of all tries
	Groups []string `json:"groups,omitempty"` // security groups that exist; none: a temporary one
}

// A Try is one way to start an instance.
type Try struct {
	Type   string `json:"type"`
	Subnet Subnet `json:"subnet"`
	Spot   bool   `json:"spot,omitempty"`
}

func (t Try) String() string {
	market := "on demand"
	if t.Spot {
		market = "spot"
	}
	return fmt.Sprintf("%s in %s (%s, %s)", t.Type, t.Subnet.Zone, t.Subnet.ID, market)
}

// DefaultType is the type of an instance whose template names none: a small
// burstable one of the image's architecture.
func DefaultType(arch types.ArchitectureValues) string {
	if arch == types.ArchitectureValuesArm64 || arch == types.ArchitectureValuesArm64Mac {
		return "t4g.small"
	}
	return "t3.small"
}

// Types are the instance types to try for an image.
func (m Machine) Types(arch types.ArchitectureValues) []string {
	if len(m.Type) > 0 {
		return m.Type
	}
	return []string{DefaultType(arch)}
}

// Resolve finds out what the machine's names mean, for an image of an
// architecture; it only reads. It fails if a type does not exist or does not
// fit the architecture, or if there is nowhere to start the machine.
func (m Machine) Resolve(ctx context.Context, cfg aws.Config, arch types.ArchitectureValues) (Resolved, error) {
	client, kinds := ec2.NewFromConfig(cfg), m.Types(arch)
	var r Resolved
	var subnets []Subnet
	var offered offerings
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) { subnets, err = m.subnets(ctx, client, cfg.Region); return err })
	g.Go(func() (err error) { r.Groups, err = m.groups(ctx, client, cfg.Region); return err })
	// A type that the template names may be wrong. bake's own fits the image and
	// is there; a zone without it falls to the next, as one without room does.
	if len(m.Type) > 0 {
		g.Go(func() error { return checkTypes(ctx, client, kinds, arch, cfg.Region) })
		g.Go(func() (err error) { offered, err = zonesOf(ctx, client, kinds); return err })
	}
	if err := g.Wait(); err != nil {
		return r, err
	}
	r.VPC = subnets[0].VPC
	r.Tries = m.tries(kinds, subnets, offered)
	if len(r.Tries) == 0 {
		return r, &NotFoundError{Kind: "zone", Wanted: fmt.Sprintf("with %s among %s", strings.Join(kinds, ", "), zones(subnets)), Region: cfg.Region,
			Cure: "name another type in machine: type:, or subnets in other zones"}
	}
	return r, nil
}

// tries pairs types and subnets: a type in all its zones before the next type,
// all spot before any on demand.
func (m Machine) tries(kinds []string, subnets []Subnet, offered offerings) []Try {
	var all []Try
	markets := []bool{false}
	if m.Spot != nil && m.Spot.Yes {
		markets = []bool{true}
		if m.Spot.Fallback {
			markets = append(markets, false)
		}
	}
	for _, spot := range markets {
		for _, kind := range kinds {
			for _, s := range subnets {
				if offered == nil || slices.Contains(offered[kind], s.Zone) {
					all = append(all, Try{Type: kind, Subnet: s, Spot: spot})
				}
			}
		}
	}
	return all
}

func zones(subnets []Subnet) string {
	var names []string
	for _, s := range subnets {
		if !slices.Contains(names, s.Zone) {
			names = append(names, s.Zone)
		}
	}
	return strings.Join(names, ", ")
}

// TypeError is an instance type that cannot start the image.
type TypeError struct {
	Type, Region string
	Arch         types.ArchitectureValues
	Has          []types.ArchitectureType // nil: there is no such type
}

func (e *TypeError) Error() string {
	if e.Has == nil {
		return fmt.Sprintf("there is no instance type %s in %s", e.Type, e.Region)
	}
	return fmt.Sprintf("instance type %s runs %v, the image is for %s", e.Type, e.Has, e.Arch)
}

// Hint says what to do.
func (e *TypeError) Hint() string {
	if e.Has == nil {
		if near := nearestType(e.Type); near != "" && near != e.Type {
			return "did you mean " + near + "?"
		}
	}
	return "name a type that fits in machine: type:, like " + DefaultType(e.Arch)
}

// nearestType is the type of AWS's that a mistyped one is most like, or "".
func nearestType(kind string) string {
	var known []string
	for _, t := range types.InstanceType("").Values() {
		known = append(known, string(t))
	}
	return templates.Nearest(kind, known)
}

// checkTypes holds the types against the image's architecture. A caller who
// may not describe types goes on: RunInstances will tell.
func checkTypes(ctx context.Context, client *ec2.Client, kinds []string, arch types.ArchitectureValues, region string) error {
	out, err := client.DescribeInstanceTypes(ctx, &ec2.DescribeInstanceTypesInput{Filters: []types.Filter{amazon.Filter("instance-type", kinds...)}})
	switch {
	case mayNot(err):
		return nil
	case err != nil:
		return fmt.Errorf("looking for instance types: %w", err)
	}
	known := map[string]types.InstanceTypeInfo{}
	for _, t := range out.InstanceTypes {
		known[string(t.InstanceType)] = t
	}
	for _, kind := range kinds {
		t, ok := known[kind]
		if !ok {
			return &TypeError{Type: kind, Region: region, Arch: arch}
		}
		if p := t.ProcessorInfo; p != nil && arch != "" && !slices.Contains(p.SupportedArchitectures, types.ArchitectureType(arch)) {
			return &TypeError{Type: kind, Region: region, Arch: arch, Has: p.SupportedArchitectures}
		}
	}
	return nil
}

// offerings are the zones that have a type; nil: not known.
type offerings map[string][]string

func zonesOf(ctx context.Context, client *ec2.Client, kinds []string) (offerings, error) {
	found := offerings{}
	pages := ec2.NewDescribeInstanceTypeOfferingsPaginator(client, &ec2.DescribeInstanceTypeOfferingsInput{
		LocationType: types.LocationTypeAvailabilityZone, Filters: []types.Filter{amazon.Filter("instance-type", kinds...)}})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		switch {
		case mayNot(err):
			return nil, nil
		case err != nil:
			return nil, fmt.Errorf("looking for zones with the instance types: %w", err)
		}
		for _, o := range page.InstanceTypeOfferings {
			found[string(o.InstanceType)] = append(found[string(o.InstanceType)], aws.ToString(o.Location))
		}
	}
	return found, nil
}

func mayNot(err error) bool {
	return amazon.IsCode(err, "UnauthorizedOperation", "AccessDenied", "AccessDeniedException")
}

// filter is a selector's filters with one name.
func filter(name, value string) map[string]templates.Strings {
	return map[string]templates.Strings{name: {value}}
}
