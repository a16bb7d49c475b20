package ecr

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"bake/internal/lazyregexp"
)

// maxLifecycle is how many characters a lifecycle policy may have.
const maxLifecycle = 30720

// none is what removes a policy.
const none = "none"

// policyText is a policy as the API takes it: JSON text as it stands, or made
// of the template's YAML. Empty: nothing is said of it.
func policyText(policy any) (string, error) {
	switch p := policy.(type) {
	case nil:
		return "", nil
	case string:
		if p == none || p == "" {
			return p, nil
		}
		var doc map[string]any
		if err := json.Unmarshal([]byte(p), &doc); err != nil {
			return "", fmt.Errorf("the policy is not JSON: %w", err)
		}
		return p, nil
	case map[string]any:
		text, err := json.Marshal(p)
		return string(text), err
	}
	return "", fmt.Errorf("a policy is JSON text or a mapping, not %T", policy)
}

// samePolicy reports whether two policies say the same. AWS gives them back
// with its own order and spelling: one value instead of a list of one, an
// account as the ARN of its root.
func samePolicy(a, b string) bool {
	var x, y any
	if json.Unmarshal([]byte(a), &x) != nil || json.Unmarshal([]byte(b), &y) != nil {
		return a == b
	}
	return reflect.DeepEqual(plainPolicy("", x), plainPolicy("", y))
}

var accountID = lazyregexp.New(`^\d{12}$`)

// unordered are the keys of a policy whose lists are sets.
var unordered = []string{"Action", "NotAction", "Resource", "NotResource", "AWS", "Service", "tagPrefixList", "tagPatternList"}

// plainPolicy brings a value of a policy into one spelling.
func plainPolicy(key string, v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for k, e := range v {
			out[k] = plainPolicy(k, e)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = plainPolicy(key, e)
		}
		if slices.Contains(unordered, key) {
			slices.SortFunc(out, func(a, b any) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
		}
		if len(out) == 1 {
			return out[0]
		}
		return out
	case string:
		if key == "AWS" && accountID.MatchString(v) {
			return "arn:aws:iam::" + v + ":root"
		}
		if slices.Contains([]string{"Action", "NotAction"}, key) {
			return strings.ToLower(v)
		}
	}
	return v
}
