package ssh

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"time"

	"bake/builder"
	"bake/templates"
)

// Source runs steps on a machine that exists. Its artifact is that machine as
// the steps left it; tests run on the machine itself.
type Source struct {
	Host         string            `yaml:"host" bake:"main,required" doc:"The machine: [USER@]HOST[:PORT], or a Host of the SSH config."`
	Port         int               `yaml:"port" min:"1" max:"65535" doc:"Its SSH port; default 22."`
	User         string            `yaml:"user" doc:"Who logs in; default: root, or what the SSH config says."`
	Key          templates.Strings `yaml:"key" doc:"Private key files; default: the agent's keys and those in ~/.ssh."`
	KeyText      string            `yaml:"key_text" doc:"A private key itself, from a sensitive variable."`
	Passphrase   string            `yaml:"passphrase" doc:"Of the private keys; default: bake asks for it on a terminal."`
	ForwardKeys  templates.Strings `yaml:"forward_keys" doc:"Private key files that programs on the machine may use through SSH_AUTH_SOCK, as the login's user or root; or agent: the keys of your SSH agent. They stay here."`
	Certificate  string            `yaml:"certificate" doc:"Certificate file of the first key; default: KEY-cert.pub if there is one."`
	Agent        *bool             `yaml:"agent" doc:"Whether the SSH agent's keys are offered; default: if no key and no password is given."`
	Password     string            `yaml:"password" doc:"The login's password, also for keyboard-interactive."`
	HostKey      templates.Strings `yaml:"host_key" doc:"The machine's public key (ssh-ed25519 AAAA...) or fingerprint (SHA256:...); default: what known_hosts says."`
	KnownHosts   templates.Strings `yaml:"known_hosts" doc:"Files that vouch for host keys; default: ~/.ssh/known_hosts and the system's."`
	Config       *Enabled          `yaml:"config" doc:"Honour ~/.ssh/config (true), or another file in its format."`
	Jump         []Jump            `yaml:"jump" doc:"Machines to go through, the nearest first."`
	Proxy        string            `yaml:"proxy" doc:"SOCKS5 proxy: socks5://[user:password@]host:port."`
	ProxyCommand string            `yaml:"proxy_command" doc:"Command whose stdin and stdout lead to the machine."`
	Sudo         *Enabled          `yaml:"sudo" doc:"Run steps as root (true) or as another user, with sudo."`
	SudoPassword string            `yaml:"sudo_password" doc:"What sudo asks for; default: the login's password."`
	TTY          bool              `yaml:"tty" doc:"Give every script a terminal."`
	Timeout      time.Duration     `yaml:"timeout" default:"5m" min:"1s" doc:"How long the machine may take to answer."`

	passphrases *Passphrases
}

// A Jump is a machine on the way to another.
type Jump struct {
	Host       string            `yaml:"host" bake:"main,required" doc:"[USER@]HOST[:PORT]."`
	Port       int               `yaml:"port" min:"1" max:"65535" doc:"Its SSH port; default 22."`
	User       string            `yaml:"user" doc:"Who logs in; default: the same as at the end."`
	Key        templates.Strings `yaml:"key" doc:"Private key files; default: those for the machine at the end."`
	Passphrase string            `yaml:"passphrase" doc:"Of the private keys."`
	Password   string            `yaml:"password" doc:"The login's password."`
	HostKey    templates.Strings `yaml:"host_key" doc:"Its public key or fingerprint; default: what known_hosts says."`
}

// Enabled is true, false or a value: sudo's user, the SSH config's file.
type Enabled struct {
	On    bool
	Value string
}

// UnmarshalBlock reads true, false or a string.
func (e *Enabled) UnmarshalBlock(b templates.Block) templates.Diagnostics {
	if b.Unresolved() {
		return nil
	}
	var v any
	if err := json.Unmarshal(b.JSON(), &v); err == nil {
		switch v := v.(type) {
		case bool:
			*e = Enabled{On: v}
			return nil
		case string:
			*e = Enabled{On: v != "", Value: v}
			return nil
		}
	}
	return templates.Diagnostics{b.Errorf("want true, false or a name")}
}

// JSONSchema says so to editors.
func (*Enabled) JSONSchema() map[string]any {
	return map[string]any{"type": []string{"boolean", "string"}}
}

// NewSource returns what makes sources that wait for their template. They ask
// p for the passphrases of encrypted keys; nil: nobody is asked.
func NewSource(p *Passphrases) func() builder.Source {
	return func() builder.Source { return &Source{passphrases: p} }
}

// Makes says that the artifact is the machine.
func (s *Source) Makes() builder.ArtifactKind { return builder.HostArtifact }

// String is what the step is called.
func (s *Source) String() string { return "ssh " + s.Host }

// Validate checks what the tags cannot say.
func (s *Source) Validate(b templates.Block) templates.Diagnostics {
	var ds templates.Diagnostics
	if h, err := ParseHop(s.Host); err != nil && s.Host != "" {
		ds = append(ds, b.At("host").Errorf("%v", err))
	} else if h.User != "" && s.User != "" && h.User != s.User {
		ds = append(ds, b.At("user").Errorf("user %q: host names another, %q", s.User, h.User))
	} else if h.Port != 0 && s.Port != 0 && h.Port != s.Port {
		ds = append(ds, b.At("port").Errorf("port %d: host names another, %d", s.Port, h.Port))
	}
	if s.Proxy != "" {
		if u, err := url.Parse(s.Proxy); err != nil || u.Host == "" || u.Scheme != "socks5" && u.Scheme != "socks5h" {
			ds = append(ds, b.At("proxy").Errorf("proxy: want socks5://[USER:PASSWORD@]HOST:PORT"))
		}
		if s.ProxyCommand != "" {
			ds = append(ds, b.At("proxy_command").Errorf("proxy and proxy_command exclude each other"))
		}
	}
	ds = append(ds, CheckForward(b, s.ForwardKeys)...)
	for i, j := range s.Jump {
		if _, err := ParseHop(j.Host); err != nil && j.Host != "" {
			ds = append(ds, b.At("jump", fmt.Sprint(i), "host").Errorf("%v", err))
		}
	}
	return ds
}

// Pin names the machine. What is on it is not known beforehand, so its steps
// are never taken from a cache.
func (s *Source) Pin(_ context.Context, _ builder.PinEnv) (builder.Pin, error) {
	h := s.hop()
	name := fmt.Sprintf("%s@%s:%d", h.User, h.Host, h.Port)
	return builder.Pin{
		Digest:  builder.Digest(fmt.Sprintf("sha256:%x", sha256.Sum256([]byte("ssh\x00"+name)))),
		Values:  map[string]string{"host": h.Host, "user": h.User},
		Summary: "machine " + h.Host,
	}, nil
}

// Open proves that the machine can be logged in to and runs commands. The
// steps go on with its connection.
func (s *Source) Open(ctx context.Context, sc *builder.Scope, from builder.Opening) (builder.Machine, error) {
	c := s.Settings(from.Dir, sc.Log)
	for _, file := range c.Auth.exposed() {
		sc.Log("other users of this machine can read the private key %s: chmod 600 %[1]s", file)
	}
	m, err := Connect(ctx, c)
	if err != nil {
		return builder.Machine{}, err
	}
	facts, err := m.Facts(ctx)
	if err != nil {
		return builder.Machine{}, errors.Join(err, m.Close())
	}
	sc.Connected(m)
	where := m.config.User + "@" + m.config.Addr()
	sc.Log("connected to %s: %s %s", where, facts.OS, facts.Machine)
	if from.Test {
		sc.Log("tests run on the same machine: this kind of source has no other")
	}
	id := facts.MachineID
	if id == "" {
		id = where
	}
	return builder.Machine{ID: id, Where: where, Platform: facts.Platform(),
		Detail: map[string]string{"address": m.config.Addr(), "user": m.config.User, "machine_id": facts.MachineID}}, nil
}

// Dial connects to the machine.
func (s *Source) Dial(ctx context.Context, sc *builder.Scope, _ builder.Machine) (builder.Communicator, error) {
	return Connect(ctx, s.Settings(sc.Dir, sc.Log))
}

// Freeze makes nothing: the artifact is the machine.
func (s *Source) Freeze(_ context.Context, _ *builder.Scope, m builder.Machine, _ builder.Freezing) (builder.Artifact, error) {
	return builder.Artifact{Host: &builder.Host{Address: m.Detail["address"], User: m.Detail["user"], ID: m.Detail["machine_id"]}}, nil
}

// Settings returns how to reach the machine. Relative paths start in dir.
func (s *Source) Settings(dir string, log func(string, ...any)) Config {
	c := Config{
		Hop:   s.hop(),
		Proxy: s.Proxy, ProxyCommand: s.ProxyCommand, TTY: s.TTY, Patience: s.Timeout, Log: log,
	}
	c.HostKeys = HostKeys{Pinned: s.HostKey, KnownHosts: paths(dir, s.KnownHosts)}
	if s.passphrases != nil && s.passphrases.ask != nil {
		c.Passphrase = s.passphrases.of
	}
	if s.Config != nil && s.Config.On {
		c.UserConfig = "~/.ssh/config"
		if s.Config.Value != "" {
			c.UserConfig = paths(dir, []string{s.Config.Value})[0]
		}
	}
	c.Auth = s.auth(dir, c.UserConfig != "")
	if s.Sudo != nil && s.Sudo.On {
		c.Become = Become{User: "root", Password: s.SudoPassword}
		if s.Sudo.Value != "" {
			c.Become.User = s.Sudo.Value
		}
	}
	if c.Become.Password = s.SudoPassword; c.Become.Password == "" {
		c.Become.Password = s.Password
	}
	c.Forward = s.forward(dir)
	for _, j := range s.Jump {
		c.Jumps = append(c.Jumps, j.hop(dir, c.Hop))
	}
	return c
}

// hop is the machine itself, without what it proves itself with.
func (s *Source) hop() Hop {
	h, err := ParseHop(s.Host)
	if err != nil {
		h = Hop{Host: s.Host} // Validate has said so
	}
	if s.Port != 0 {
		h.Port = s.Port
	}
	if s.User != "" {
		h.User = s.User
	}
	return h
}

// ownAgent stands for the user's SSH agent among forward_keys.
const ownAgent = "agent"

// CheckForward is what is wrong with the forward_keys of a block.
func CheckForward(b templates.Block, keys templates.Strings) templates.Diagnostics {
	if len(keys) > 1 && slices.Contains(keys, ownAgent) {
		d := b.At("forward_keys").Errorf("the SSH agent stands alone: its keys are all that is forwarded then")
		d.Hint = "add the other keys to the agent with ssh-add"
		return templates.Diagnostics{d}
	}
	return nil
}

func (s *Source) forward(dir string) Forwarded {
	if slices.Contains(s.ForwardKeys, ownAgent) {
		return Forwarded{Agent: "env"}
	}
	var f Forwarded
	for _, name := range paths(dir, s.ForwardKeys) {
		f.Keys = append(f.Keys, Key{File: name, Passphrase: s.Passphrase})
	}
	return f
}

func (s *Source) auth(dir string, configured bool) Auth {
	a := Auth{Password: s.Password}
	for _, f := range paths(dir, s.Key) {
		a.Keys = append(a.Keys, Key{File: f, Passphrase: s.Passphrase})
	}
	if s.KeyText != "" {
		a.Keys = append(a.Keys, Key{PEM: []byte(s.KeyText), Passphrase: s.Passphrase})
	}
	if s.Certificate != "" && len(a.Keys) > 0 {
		a.Keys[0].Certificate = paths(dir, []string{s.Certificate})[0]
	}
	unsaid := len(a.Keys) == 0 && s.Password == ""
	if s.Agent != nil && *s.Agent || s.Agent == nil && unsaid && !configured && os.Getenv("SSH_AUTH_SOCK") != "" {
		a.Agent = "env"
	}
	if unsaid && !configured && a.Agent == "" {
		a.Keys = defaultIdentities()
	} else if unsaid && !configured && s.Agent == nil {
		a.Keys = append(a.Keys, defaultIdentities()...)
	}
	return a
}

func (j Jump) hop(dir string, last Hop) Hop {
	h, err := ParseHop(j.Host)
	if err != nil {
		h.Host = j.Host // Validate has said so
	}
	if j.Port != 0 {
		h.Port = j.Port
	}
	if j.User != "" {
		h.User = j.User
	}
	if h.User == "" {
		h.User = last.User
	}
	h.HostKeys = HostKeys{Pinned: j.HostKey, KnownHosts: last.HostKeys.KnownHosts}
	h.Auth = last.Auth
	if len(j.Key) > 0 || j.Password != "" {
		h.Auth = Auth{Password: j.Password}
		for _, f := range paths(dir, j.Key) {
			h.Auth.Keys = append(h.Auth.Keys, Key{File: f, Passphrase: j.Passphrase})
		}
	}
	return h
}

// paths makes relative paths start in dir; ~/ is the home directory.
func paths(dir string, list []string) []string {
	var all []string
	for _, p := range list {
		if p = expandHome(p); !filepath.IsAbs(p) {
			p = filepath.Join(dir, p)
		}
		all = append(all, p)
	}
	return all
}
