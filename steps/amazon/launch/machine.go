// Package launch says what an EC2 instance is, as templates write it in their
// `machine:` block, and starts one: on the first of the types and subnets that
// has room. The source `ami` and the output `instance` share it.
package launch

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"bake/templates"
)

// Machine is what an instance is to be. All of it may be left out.
type Machine struct {
	Type           templates.Strings `yaml:"type" bake:"main" doc:"Instance types, tried in this order; default: t3.small, or t4g.small for arm64."`
	Spot           *Spot             `yaml:"spot" doc:"Start it as a spot instance: true, or {max_price, fallback}."`
	VPC            *Selector         `yaml:"vpc" doc:"VPC whose subnets are used: its id, or {name, tags, filters}; default: the default VPC."`
	Subnet         Selectors         `yaml:"subnet" doc:"Subnets, tried in this order: ids, or {name, tags, filters}; default: those of the VPC."`
	Zone           templates.Strings `yaml:"zone" doc:"Availability zones, tried in this order; default: all of the region."`
	SecurityGroups Selectors         `yaml:"security_groups" doc:"Security groups: ids, or {name, tags, filters}; default: a temporary one that lets only this machine in."`
	PublicIP       *bool             `yaml:"public_ip" doc:"Give it a public IPv4 address; default: as the subnet says."`
	IPv6           *bool             `yaml:"ipv6" doc:"Give it an IPv6 address; default: as the subnet says."`
	PrivateIP      string            `yaml:"private_ip" doc:"Its private address in the subnet."`
	Interfaces     []Interface       `yaml:"network_interfaces" doc:"Network interfaces, the primary one first; default: one in the subnet."`
	Profile        *Profile          `yaml:"profile" doc:"Instance profile: its name or ARN, or {policy} for a temporary one."`
	UserData       *UserData         `yaml:"user_data" doc:"User data: the text, or {file}, or {template, vars}."`
	Metadata       Metadata          `yaml:"metadata" doc:"The metadata service of the instance."`
	Volumes        []Volume          `yaml:"volumes" doc:"Block devices of the instance, which become those of the AMI."`
	Placement      *Placement        `yaml:"placement" doc:"Where it runs: tenancy, placement group, dedicated host."`
	Reservation    *Reservation      `yaml:"capacity_reservation" doc:"Capacity reservation to use: its id, none, or {preference, id, group}."`
	Licenses       templates.Strings `yaml:"licenses" pattern:"^arn:" doc:"ARNs of license configurations."`
	CPUCredits     string            `yaml:"cpu_credits" enum:"standard|unlimited" doc:"Credits of burstable types; default: standard, which never costs extra."`
	Enclave        bool              `yaml:"enclave" doc:"Enable Nitro Enclaves."`
	EBSOptimized   *bool             `yaml:"ebs_optimized" doc:"Optimize for EBS; default: as the type has it."`
	Monitoring     bool              `yaml:"monitoring" doc:"Detailed monitoring."`
	Tags           map[string]string `yaml:"tags" doc:"Tags of the instance, its volumes and network interfaces."`
	KeyPair        *KeyPair          `yaml:"key_pair" doc:"Key pair to start it with: its name, or {name, public_key}; default: a temporary one."`
}

// Spot says that an instance may be a spot instance.
type Spot struct {
	Yes      bool   `yaml:"spot" bake:"main" default:"true" doc:"Whether to ask for spot capacity."`
	MaxPrice string `yaml:"max_price" pattern:"^[0-9]+(\\.[0-9]+)?$" doc:"The most to pay, in dollars an hour; default: the on-demand price."`
	Fallback bool   `yaml:"fallback" default:"true" doc:"Start it on demand when there is no spot capacity."`
}

// Metadata is the instance metadata service. Session tokens are required
// unless the template says otherwise.
type Metadata struct {
	Tokens   string `yaml:"tokens" enum:"required|optional" doc:"Whether requests need a session token (IMDSv2); default: required."`
	Endpoint *bool  `yaml:"endpoint" doc:"Whether the service answers; default: true."`
	HopLimit int    `yaml:"hop_limit" min:"1" max:"64" doc:"How many hops an answer may travel; default 1, containers need 2."`
	Tags     bool   `yaml:"tags" doc:"Show the instance's tags."`
	IPv6     bool   `yaml:"ipv6" doc:"Answer over IPv6 too."`
}

// Placement is where an instance runs.
type Placement struct {
	Tenancy   string `yaml:"tenancy" bake:"main" enum:"default|dedicated|host" doc:"Whose hardware it shares."`
	Group     string `yaml:"group" doc:"Placement group: name, or id (pg-...)."`
	Partition int    `yaml:"partition" min:"1" max:"7" doc:"Partition of the group."`
	Host      string `yaml:"host" pattern:"^h-[0-9a-f]+$" doc:"Dedicated host."`
	HostGroup string `yaml:"host_resource_group" pattern:"^arn:" doc:"ARN of a host resource group."`
	Affinity  string `yaml:"affinity" enum:"default|host" doc:"Whether it comes back to the same host after a stop."`
}

// Reservation is how capacity reservations are used.
type Reservation struct {
	ID         string `yaml:"id" bake:"main" pattern:"^(cr-[0-9a-f]+|none|open)$" doc:"The reservation, or none, or open for any that fits."`
	Preference string `yaml:"preference" enum:"none|open|capacity-reservations-only" doc:"Whether reservations are used at all."`
	Group      string `yaml:"group" pattern:"^arn:" doc:"ARN of a resource group of reservations."`
}

// KeyPair is the key pair an instance is started with.
type KeyPair struct {
	Name      string `yaml:"name" bake:"main,required" doc:"Name of the key pair in EC2."`
	PublicKey string `yaml:"public_key" doc:"Its public key (ssh-ed25519 AAAA..., or ssh-rsa); it is imported when it is missing, and replaced when it differs."`
}

// An Interface is one network interface.
type Interface struct {
	ID             string            `yaml:"id" bake:"main" pattern:"^eni-[0-9a-f]+$" doc:"An interface that exists; default: a new one."`
	Subnet         string            `yaml:"subnet" pattern:"^subnet-[0-9a-f]+$" doc:"Its subnet; default: that of the machine."`
	SecurityGroups templates.Strings `yaml:"security_groups" pattern:"^sg-[0-9a-f]+$" doc:"Its groups; default: those of the machine."`
	PrivateIP      string            `yaml:"private_ip" doc:"Its private address."`
	PublicIP       *bool             `yaml:"public_ip" doc:"Give it a public IPv4 address."`
	IPv6           int               `yaml:"ipv6" min:"0" max:"50" doc:"How many IPv6 addresses it gets."`
	Type           string            `yaml:"type" enum:"interface|efa|efa-only" doc:"Kind of the interface."`
	Card           int               `yaml:"card" min:"0" doc:"Network card it is on."`
	Description    string            `yaml:"description" doc:"Its description."`
}

// Validate checks what the tags cannot say.
func (m *Machine) Validate(b templates.Block) templates.Diagnostics {
	var ds templates.Diagnostics
	for i, t := range m.Type {
		if t != "" && !strings.Contains(t, ".") {
			d := element(b, "type", i).Errorf("%q is not an instance type", t)
			d.Hint = "types look like t3.small or m7g.xlarge"
			ds = append(ds, d)
		}
	}
	if len(m.Interfaces) > 0 {
		for key, given := range map[string]bool{"public_ip": m.PublicIP != nil, "ipv6": m.IPv6 != nil, "private_ip": m.PrivateIP != ""} {
			if given {
				ds = append(ds, b.Key(key).Errorf("%s is the interfaces' own where there are network_interfaces", key))
			}
		}
	}
	if m.Metadata.Endpoint != nil && !*m.Metadata.Endpoint && m.Metadata.Tags {
		ds = append(ds, b.At("metadata", "tags").Errorf("tags are not shown where the metadata service does not answer"))
	}
	if len(m.Subnet) > 0 && m.VPC != nil && m.Subnet[0].ID != "" {
		ds = append(ds, b.Key("vpc").Errorf("the subnet says which VPC it is"))
	}
	ds = append(ds, checkTags(b.At("tags"), m.Tags)...)
	return append(ds, checkDevices(b.At("volumes"), m.Volumes)...)
}

func element(b templates.Block, key string, i int) templates.Block {
	if b.At(key).IsList() {
		return b.At(key, fmt.Sprint(i))
	}
	return b.At(key)
}

// Limits of tags (EC2 user guide, "Tag restrictions"). bake adds up to ten.
const (
	mostTags      = 40
	longestKey    = 128
	longestValue  = 256
	ownTagsPrefix = "bake:"
)

func checkTags(b templates.Block, tags map[string]string) templates.Diagnostics {
	var ds templates.Diagnostics
	if len(tags) > mostTags {
		ds = append(ds, b.Errorf("%d tags are more than the %d there is room for", len(tags), mostTags))
	}
	for _, k := range slices.Sorted(maps.Keys(tags)) {
		switch {
		case strings.HasPrefix(strings.ToLower(k), "aws:"), strings.HasPrefix(k, ownTagsPrefix):
			ds = append(ds, b.Key(k).Errorf("tag %q: the prefix is reserved", k))
		case len([]rune(k)) > longestKey:
			ds = append(ds, b.Key(k).Errorf("the key of a tag is longer than %d characters", longestKey))
		case len([]rune(tags[k])) > longestValue:
			ds = append(ds, b.At(k).Errorf("the value of tag %q is longer than %d characters", k, longestValue))
		}
	}
	return ds
}

// Profile is an instance profile: one that exists, or a temporary one.
type Profile struct {
	Name     string            `yaml:"name" bake:"main" doc:"Name or ARN of an instance profile that exists."`
	Policy   any               `yaml:"policy" doc:"Policy document of a temporary role: a mapping, or a JSON file."`
	Policies templates.Strings `yaml:"policies" pattern:"^arn:" doc:"ARNs of managed policies of the temporary role."`
	Boundary string            `yaml:"permissions_boundary" pattern:"^arn:" doc:"ARN of the temporary role's permissions boundary."`
}

// Temporary reports whether the profile is to be made.
func (p *Profile) Temporary() bool { return p != nil && p.Name == "" }

// Validate wants one or the other.
func (p *Profile) Validate(b templates.Block) templates.Diagnostics {
	if b.Unresolved() {
		return nil
	}
	own := p.Policy != nil || len(p.Policies) > 0
	switch {
	case p.Name == "" && !own:
		return templates.Diagnostics{b.Errorf("want the name of an instance profile, or a policy for a temporary one")}
	case p.Name != "" && own:
		return templates.Diagnostics{b.Errorf("a profile that exists has its own policies: name or policy, not both")}
	}
	return nil
}

// A Selector names resources of the account: by id, or by what they have.
type Selector struct {
	ID      string                       `json:"id,omitempty" yaml:"id" bake:"main" doc:"Its id."`
	Name    string                       `json:"name,omitempty" yaml:"name" doc:"Its tag Name; of security groups: their name."`
	Tags    map[string]string            `json:"tags,omitempty" yaml:"tags" doc:"Tags it has."`
	Filters map[string]templates.Strings `json:"filters,omitempty" yaml:"filters" doc:"Filters of the Describe call: name to values."`
}

// String is the selector as a person would write it.
func (s Selector) String() string {
	if s.ID != "" {
		return s.ID
	}
	data, _ := json.Marshal(s) // strings only
	return string(data)
}

// Validate wants something to go by.
func (s *Selector) Validate(b templates.Block) templates.Diagnostics {
	if b.Unresolved() {
		return nil
	}
	by := s.Name != "" || len(s.Tags) > 0 || len(s.Filters) > 0
	switch {
	case s.ID == "" && !by:
		return templates.Diagnostics{b.Errorf("want an id, a name, tags or filters")}
	case s.ID != "" && by:
		return templates.Diagnostics{b.Errorf("an id says it all: leave name, tags and filters out")}
	}
	return nil
}

// Selectors are one selector or several.
type Selectors []Selector

// UnmarshalBlock reads an id, a mapping, or a list of them.
func (s *Selectors) UnmarshalBlock(b templates.Block) templates.Diagnostics {
	n := 1
	if b.IsList() {
		n = b.Len()
	}
	*s = make(Selectors, n)
	var ds templates.Diagnostics
	for i := range *s {
		one := b
		if b.IsList() {
			one = b.At(fmt.Sprint(i))
		}
		ds = append(ds, templates.Decode(one, &(*s)[i])...)
	}
	return ds
}

// JSONSchema says so to editors.
func (*Selectors) JSONSchema() map[string]any {
	texts := map[string]any{"anyOf": []any{map[string]any{"type": "string"}, map[string]any{"type": "array", "items": map[string]any{"type": "string"}}}}
	one := []any{
		map[string]any{"type": "string"},
		map[string]any{"type": "object", "additionalProperties": false, "properties": map[string]any{
			"id": map[string]any{"type": "string"}, "name": map[string]any{"type": "string"},
			"tags":    map[string]any{"type": "object", "additionalProperties": map[string]any{"type": "string"}},
			"filters": map[string]any{"type": "object", "additionalProperties": texts},
		}},
	}
	return map[string]any{"anyOf": append(slices.Clone(one), map[string]any{"type": "array", "items": map[string]any{"anyOf": one}})}
}

// DefaultLifetime is how long an instance of a build may run before it ends itself.
const DefaultLifetime = 4 * time.Hour
