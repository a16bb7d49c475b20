package ecr

import (
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"

	"bake/templates"
)

// Create says how a repository is made and, as far as it names things, kept.
type Create struct {
	Enabled    bool              `yaml:"enabled" bake:"main" default:"true" doc:"Make the repository if it is missing."`
	ScanOnPush *bool             `yaml:"scan_on_push" doc:"Basic scan of every image that is pushed."`
	Immutable  *Immutable        `yaml:"immutable" doc:"Tags do not move once they are pushed."`
	Encryption *Encryption       `yaml:"encryption" doc:"How layers are encrypted; fixed when the repository is made."`
	Lifecycle  any               `yaml:"lifecycle" doc:"Lifecycle policy, as AWS writes it (JSON text or YAML); none removes it."`
	Policy     any               `yaml:"policy" doc:"Repository policy, as IAM writes it (JSON text or YAML); none removes it."`
	Tags       map[string]string `yaml:"tags" doc:"Tags of the repository; others that it has stay."`
}

// Immutable says which tags move.
type Immutable struct {
	Enabled bool              `yaml:"enabled" bake:"main" default:"true" doc:"Whether tags are immutable."`
	Except  templates.Strings `yaml:"except" doc:"Tags for which the opposite holds, up to five patterns; * stands for any characters."`
}

// Encryption says how layers are encrypted at rest.
type Encryption struct {
	Type string `yaml:"type" bake:"main" enum:"aes256|kms|kms_dsse" doc:"aes256, or with a key of KMS."`
	Key  string `yaml:"key" doc:"ARN, id or alias of the key; the account's own aws/ecr if not given."`
}

// Validate checks what AWS would refuse.
func (c *Create) Validate(b templates.Block) templates.Diagnostics {
	var out templates.Diagnostics
	if text, err := policyText(c.Lifecycle); err != nil {
		out = append(out, b.At("lifecycle").Errorf("%v", err))
	} else if len(text) > maxLifecycle {
		out = append(out, b.At("lifecycle").Errorf("a lifecycle policy has at most %d characters, this one %d", maxLifecycle, len(text)))
	}
	if _, err := policyText(c.Policy); err != nil {
		out = append(out, b.At("policy").Errorf("%v", err))
	}
	for key := range c.Tags {
		if strings.HasPrefix(strings.ToLower(key), "aws:") {
			out = append(out, b.Key("tags", key).Errorf("tags that begin with aws: are Amazon's own"))
		}
	}
	return out
}

// Validate checks the patterns.
func (i *Immutable) Validate(b templates.Block) templates.Diagnostics {
	var out templates.Diagnostics
	if len(i.Except) > 5 {
		out = append(out, b.At("except").Errorf("ECR takes five exceptions, these are %d", len(i.Except)))
	}
	for n, p := range i.Except {
		if strings.Count(p, "*") > 2 || len(p) > 128 {
			out = append(out, b.At("except", fmt.Sprint(n)).Errorf("a pattern has at most two * and 128 characters"))
		}
	}
	return out
}

// Validate wants a key only where there is one.
func (e *Encryption) Validate(b templates.Block) templates.Diagnostics {
	if e.Key != "" && e.Type == "aes256" {
		return templates.Diagnostics{b.At("key").Errorf("aes256 has no key: say type: kms")}
	}
	return nil
}

// mutability is what the API calls it.
func (i *Immutable) mutability() (types.ImageTagMutability, []types.ImageTagMutabilityExclusionFilter) {
	var filters []types.ImageTagMutabilityExclusionFilter
	for _, p := range i.Except {
		filters = append(filters, types.ImageTagMutabilityExclusionFilter{Filter: aws.String(p), FilterType: types.ImageTagMutabilityExclusionFilterTypeWildcard})
	}
	switch {
	case i.Enabled && len(filters) > 0:
		return types.ImageTagMutabilityImmutableWithExclusion, filters
	case i.Enabled:
		return types.ImageTagMutabilityImmutable, nil
	case len(filters) > 0:
		return types.ImageTagMutabilityMutableWithExclusion, filters
	}
	return types.ImageTagMutabilityMutable, nil
}

// encryption is what the API calls it.
func (e *Encryption) configuration() *types.EncryptionConfiguration {
	out := &types.EncryptionConfiguration{EncryptionType: types.EncryptionTypeAes256}
	switch {
	case e.Type == "kms_dsse":
		out.EncryptionType = types.EncryptionTypeKmsDsse
	case e.Type == "kms" || e.Key != "":
		out.EncryptionType = types.EncryptionTypeKms
	}
	if e.Key != "" {
		out.KmsKey = aws.String(e.Key)
	}
	return out
}

// fixedTag returns which tags of a repository do not move.
func fixedTag(m types.ImageTagMutability, filters []types.ImageTagMutabilityExclusionFilter) func(tag string) bool {
	excluded := func(tag string) bool {
		for _, f := range filters {
			if matches(aws.ToString(f.Filter), tag) {
				return true
			}
		}
		return false
	}
	switch m {
	case types.ImageTagMutabilityImmutable:
		return func(string) bool { return true }
	case types.ImageTagMutabilityImmutableWithExclusion:
		return func(tag string) bool { return !excluded(tag) }
	case types.ImageTagMutabilityMutableWithExclusion:
		return excluded
	}
	return func(string) bool { return false }
}

// matches reports whether text fits a pattern in which * is any characters.
func matches(pattern, text string) bool {
	first, rest, star := strings.Cut(pattern, "*")
	if !star {
		return pattern == text
	}
	text, ok := strings.CutPrefix(text, first)
	if !ok {
		return false
	}
	for i := 0; i <= len(text); i++ {
		if matches(rest, text[i:]) {
			return true
		}
	}
	return false
}
