package ecr

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"

	"bake/builder"
	"bake/internal/registry"
	"bake/steps/amazon"
	"bake/steps/amazon/permit"
)

// Permissions is what pushing the image, and keeping the repositories as the
// template says, has to be allowed: for each place, whoever pushes there.
func (o *Output) Permissions(env permit.Env) []permit.Statement {
	var all []permit.Statement
	targets := o.targetsFrom(o.access())
	for _, t := range targets {
		at := env.For(t.access)
		needs := t.pushing(at)
		if o.Create != nil {
			needs = append(needs, t.keeping(at, o.Create)...)
		}
		if !t.public {
			needs = append(needs, o.checking(at, t)...)
			needs = append(needs, t.mounting(at, o.mountSources(env))...)
		}
		if o.Keep != nil {
			needs = append(needs, o.Keep.deleting(at, t)...)
		}
		all = append(all, at.Under(needs...)...)
	}
	if o.Keep != nil && !o.Keep.NoECS {
		for _, a := range o.Keep.places(targets) {
			all = append(all, env.For(a).Under(permit.Statement{Sid: "SeeWhatRuns", Actions: []string{"ecs:ListTaskDefinitionFamilies", "ecs:ListClusters", "ecs:ListServices", "ecs:DescribeServices",
				"ecs:ListTasks", "ecs:DescribeTasks", "ecs:DescribeTaskDefinition"}})...)
		}
	}
	return all
}

// action is a name of an action of ECR, or of ECR Public.
func (t *target) action(name string) string {
	if t.public {
		return "ecr-public:" + name
	}
	return "ecr:" + name
}

func (t *target) actions(names ...string) []string {
	for i, name := range names {
		names[i] = t.action(name)
	}
	return names
}

// resource is the ARN of a repository of the target's registry. Those of ECR
// Public are of no region.
func (t *target) resource(env permit.Env, name string) string {
	if t.public {
		return env.Global("ecr-public", "repository/"+permit.Any(name))
	}
	return env.ARNOf("ecr", t.account, "repository/"+permit.Any(name))
}

func (t *target) statement(env permit.Env, sid string, actions ...string) permit.Statement {
	return permit.Statement{Sid: sid, Actions: t.actions(actions...), Resources: []string{t.resource(env, t.name)}}
}

// token is what a registry's password needs: it knows no resources.
func (t *target) token() []permit.Statement {
	all := []permit.Statement{{Sid: "GetTokens", Actions: []string{t.action("GetAuthorizationToken")}}}
	if t.public { // its tokens come from STS
		all[0].Actions = append(all[0].Actions, "sts:GetServiceBearerToken")
	}
	return all
}

func (t *target) pushing(env permit.Env) []permit.Statement {
	actions := []string{"DescribeRepositories", "BatchCheckLayerAvailability", "InitiateLayerUpload", "UploadLayerPart", "CompleteLayerUpload", "PutImage"}
	if !t.public {
		actions = append(actions, "BatchGetImage") // ECR Public is read by everybody
	}
	return append(t.token(), t.statement(env, "PushImages", actions...))
}

// keeping is making the repository, and setting what the template names.
func (t *target) keeping(env permit.Env, c *Create) []permit.Statement {
	var all []permit.Statement
	var set []string
	if c.Enabled || len(c.Tags) > 0 {
		set = append(set, "ListTagsForResource", "TagResource")
	}
	if c.Enabled {
		made := t.statement(env, "MakeRepositories", "CreateRepository")
		made.Conditions = []permit.Condition{env.Born()}
		removed := t.statement(env, "RemoveOwnRepositories", "DeleteRepository")
		removed.Conditions = []permit.Condition{env.Tag()}
		all = append(all, made, removed)
	}
	if c.ScanOnPush != nil {
		set = append(set, "PutImageScanningConfiguration")
	}
	if c.Immutable != nil {
		set = append(set, "PutImageTagMutability")
	}
	set = append(set, policyActions("LifecyclePolicy", "Put", c.Lifecycle)...)
	set = append(set, policyActions("RepositoryPolicy", "Set", c.Policy)...)
	if len(set) > 0 {
		all = append(all, t.statement(env, "SetUpRepositories", set...))
	}
	if e := c.Encryption; e != nil && e.Key != "" {
		keys, named := env.Key(e.Key)
		through := permit.Condition{Operator: "StringLike", Key: "kms:ViaService", Values: []string{"ecr." + permit.Any(t.access.Region) + ".amazonaws.com*"}}
		all = append(all, permit.Statement{Sid: "LendKeysToECR", Actions: []string{"kms:CreateGrant", "kms:RetireGrant", "kms:DescribeKey"}, Resources: keys, Conditions: append(named, through)})
	}
	return all
}

// policyActions are those for a policy that is set, or taken away.
func policyActions(kind, set string, policy any) []string {
	switch text, err := policyText(policy); {
	case err != nil || text == "":
		return nil
	case text == none:
		return []string{"Get" + kind, "Delete" + kind}
	}
	return []string{"Get" + kind, set + kind}
}

// checking is waiting for what ECR does with a pushed image.
func (o *Output) checking(env permit.Env, t *target) []permit.Statement {
	var all []permit.Statement
	if o.Scan != nil && o.Scan.Wait {
		all = append(all, t.statement(env, "WaitForScans", "DescribeImageScanFindings", "StartImageScan"),
			permit.Statement{Sid: "ReadEnhancedScans", Actions: []string{"inspector2:ListFindings", "inspector2:ListCoverage"}})
	}
	if o.Replication != nil && o.Replication.Wait {
		all = append(all, t.statement(env, "WaitForCopies", "DescribeImageReplicationStatus"))
	}
	return all
}

// deleting is removing old images; that indexes are read for it, a push may too.
func (k *Keep) deleting(env permit.Env, t *target) []permit.Statement {
	actions := []string{"DescribeImages"}
	if !k.DryRun {
		actions = append(actions, "BatchDeleteImage")
	}
	return []permit.Statement{t.statement(env, "DeleteOldImages", actions...)}
}

// mountSources are the repositories that may have layers already: the
// template's, and that of the image which the build starts from.
func (o *Output) mountSources(env permit.Env) []string {
	all := slices.Clone([]string(o.MountFrom))
	b, ok := env.Plan.Build(env.Build)
	for ok && b.Base != "" {
		b, ok = env.Plan.Build(b.Base)
	}
	if ok && len(b.Steps) > 0 && b.Steps[0].Phase == builder.Open && b.Steps[0].Kind == "image" {
		if name, err := imageName(b.Steps[0]); err == nil {
			all = append(all, name)
		}
	}
	return all
}

// mounting is taking layers over from other repositories of the same registry.
func (t *target) mounting(env permit.Env, from []string) []permit.Statement {
	var repositories []string
	for _, name := range from {
		host, path, hasHost := splitName(name)
		ref, err := registry.ParseRepository(name, false)
		switch {
		case err != nil, hasHost && (host.Public || host.Region != t.access.Region || t.account != "" && host.Account != t.account):
			continue
		case !hasHost && strings.ContainsAny(strings.SplitN(name, "/", 2)[0], ".:"):
			continue // of another registry
		case hasHost:
			path = ref.Repository.RepositoryStr()
		}
		path, _ = cutTag(path)
		repositories = append(repositories, t.resource(env, path))
	}
	if repositories == nil {
		return nil
	}
	return []permit.Statement{{Sid: "MountLayers", Actions: []string{"ecr:GetDownloadUrlForLayer"}, Resources: repositories}}
}

// imageName is what the template says of the image that a step starts from:
// its name alone, or with more.
func imageName(s builder.Step) (name string, err error) {
	if json.Unmarshal(s.Config, &name) == nil {
		return name, nil
	}
	var says struct {
		Name string `json:"name"`
	}
	err = json.Unmarshal(s.Config, &says)
	return says.Name, err
}

// Pulling is what reading an image has to be allowed that is in a private
// registry of ECR: of whoever runs bake. Other images need nothing.
func Pulling(env permit.Env, image string) []permit.Statement {
	at, t, ok := ofImage(env, image)
	if !ok {
		return nil
	}
	return at.Under(append(t.token(), t.statement(at, "PullImages", "BatchGetImage", "GetDownloadUrlForLayer"))...)
}

// ListingImages is what listing a repository of ECR with its API has to be allowed,
// by its name or address; empty: listing the repositories.
func ListingImages(env permit.Env, a amazon.Access, repository string) []permit.Statement {
	if repository == "" {
		env = env.For(a)
		return env.Under(permit.Statement{Sid: "ListRepositories", Actions: []string{"ecr:DescribeRepositories"}, Resources: []string{env.ARN("ecr", "repository/*")}})
	}
	host, path, _ := splitName(repository)
	name, _ := cutTag(path)
	a.Region = cmp.Or(host.Region, a.Region)
	env = env.For(a)
	t := &target{place: place{access: a, account: host.Account}, name: name}
	return env.Under(t.statement(env, "ListImages", "DescribeRepositories", "DescribeImages"))
}

// ListingTags is what listing a repository's tags through its registry has to be
// allowed: nothing, if it is none of ECR's.
func ListingTags(env permit.Env, repository string) []permit.Statement {
	at, t, ok := ofImage(env, repository)
	if !ok {
		return nil
	}
	return at.Under(append(t.token(), t.statement(at, "ListTags", "ListImages", "BatchGetImage", "GetDownloadUrlForLayer"))...)
}

// ofImage is the repository that an image's name means; false if it is not in a
// private registry of ECR.
func ofImage(env permit.Env, image string) (permit.Env, *target, bool) {
	host, path, hasHost := splitName(image)
	if !hasHost || host.Public {
		return env, nil, false
	}
	path, _, _ = strings.Cut(path, "@")
	path, _ = cutTag(path)
	access := amazon.Access{Region: host.Region}
	return env.For(access), &target{place: place{access: access, account: host.Account}, name: path}, true
}

// PullingThrough is what taking an image from a pull-through cache has to be
// allowed (see Deps.PullThrough): it fetches the image, and makes its
// repository, in the caller's name.
func PullingThrough(env permit.Env, cache, image string) []permit.Statement {
	if _, _, own := ofImage(env, image); own || cache == "" || cache == "none" {
		return nil
	}
	ref, err := registry.ParseReference(image, false)
	if err != nil {
		return nil
	}
	host, prefix, _ := strings.Cut(cache, "/")
	h, _ := ParseHost(host)
	access := amazon.Access{Region: h.Region}
	at := env.For(access)
	t := &target{place: place{access: access, account: h.Account}, name: cmp.Or(prefix, "*") + "/" + ref.Repository.RepositoryStr()}
	needs := append(t.token(), t.statement(at, "PullThroughCaches", "BatchGetImage", "GetDownloadUrlForLayer", "BatchImportUpstreamImage", "CreateRepository"))
	if prefix == "" {
		needs = append(needs, permit.Statement{Sid: "GetTokens", Actions: []string{"ecr:DescribePullThroughCacheRules"}})
	}
	return at.Under(needs...)
}

// Pushing is what the output `registry` has to be allowed in a repository of a
// registry of ECR: of whoever runs bake. Other registries need nothing.
func Pushing(env permit.Env, repository string) []permit.Statement {
	at, t, ok := ofImage(env, repository)
	if !ok {
		return nil
	}
	needs := t.pushing(at)
	push := &needs[len(needs)-1]
	push.Actions = slices.DeleteFunc(push.Actions, func(a string) bool { return a == "ecr:DescribeRepositories" })
	return at.Under(needs...)
}
