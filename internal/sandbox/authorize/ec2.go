package authorize

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"bake/internal/lazyregexp"
	"bake/internal/sandbox/api"
)

// kinds are EC2's kinds of resources by the beginning of their ids.
func kinds() map[string]string {
	return map[string]string{"i": "instance", "ami": "image", "snap": "snapshot", "vol": "volume", "sg": "security-group", "sgr": "security-group-rule",
		"subnet": "subnet", "vpc": "vpc", "eni": "network-interface", "key": "key-pair", "lt": "launch-template", "eipalloc": "elastic-ip", "cr": "capacity-reservation",
		"pg": "placement-group", "rtb": "route-table", "igw": "internet-gateway", "eice": "instance-connect-endpoint"}
}

// creates are the resources that an action makes, by kind.
func creates() map[string][]string {
	return map[string][]string{
		"RunInstances":         {"instance", "volume", "network-interface"},
		"CreateImage":          {"image", "snapshot"},
		"RegisterImage":        {"image"},
		"CopyImage":            {"image", "snapshot"},
		"CreateSnapshot":       {"snapshot"},
		"CreateSnapshots":      {"snapshot"},
		"CopySnapshot":         {"snapshot"},
		"CreateVolume":         {"volume"},
		"CreateSecurityGroup":  {"security-group"},
		"CreateLaunchTemplate": {"launch-template"},
		"AllocateAddress":      {"elastic-ip"},
		"ImportKeyPair":        {"key-pair"},
		"CreateKeyPair":        {"key-pair"},
	}
}

var idForm = lazyregexp.New(`^([a-z]+)-[0-9a-f]{8,17}$`)

// ec2Resource is the ARN of a resource; images and snapshots are of no account.
func ec2Resource(c *api.Call, kind, id string) string {
	account := c.Account
	if kind == "image" || kind == "snapshot" {
		account = ""
	}
	return "arn:aws:ec2:" + c.Region + ":" + account + ":" + kind + "/" + id
}

// ec2Needs is what a call to EC2 needs: the action on what it names and on what
// it makes, tagging what it makes, passing the role, and the use of keys.
func (g *Guard) ec2Needs(c *api.Call, r *api.Request) []need {
	action := "ec2:" + c.Action
	if strings.HasPrefix(c.Action, "Describe") || strings.HasPrefix(c.Action, "Get") && c.Action != "GetConsoleOutput" && c.Action != "GetPasswordData" {
		return []need{{action: action, resource: "*"}}
	}
	tags, kindsTagged := requestTags(r)
	var all []need
	made := creates()[c.Action]
	if r.Form.Get("InstanceMarketOptions.MarketType") == "spot" {
		made = append(made, "spot-instances-request")
		all = append(all, g.spotNeeds(c)...)
	}
	for _, kind := range made {
		id := "*"
		if kind == "key-pair" && r.Form.Get("KeyName") != "" {
			id = r.Form.Get("KeyName") // ARNs of key pairs have names, which are known beforehand
		}
		all = append(all, need{action: action, resource: ec2Resource(c, kind, id), context: born(tags[kind])})
	}
	for _, n := range g.named(c, r) {
		n.action = action
		all = append(all, n)
	}
	if id := r.Form.Get("SourceImageId"); id != "" { // the image that is copied, in its own region
		all = append(all, need{action: action, resource: "arn:aws:ec2:" + r.Form.Get("SourceRegion") + "::image/" + id, context: map[string][]string{}})
	}
	if len(all) == 0 {
		all = append(all, need{action: action, resource: "*", context: map[string][]string{}})
	}
	if c.Action != "CreateTags" {
		for _, kind := range kindsTagged {
			context := born(tags[kind])
			context["ec2:createaction"] = []string{c.Action}
			all = append(all, need{action: "ec2:CreateTags", resource: ec2Resource(c, kind, "*"), context: context})
		}
	} else {
		for i := range all {
			for k, v := range born(tags[""]) {
				all[i].context[k] = v
			}
		}
	}
	all = append(all, g.snapshotNeeds(c, r)...)
	all = append(all, g.profileNeeds(c, r)...)
	return append(all, g.keyNeeds(c, r)...)
}

// snapshotNeeds is deleting the snapshots of an image with it. AWS deregisters
// the image of who may not, and says of each snapshot that it is left.
func (g *Guard) snapshotNeeds(c *api.Call, r *api.Request) []need {
	if g.Snapshots == nil || c.Action != "DeregisterImage" || r.Form.Get("DeleteAssociatedSnapshots") != "true" {
		return nil
	}
	var all []need
	for _, id := range g.Snapshots(c.Region, r.Form.Get("ImageId")) {
		context := map[string][]string{}
		g.tagContext(c, id, context)
		all = append(all, need{action: "ec2:DeleteSnapshot", resource: ec2Resource(c, "snapshot", id), context: context, unheeded: true})
	}
	return all
}

// spotNeeds is letting EC2 make the role that its spot service has in an
// account, for the account's first spot instance.
func (g *Guard) spotNeeds(c *api.Call) []need {
	if g.Linked == nil || g.Linked(c.Account, "spot.amazonaws.com") {
		return nil
	}
	return []need{{action: "iam:CreateServiceLinkedRole", resource: "arn:aws:iam::" + c.Account + ":role/aws-service-role/spot.amazonaws.com/AWSServiceRoleForEC2Spot",
		context: map[string][]string{"iam:awsservicename": {"spot.amazonaws.com"}},
		refusal: &api.Error{Code: "AuthFailure.ServiceLinkedRoleCreationNotPermitted", Status: http.StatusForbidden,
			Message: "The provided credentials do not have permission to create the service-linked role for EC2 Spot Instances."}}}
}

// named are the resources that a call names by id, and key pairs by name.
func (g *Guard) named(c *api.Call, r *api.Request) []need {
	var all []need
	seen := map[string]bool{}
	add := func(kind, id string) {
		if seen[kind+id] {
			return
		}
		seen[kind+id] = true
		context := map[string][]string{}
		g.tagContext(c, id, context)
		all = append(all, need{resource: ec2Resource(c, kind, id), context: context})
	}
	for name, values := range r.Form {
		if name == "KeyName" && !slices.Contains(creates()[c.Action], "key-pair") {
			add("key-pair", values[0])
		}
		// Who starts instances of a launch template is asked about what is in it.
		if strings.HasPrefix(name, "LaunchTemplateData.") || strings.HasPrefix(name, "TagSpecification") || strings.HasPrefix(name, "Tag.") || name == "SourceImageId" || name == "SourceSnapshotId" {
			continue
		}
		if m := idForm.FindStringSubmatch(values[0]); m != nil && kinds()[m[1]] != "" {
			add(kinds()[m[1]], values[0])
		}
	}
	slices.SortFunc(all, func(a, b need) int { return strings.Compare(a.resource, b.resource) })
	return all
}

// requestTags are the tags that a call gives, by kind of resource; of CreateTags by "".
func requestTags(r *api.Request) (tags map[string]map[string]string, order []string) {
	tags = map[string]map[string]string{}
	read := func(prefix, kind string) {
		for i := 1; r.Form.Has(fmt.Sprintf("%s%d.Key", prefix, i)); i++ {
			if tags[kind] == nil {
				tags[kind] = map[string]string{}
			}
			tags[kind][r.Form.Get(fmt.Sprintf("%s%d.Key", prefix, i))] = r.Form.Get(fmt.Sprintf("%s%d.Value", prefix, i))
		}
	}
	read("Tag.", "")
	for i := 1; r.Form.Has(fmt.Sprintf("TagSpecification.%d.ResourceType", i)); i++ {
		kind := r.Form.Get(fmt.Sprintf("TagSpecification.%d.ResourceType", i))
		read(fmt.Sprintf("TagSpecification.%d.Tag.", i), kind)
		order = append(order, kind)
	}
	return tags, order
}

// born is the context of what gets tags as it is made.
func born(tags map[string]string) map[string][]string {
	context := map[string][]string{}
	for k, v := range tags {
		context["aws:requesttag/"+strings.ToLower(k)] = []string{v}
		context["aws:tagkeys"] = append(context["aws:tagkeys"], k)
	}
	return context
}

// profileNeeds is passing the role of an instance profile.
func (g *Guard) profileNeeds(c *api.Call, r *api.Request) []need {
	name := r.Form.Get("IamInstanceProfile.Name")
	if name == "" {
		name = r.Form.Get("IamInstanceProfile.Arn")
	}
	if name == "" {
		return nil
	}
	role, ok := g.Identities.ProfileRole(c.Account, name)
	if !ok {
		return nil // EC2 refuses the profile itself
	}
	return []need{pass(role, "ec2.amazonaws.com")}
}
