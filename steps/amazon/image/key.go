package image

import (
	"regexp"
	"strings"
)

// keyName is the form of what EC2 takes for KmsKeyId. AWS itself looks at it
// only when the copy is under way, which fails then.
var keyName = regexp.MustCompile(`^(arn:[a-z0-9-]+:kms:[a-z0-9-]+:[0-9]{12}:)?(key/)?([0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}|mrk-[0-9a-f]{32})$|^(arn:[a-z0-9-]+:kms:[a-z0-9-]+:[0-9]{12}:)?alias/[a-zA-Z0-9/_-]+$`)

// travels reports whether a key's name may mean a key in another region too:
// an alias may exist there, and a multi-Region key has the same id everywhere.
func travels(key string) bool {
	return strings.HasPrefix(key, "alias/") || strings.HasPrefix(key, "mrk-")
}
