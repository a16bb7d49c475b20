package cloudinit

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"

	"bake/internal/shell"
)

// Config is a cloud-config: those keys that machines know.
type Config struct {
	Hostname         string `yaml:"hostname"`
	FQDN             string `yaml:"fqdn"`
	PreserveHostname bool   `yaml:"preserve_hostname"`

	SSHKeys           map[string]string `yaml:"ssh_keys"` // "ed25519_private": PEM
	SSHAuthorizedKeys Strings           `yaml:"ssh_authorized_keys"`
	SSHDeleteKeys     *bool             `yaml:"ssh_deletekeys"`
	SSHKeyTypes       Strings           `yaml:"ssh_genkeytypes"`
	SSHPasswords      *bool             `yaml:"ssh_pwauth"`
	DisableRoot       *bool             `yaml:"disable_root"`

	User     Account  `yaml:"user"`
	Users    Accounts `yaml:"users"`
	Groups   Groups   `yaml:"groups"`
	Password string   `yaml:"password"`
	Chpasswd Chpasswd `yaml:"chpasswd"`

	WriteFiles []File   `yaml:"write_files"`
	BootCmd    Commands `yaml:"bootcmd"`
	RunCmd     Commands `yaml:"runcmd"`

	Packages       Packages `yaml:"packages"`
	PackageUpdate  bool     `yaml:"package_update"`
	PackageUpgrade bool     `yaml:"package_upgrade"`

	Timezone       string      `yaml:"timezone"`
	ManageEtcHosts string      `yaml:"manage_etc_hosts"`
	FinalMessage   string      `yaml:"final_message"`
	PowerState     *PowerState `yaml:"power_state"`
	SystemInfo     struct {
		DefaultUser Account `yaml:"default_user"`
	} `yaml:"system_info"`
}

// PowerState is what becomes of the machine when all is done.
type PowerState struct {
	Mode      string    `yaml:"mode"`  // poweroff, halt, reboot
	Delay     string    `yaml:"delay"` // "now", minutes
	Condition yaml.Node `yaml:"condition"`
}

// A File is one of write_files.
type File struct {
	Path        string
	Content     []byte
	Owner       string // "user:group"; empty: root
	Permissions uint32
	Append      bool
	Defer       bool // after packages and users are there
}

// aliases are other names of keys, which older versions knew.
func aliases() map[string]string {
	return map[string]string{"apt_update": "package_update", "apt_upgrade": "package_upgrade", "preserve-hostname": "preserve_hostname"}
}

// quiet are keys that change nothing that a machine here has.
func quiet() []string {
	return []string{"output", "resize_rootfs", "growpart", "locale", "cloud_init_modules", "cloud_config_modules", "cloud_final_modules",
		"datasource_list", "datasource", "mount_default_fields", "no_ssh_fingerprints", "ssh", "ssh_quiet_keygen", "syslog_fix_perms",
		"vendor_data", "vendor_data2", "warnings", "manage_resolv_conf", "random_seed", "apt", "network", "repo_update", "repo_upgrade", "merge_how"}
}

// config decodes the keys, each by itself: one that is wrong does not spoil the others.
func (p *parser) config(keys map[string]*yaml.Node) Config {
	var c Config
	known := map[string]any{
		"hostname": &c.Hostname, "fqdn": &c.FQDN, "preserve_hostname": &c.PreserveHostname,
		"ssh_keys": &c.SSHKeys, "ssh_authorized_keys": &c.SSHAuthorizedKeys, "ssh_deletekeys": &c.SSHDeleteKeys,
		"ssh_genkeytypes": &c.SSHKeyTypes, "ssh_pwauth": &c.SSHPasswords, "disable_root": &c.DisableRoot,
		"user": &c.User, "users": &c.Users, "groups": &c.Groups, "password": &c.Password, "chpasswd": &c.Chpasswd,
		"write_files": &c.WriteFiles, "bootcmd": &c.BootCmd, "runcmd": &c.RunCmd,
		"packages": &c.Packages, "package_update": &c.PackageUpdate, "package_upgrade": &c.PackageUpgrade,
		"timezone": &c.Timezone, "manage_etc_hosts": &c.ManageEtcHosts, "final_message": &c.FinalMessage, "power_state": &c.PowerState,
		"system_info": &c.SystemInfo,
	}
	for _, name := range sorted(keys) {
		key := name
		if a := aliases()[name]; a != "" {
			key = a
		}
		into := known[key]
		switch {
		case into == nil && slices.Contains(quiet(), name):
		case into == nil:
			p.problem("cloud-config key %s is not supported here", name)
		default:
			if err := keys[name].Decode(into); err != nil {
				p.problem("cloud-config key %s: %v", name, err)
			}
		}
	}
	return c
}

func sorted(keys map[string]*yaml.Node) []string {
	var names []string
	for name := range keys {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Strings is a list, or one string, perhaps of several words or lines.
type Strings []string

// UnmarshalYAML takes both forms.
func (s *Strings) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.ScalarNode {
		*s = nil
		for _, line := range strings.FieldsFunc(n.Value, func(r rune) bool { return r == '\n' || r == ',' }) {
			if line = strings.TrimSpace(line); line != "" && n.Tag != "!!null" {
				*s = append(*s, line)
			}
		}
		return nil
	}
	return n.Decode((*[]string)(s))
}

// Commands are lines of a shell script: items that are lists are quoted.
type Commands []string

// UnmarshalYAML reads strings and lists of words.
func (c *Commands) UnmarshalYAML(n *yaml.Node) error {
	var items []yaml.Node
	if err := n.Decode(&items); err != nil {
		return err
	}
	for i, item := range items {
		switch item.Kind {
		case yaml.ScalarNode:
			if item.Tag != "!!null" {
				*c = append(*c, item.Value)
			}
		case yaml.SequenceNode:
			var words []string
			if err := item.Decode(&words); err != nil {
				return err
			}
			*c = append(*c, shell.Join(words...))
		default:
			return fmt.Errorf("item %d is neither a string nor a list", i+1)
		}
	}
	return nil
}

// Packages are names; a list of two is a name and a version.
type Packages []string

// UnmarshalYAML writes a version as apt takes it.
func (p *Packages) UnmarshalYAML(n *yaml.Node) error {
	var items []yaml.Node
	if err := n.Decode(&items); err != nil {
		return err
	}
	for i, item := range items {
		var words []string
		switch item.Kind {
		case yaml.ScalarNode:
			words = []string{item.Value}
		case yaml.SequenceNode:
			if err := item.Decode(&words); err != nil {
				return err
			}
		default:
			return fmt.Errorf("item %d is neither a name nor a name and a version", i+1)
		}
		*p = append(*p, strings.Join(words, "="))
	}
	return nil
}

// UnmarshalYAML decodes the content.
func (f *File) UnmarshalYAML(n *yaml.Node) error {
	var raw struct {
		Path, Content, Encoding, Owner string
		Permissions                    yaml.Node
		Append, Defer                  bool
		Source                         *yaml.Node
	}
	if err := n.Decode(&raw); err != nil {
		return err
	}
	*f = File{Path: raw.Path, Owner: raw.Owner, Append: raw.Append, Defer: raw.Defer, Permissions: 0o644}
	if raw.Path == "" || raw.Source != nil {
		return fmt.Errorf("line %d: want a path and a content", n.Line)
	}
	if v := raw.Permissions.Value; v != "" {
		mode, err := strconv.ParseUint(strings.TrimPrefix(v, "0o"), 8, 32)
		if err != nil {
			return fmt.Errorf("permissions %q of %s are no octal number", v, f.Path)
		}
		f.Permissions = uint32(mode)
	}
	var err error
	if f.Content, err = content(raw.Content, raw.Encoding); err != nil {
		return fmt.Errorf("content of %s: %w", f.Path, err)
	}
	return nil
}

// content undoes an encoding like "gz+b64".
func content(text, encoding string) ([]byte, error) {
	data := []byte(text)
	steps := strings.Split(strings.ToLower(encoding), "+")
	slices.Reverse(steps)
	for _, step := range steps {
		var err error
		switch step {
		case "", "text/plain", "text":
		case "b64", "base64":
			data, err = base64.StdEncoding.DecodeString(string(bytes.Join(bytes.Fields(data), nil)))
		case "gz", "gzip":
			data, err = gunzip(data)
		default:
			err = fmt.Errorf("encoding %q is unknown", step)
		}
		if err != nil {
			return nil, err
		}
	}
	return data, nil
}
