package ecr

import (
	"context"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"

	"bake/internal/registry"
	"bake/steps/amazon"
)

// A noRuleError is a registry that the pull-through cache is not for.
type noRuleError struct{ cache, upstream string }

func (e *noRuleError) Error() string {
	return fmt.Sprintf("%s has no pull-through cache rule for %s", e.cache, e.upstream)
}

// Hint says how to make one.
func (e *noRuleError) Hint() string {
	return "make one (`aws ecr create-pull-through-cache-rule`), or name its prefix: pull_through: HOST/PREFIX"
}

// PullThrough returns where an image is in a pull-through cache, as a mirror
// of its registry: HOST/PREFIX. cache is a host of ECR with or without a
// prefix, or "ecr" for the caller's own registry. Without a prefix the
// registry's rules tell (DescribePullThroughCacheRules). It returns "" for an
// image that is in ECR itself.
func (d Deps) PullThrough(ctx context.Context, cache string, image registry.Reference) (string, error) {
	if h, ok := ParseHost(image.Host()); ok && !h.Public {
		return "", nil
	}
	host, prefix, _ := strings.Cut(cache, "/")
	h, ok := ParseHost(host)
	if cache != "ecr" && (!ok || h.Public) {
		return "", fmt.Errorf("pull_through %q: want a private registry of ECR, like 123456789012.dkr.ecr.eu-west-1.amazonaws.com", cache)
	}
	if prefix != "" {
		return cache, nil
	}
	access := amazon.Access{Region: h.Region}
	cfg, err := d.Cloud.Config(ctx, access)
	if err != nil {
		return "", err
	}
	var rules []types.PullThroughCacheRule
	pages := ecr.NewDescribePullThroughCacheRulesPaginator(ecr.NewFromConfig(cfg), &ecr.DescribePullThroughCacheRulesInput{RegistryId: orNil(h.Account)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return "", d.Cloud.Explain(ctx, access, fmt.Errorf("reading the pull-through cache rules of %s: %w", cache, err))
		}
		rules = append(rules, page.PullThroughCacheRules...)
	}
	rule, ok := ruleFor(rules, image)
	if !ok {
		return "", &noRuleError{cache, image.Host()}
	}
	if cache == "ecr" {
		if host, err = d.ownHost(ctx, access, aws.ToString(rule.RegistryId)); err != nil {
			return "", err
		}
	}
	return host + "/" + aws.ToString(rule.EcrRepositoryPrefix), nil
}

// ruleFor picks the rule whose upstream has the image: the one that says most
// of its name.
func ruleFor(rules []types.PullThroughCacheRule, image registry.Reference) (types.PullThroughCacheRule, bool) {
	var best types.PullThroughCacheRule
	rank := -1
	for _, r := range rules {
		if upstreamHost(aws.ToString(r.UpstreamRegistryUrl)) != image.Host() {
			continue
		}
		prefix := aws.ToString(r.UpstreamRepositoryPrefix)
		if prefix == "ROOT" {
			prefix = ""
		}
		// A prefix would be cut off the name; a mirror's name is the whole one.
		if prefix == "" && rank < 0 {
			best, rank = r, 0
		}
	}
	return best, rank >= 0
}

// upstreamHost is a rule's registry as image names have it.
func upstreamHost(url string) string {
	if url == "registry-1.docker.io" {
		return "index.docker.io"
	}
	return url
}

// ownHost is the registry's own name, which its token tells.
func (d Deps) ownHost(ctx context.Context, a amazon.Access, account string) (string, error) {
	region, err := d.Cloud.Region(ctx, a)
	if err != nil {
		return "", err
	}
	if account == "" {
		if account, err = d.Cloud.Account(ctx, a); err != nil {
			return "", err
		}
	}
	return account + ".dkr.ecr." + region + "." + suffixOf(region), nil
}

// suffixOf is the domain of a region's partition.
func suffixOf(region string) string {
	if strings.HasPrefix(region, "cn-") {
		return "amazonaws.com.cn"
	}
	return "amazonaws.com"
}
