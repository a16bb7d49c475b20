package templates

import (
	"strings"

	"gopkg.in/yaml.v3"
)

// A Setting is a key of a block and its value as YAML of one line, for people.
type Setting struct {
	Key, Value string
	Scalar     bool // neither a list nor a mapping
}

// settingMax is how much is shown of a value, in bytes: some hold whole files.
const settingMax = 160

// Settings returns what a decoded block says, key by key; nothing of a block
// that is no mapping.
func Settings(block JSON) []Setting {
	var doc yaml.Node
	if err := yaml.Unmarshal(block, &doc); err != nil || len(doc.Content) == 0 || doc.Content[0].Kind != yaml.MappingNode {
		return nil
	}
	unquote(&doc)
	var all []Setting
	for pairs := doc.Content[0].Content; len(pairs) > 1; pairs = pairs[2:] {
		text, err := yaml.Marshal(pairs[1])
		if err != nil {
			continue // it came out of YAML
		}
		line, _, more := strings.Cut(strings.TrimSpace(string(text)), "\n")
		if more || len(line) > settingMax {
			line = strings.ToValidUTF8(line[:min(len(line), settingMax)], "") + "…"
		}
		all = append(all, Setting{Key: pairs[0].Value, Value: line, Scalar: pairs[1].Kind == yaml.ScalarNode})
	}
	return all
}

// unquote takes the quotes of JSON off, where YAML needs none.
func unquote(n *yaml.Node) {
	if n.Kind == yaml.ScalarNode {
		n.Style = 0
	}
	for _, c := range n.Content {
		unquote(c)
	}
}
