package ecr

import (
	"strings"

	"bake/internal/lazyregexp"
)

// PublicHost is the registry of ECR Public.
const PublicHost = "public.ecr.aws"

// A Host is a registry of ECR as its name tells.
type Host struct {
	Account, Region string // empty for ECR Public
	Public          bool
}

// Names of ECR's private registries, in all partitions, with FIPS and
// dual-stack endpoints (docs.aws.amazon.com/general/latest/gr/ecr.html).
var hostPattern = lazyregexp.New(`^(\d{12})\.dkr[.-]ecr(?:-fips)?\.([a-z]{2,}(?:-[a-z]+)+-\d+)\.(?:amazonaws\.com(?:\.cn)?|on\.aws|on\.amazonwebservices\.com\.cn|[a-z0-9.-]*(?:c2s\.ic\.gov|sgov\.gov|adc-e\.uk|cloud\.adc-e\.uk))$`)

// ParseHost reads a registry's name, without a port. It reports false if it is
// not ECR's.
func ParseHost(host string) (Host, bool) {
	host = strings.ToLower(host)
	if host == PublicHost || host == "ecr-public.aws.com" {
		return Host{Public: true}, true
	}
	m := hostPattern.FindStringSubmatch(host)
	if m == nil {
		return Host{}, false
	}
	return Host{Account: m[1], Region: m[2]}, true
}

// splitName cuts a host of ECR off the name of a repository.
func splitName(name string) (h Host, path string, hasHost bool) {
	first, rest, found := strings.Cut(name, "/")
	if !found {
		return Host{}, name, false
	}
	h, ok := ParseHost(first)
	if !ok {
		return Host{}, name, false
	}
	return h, rest, true
}
