package cloudinit

import (
	"fmt"
	"strings"

	"gopkg.in/yaml.v3"
)

// An Account is one of users. Default stands for the image's own.
type Account struct {
	Default           bool    `yaml:"-"`
	Name              string  `yaml:"name"`
	Gecos             string  `yaml:"gecos"`
	Home              string  `yaml:"homedir"`
	Shell             string  `yaml:"shell"`
	UID               string  `yaml:"uid"`
	PrimaryGroup      string  `yaml:"primary_group"`
	Groups            Strings `yaml:"groups"`
	Sudo              Sudo    `yaml:"sudo"`
	SSHAuthorizedKeys Strings `yaml:"ssh_authorized_keys"`
	System            bool    `yaml:"system"`
	NoCreateHome      bool    `yaml:"no_create_home"`
	Password          string  `yaml:"plain_text_passwd"`
	Hash              string  `yaml:"passwd"`
	HashedPassword    string  `yaml:"hashed_passwd"`
}

// UnmarshalYAML takes a name, or a mapping whose keys may have minus signs.
func (a *Account) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.ScalarNode {
		*a = Account{Name: n.Value, Default: n.Value == "default"}
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		key.Value = strings.ReplaceAll(key.Value, "-", "_")
	}
	type plain Account // without this method
	if err := n.Decode((*plain)(a)); err != nil {
		return err
	}
	if a.HashedPassword != "" {
		a.Hash = a.HashedPassword
	}
	return nil
}

// Accounts is a list; a mapping or one string are lists too.
type Accounts []Account

// UnmarshalYAML takes all forms.
func (a *Accounts) UnmarshalYAML(n *yaml.Node) error {
	switch n.Kind {
	case yaml.SequenceNode:
		return n.Decode((*[]Account)(a))
	case yaml.ScalarNode:
		for name := range strings.SplitSeq(n.Value, ",") {
			name = strings.TrimSpace(name)
			*a = append(*a, Account{Name: name, Default: name == "default"})
		}
		return nil
	}
	return fmt.Errorf("line %d: want a list of users", n.Line)
}

// Sudo are rules of sudoers(5) without the user; false is none.
type Sudo []string

// UnmarshalYAML takes a rule, a list of rules, false or null.
func (s *Sudo) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.ScalarNode {
		if n.Tag == "!!bool" || n.Tag == "!!null" || strings.EqualFold(n.Value, "false") {
			return nil
		}
		*s = Sudo{n.Value}
		return nil
	}
	return n.Decode((*[]string)(s))
}

// Groups are groups to be made, with their members.
type Groups map[string][]string

// UnmarshalYAML takes a list of names and of mappings to members, one of the latter, or names with commas.
func (g *Groups) UnmarshalYAML(n *yaml.Node) error {
	*g = Groups{}
	items := []*yaml.Node{n}
	if n.Kind == yaml.SequenceNode {
		items = n.Content
	}
	for _, item := range items {
		if item.Kind == yaml.ScalarNode {
			for name := range strings.SplitSeq(item.Value, ",") {
				(*g)[strings.TrimSpace(name)] = nil
			}
			continue
		}
		var members map[string]Strings
		if err := item.Decode(&members); err != nil {
			return err
		}
		for name, list := range members {
			(*g)[name] = list
		}
	}
	return nil
}

// Chpasswd are passwords.
type Chpasswd struct {
	List  Strings `yaml:"list"` // "user:password"
	Users []struct {
		Name, Password, Type string
	} `yaml:"users"`
	Expire *bool `yaml:"expire"`
}
