package authorize

import (
	"slices"
	"strings"

	"bake/internal/sandbox/api"
)

// keyNeeds is what EBS does with KMS keys for the caller: those that a call
// names, and those that what it names is encrypted with.
func (g *Guard) keyNeeds(c *api.Call, r *api.Request) []need {
	if g.Key == nil || strings.HasPrefix(c.Action, "Modify") {
		return nil
	}
	var all []need
	named := g.keysNamed(c, r)
	for _, arn := range named {
		all = append(all, g.usingKey(arn, "kms:CreateGrant", "kms:GenerateDataKeyWithoutPlaintext", "kms:DescribeKey")...)
	}
	for _, arn := range g.keysOfSources(c, r) {
		switch {
		case c.Action == "AttachVolume":
			all = append(all, g.usingKey(arn, "kms:CreateGrant")...)
		case strings.HasPrefix(c.Action, "Copy"), len(named) > 0 && !slices.Contains(named, arn): // another key
			all = append(all, g.usingKey(arn, "kms:ReEncryptFrom")...)
			for _, to := range named {
				all = append(all, g.usingKey(to, "kms:ReEncryptTo")...)
			}
		default:
			all = append(all, g.usingKey(arn, "kms:Decrypt", "kms:CreateGrant")...)
		}
	}
	slices.SortFunc(all, func(a, b need) int { return strings.Compare(a.action+a.resource, b.action+b.resource) })
	return slices.CompactFunc(all, func(a, b need) bool { return a.action == b.action && a.resource == b.resource })
}

// usingKey is the use of a key by EBS, in the key's region.
func (g *Guard) usingKey(arn string, actions ...string) []need {
	var all []need
	for _, action := range actions {
		context := g.keyContext(arn)
		context["kms:viaservice"] = []string{"ec2." + strings.SplitN(arn, ":", 6)[3] + ".amazonaws.com"}
		if action == "kms:CreateGrant" {
			context["kms:grantisforawsresource"] = []string{"true"}
		}
		all = append(all, need{action: action, resource: arn, context: context})
	}
	return all
}

// keysNamed are the ARNs of the keys that a call names.
func (g *Guard) keysNamed(c *api.Call, r *api.Request) []string {
	var all []string
	for name, values := range r.Form {
		if name != "KmsKeyId" && !strings.HasSuffix(name, ".KmsKeyId") {
			continue
		}
		// EC2 refuses itself a key that there is not.
		if arn, err := g.Key(c.Account, c.Region, values[0]); err == nil && !slices.Contains(all, arn) {
			all = append(all, arn)
		}
	}
	return all
}

// keysOfSources are the ARNs of the keys that what a call makes something of,
// or attaches, is encrypted with.
func (g *Guard) keysOfSources(c *api.Call, r *api.Request) []string {
	if g.Sealed == nil {
		return nil
	}
	region := c.Region
	if from := r.Form.Get("SourceRegion"); from != "" {
		region = from
	}
	var all []string
	for name, values := range r.Form {
		switch {
		case c.Action == "RunInstances" && (name == "ImageId" || strings.HasSuffix(name, ".Ebs.SnapshotId")),
			c.Action == "CreateVolume" && name == "SnapshotId",
			c.Action == "AttachVolume" && name == "VolumeId",
			c.Action == "CopyImage" && name == "SourceImageId", c.Action == "CopySnapshot" && name == "SourceSnapshotId":
			all = append(all, g.Sealed(region, values[0])...)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}
