package ecs

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"

	awsecs "github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"bake/internal/lazyregexp"
)

// A Definition is a task definition as it is registered.
type Definition = awsecs.RegisterTaskDefinitionInput

// definitionOf is what has to be registered to get td again: td without what
// AWS adds (ARN, revision, status, attributes, times). Tags are not part of it.
func definitionOf(td *types.TaskDefinition) *Definition {
	out := new(Definition)
	from, to := reflect.ValueOf(td).Elem(), reflect.ValueOf(out).Elem()
	for i := range to.NumField() {
		f := to.Type().Field(i)
		if source := from.FieldByName(f.Name); f.IsExported() && source.IsValid() && source.Type() == f.Type {
			to.Field(i).Set(source)
		}
	}
	return out
}

// Defaults that AWS fills in where a task definition says nothing: what is
// equal to one of them is the same as nothing. A * stands for every element.
var defaults = []struct {
	path  string
	value any
}{
	{"networkMode", "bridge"},
	{"enableFaultInjection", false},
	{"runtimePlatform.cpuArchitecture", "X86_64"},
	{"runtimePlatform.operatingSystemFamily", "LINUX"},
	{"proxyConfiguration.type", "APPMESH"},
	{"containerDefinitions.*.cpu", 0.0},
	{"containerDefinitions.*.essential", true},
	{"containerDefinitions.*.disableNetworking", false},
	{"containerDefinitions.*.interactive", false},
	{"containerDefinitions.*.privileged", false},
	{"containerDefinitions.*.pseudoTerminal", false},
	{"containerDefinitions.*.readonlyRootFilesystem", false},
	{"containerDefinitions.*.versionConsistency", "enabled"},
	{"containerDefinitions.*.portMappings.*.protocol", "tcp"},
	{"containerDefinitions.*.portMappings.*.hostPort", 0.0}, // "any"; in awsvpc and host mode see hostPorts
	{"containerDefinitions.*.mountPoints.*.readOnly", false},
	{"containerDefinitions.*.volumesFrom.*.readOnly", false},
	{"containerDefinitions.*.healthCheck.interval", 30.0},
	{"containerDefinitions.*.healthCheck.timeout", 5.0},
	{"containerDefinitions.*.healthCheck.retries", 3.0},
	{"containerDefinitions.*.healthCheck.startPeriod", 0.0},
	{"containerDefinitions.*.linuxParameters.initProcessEnabled", false},
	{"containerDefinitions.*.restartPolicy.restartAttemptPeriod", 300.0},
	{"containerDefinitions.*.environment.*.value", ""},
	{"volumes.*.configuredAtLaunch", false},
	{"volumes.*.efsVolumeConfiguration.rootDirectory", "/"},
	{"volumes.*.efsVolumeConfiguration.transitEncryption", "DISABLED"},
	{"volumes.*.efsVolumeConfiguration.authorizationConfig.iam", "DISABLED"},
	{"volumes.*.dockerVolumeConfiguration.scope", "task"},
	{"volumes.*.dockerVolumeConfiguration.autoprovision", false},
	{"volumes.*.dockerVolumeConfiguration.driver", "local"},
}

// Lists whose order means nothing, with the keys that tell their elements
// apart; no keys: the elements are plain values.
var unordered = []struct {
	path string
	keys []string
}{
	{"containerDefinitions", []string{"name"}},
	{"requiresCompatibilities", nil},
	{"volumes", []string{"name"}},
	{"placementConstraints", []string{"type", "expression"}},
	{"proxyConfiguration.properties", []string{"name"}},
	{"inferenceAccelerators", []string{"deviceName"}},
	{"containerDefinitions.*.environment", []string{"name"}},
	{"containerDefinitions.*.secrets", []string{"name"}},
	{"containerDefinitions.*.dependsOn", []string{"containerName"}},
	{"containerDefinitions.*.extraHosts", []string{"hostname", "ipAddress"}},
	{"containerDefinitions.*.mountPoints", []string{"containerPath"}},
	{"containerDefinitions.*.portMappings", []string{"containerPort", "containerPortRange", "protocol"}},
	{"containerDefinitions.*.resourceRequirements", []string{"type"}},
	{"containerDefinitions.*.systemControls", []string{"namespace"}},
	{"containerDefinitions.*.ulimits", []string{"name"}},
	{"containerDefinitions.*.volumesFrom", []string{"sourceContainer"}},
	{"containerDefinitions.*.logConfiguration.secretOptions", []string{"name"}},
	{"containerDefinitions.*.linuxParameters.capabilities.add", nil},
	{"containerDefinitions.*.linuxParameters.capabilities.drop", nil},
	{"containerDefinitions.*.linuxParameters.devices", []string{"hostPath"}},
	{"containerDefinitions.*.linuxParameters.devices.*.permissions", nil},
	{"containerDefinitions.*.linuxParameters.tmpfs", []string{"containerPath"}},
	{"containerDefinitions.*.linuxParameters.tmpfs.*.mountOptions", nil},
	{"containerDefinitions.*.dockerSecurityOptions", nil},
	{"containerDefinitions.*.restartPolicy.ignoredExitCodes", nil},
}

// normal returns the definition as plain data that is the same for all ways of
// writing the same thing: without AWS's defaults, empty values and orders that
// mean nothing. It is what is compared and hashed.
func normal(d *Definition) map[string]any {
	t, _ := tree(*d).(map[string]any)
	delete(t, "tags")
	for _, size := range []struct {
		key  string
		unit map[string]float64
	}{{"cpu", map[string]float64{"": 1, "vcpu": 1024}}, {"memory", map[string]float64{"": 1, "mb": 1, "gb": 1024}}} {
		if text, ok := t[size.key].(string); ok {
			t[size.key] = units(text, size.unit)
		}
	}
	hostPorts(t)
	devices(t)
	for _, d := range defaults {
		each(t, strings.Split(d.path, "."), func(m map[string]any, key string) {
			if m[key] == d.value {
				delete(m, key)
			}
		})
	}
	prune(t)
	for _, u := range unordered {
		each(t, strings.Split(u.path, "."), func(m map[string]any, key string) {
			if list, ok := m[key].([]any); ok {
				slices.SortStableFunc(list, func(a, b any) int { return strings.Compare(identity(a, u.keys), identity(b, u.keys)) })
			}
		})
	}
	return t
}

// hash is the same for the same task definition, however it is written. It
// goes into the tag bake:hash.
func hash(d *Definition) string {
	data, err := json.Marshal(normal(d)) // sorted keys
	if err != nil {
		panic(err) // plain data always encodes
	}
	return fmt.Sprintf("%x", sha256.Sum256(data))[:32]
}

var quantity = lazyregexp.New(`(?i)^\s*([0-9]*\.?[0-9]+)\s*(vcpu|gb|mb)?\s*$`)

// units turns "1 vCPU" into "1024" and "0.5GB" into "512", as AWS does.
func units(text string, factors map[string]float64) string {
	m := quantity.FindStringSubmatch(text)
	if m == nil {
		return text
	}
	n, err := strconv.ParseFloat(m[1], 64)
	factor, ok := factors[strings.ToLower(m[2])]
	if err != nil || !ok {
		return text
	}
	return strconv.FormatFloat(math.Round(n*factor), 'f', -1, 64)
}

// hostPorts drops host ports that say what is so anyway: in awsvpc and host
// mode a container's port is the host's.
func hostPorts(t map[string]any) {
	if mode := t["networkMode"]; mode != "awsvpc" && mode != "host" {
		return
	}
	each(t, []string{"containerDefinitions", "*", "portMappings", "*", "hostPort"}, func(m map[string]any, key string) {
		if m[key] == m["containerPort"] {
			delete(m, key)
		}
	})
}

// devices drops what is so anyway: all permissions, and the same path inside.
func devices(t map[string]any) {
	const at = "containerDefinitions.*.linuxParameters.devices.*."
	each(t, strings.Split(at+"containerPath", "."), func(m map[string]any, key string) {
		if m[key] == m["hostPath"] {
			delete(m, key)
		}
	})
	each(t, strings.Split(at+"permissions", "."), func(m map[string]any, key string) {
		if list, ok := m[key].([]any); ok && len(list) == 3 {
			delete(m, key)
		}
	})
}

// each calls f for every place that the path leads to and that exists.
func each(v any, path []string, f func(m map[string]any, key string)) {
	switch v := v.(type) {
	case []any:
		if path[0] == "*" {
			for _, item := range v {
				each(item, path[1:], f)
			}
		}
	case map[string]any:
		next, ok := v[path[0]]
		switch {
		case !ok:
		case len(path) == 1:
			f(v, path[0])
		default:
			each(next, path[1:], f)
		}
	}
}

// prune removes empty mappings and lists, from the inside out, and reports
// whether nothing is left of v.
func prune(v any) bool {
	switch v := v.(type) {
	case map[string]any:
		for k, x := range v {
			if prune(x) {
				delete(v, k)
			}
		}
		return len(v) == 0
	case []any:
		for _, x := range v {
			prune(x)
		}
		return len(v) == 0
	}
	return v == nil
}

// identity tells an element of a list from the others.
func identity(v any, keys []string) string {
	m, ok := v.(map[string]any)
	if !ok {
		return fmt.Sprint(v)
	}
	var words []string
	for _, k := range keys {
		if x, ok := m[k]; ok {
			words = append(words, plain(x))
		}
	}
	return strings.Join(words, "/")
}

// plain writes one value for people.
func plain(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	}
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(data)
}
