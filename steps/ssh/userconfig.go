package ssh

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/user"
	"strconv"
	"strings"
	"time"

	"github.com/kevinburke/ssh_config"
)

// defaultIdentities are the keys that the OpenSSH client tries unasked.
func defaultIdentities() []Key {
	var keys []Key
	for _, name := range []string{"id_ed25519", "id_ecdsa", "id_rsa"} {
		keys = append(keys, Key{File: expandHome("~/.ssh/" + name), Optional: true})
	}
	return keys
}

// userConfig is a file in the format of ssh_config(5), the system's behind it.
type userConfig struct {
	files []*ssh_config.Config
}

func readUserConfig(path string) (*userConfig, error) {
	var u userConfig
	for _, p := range []string{expandHome(path), "/etc/ssh/ssh_config"} {
		f, err := os.Open(p)
		if errors.Is(err, os.ErrNotExist) && (p != expandHome(path) || path == "~/.ssh/config") {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("reading SSH config: %w", err)
		}
		config, err := ssh_config.Decode(f)
		f.Close()
		if err != nil {
			return nil, fmt.Errorf("reading SSH config %s: %w", p, err)
		}
		u.files = append(u.files, config)
	}
	return &u, nil
}

// get returns the first value of a key; "none" is no value.
func (u *userConfig) get(alias, key string) string {
	for _, f := range u.files {
		if v, _ := f.Get(alias, key); v != "" {
			return unquote(v)
		}
	}
	return ""
}

func (u *userConfig) all(alias, key string) []string {
	var all []string
	for _, f := range u.files {
		values, _ := f.GetAll(alias, key)
		for _, v := range values {
			all = append(all, unquote(v))
		}
	}
	return all
}

func unquote(v string) string {
	if len(v) > 1 && v[0] == '"' && v[len(v)-1] == '"' {
		return v[1 : len(v)-1]
	}
	return v
}

// fromUserConfig returns c with what it leaves open taken from its UserConfig.
func (c Config) fromUserConfig() (Config, error) {
	u, err := readUserConfig(c.UserConfig)
	if err != nil {
		return c, err
	}
	alias := c.Host
	if c.Hop, err = u.hop(c.Hop); err != nil {
		return c, err
	}
	for _, l := range []struct {
		into *[]string
		key  string
	}{{&c.Ciphers, "Ciphers"}, {&c.KeyExchanges, "KexAlgorithms"}, {&c.MACs, "MACs"}} {
		// A list that changes the OpenSSH client's own ("+x") says nothing about ours.
		if v := u.get(alias, l.key); *l.into == nil && v != "" && !strings.ContainsAny(v[:1], "+-^") {
			*l.into = strings.Split(v, ",")
		}
	}
	if s, err := strconv.Atoi(u.get(alias, "ServerAliveInterval")); err == nil && s > 0 && c.KeepAlive == 0 {
		c.KeepAlive = time.Duration(s) * time.Second
	}
	if c.Proxy != "" || c.ProxyCommand != "" || len(c.Jumps) > 0 {
		for i, j := range c.Jumps {
			if c.Jumps[i], err = u.hop(j); err != nil {
				return c, err
			}
		}
		return c, nil
	}
	if c.Jumps, err = u.jumps(alias, 0); err != nil || len(c.Jumps) > 0 {
		return c, err
	}
	if command := u.get(alias, "ProxyCommand"); command != "" && command != "none" {
		c.ProxyCommand = u.expand(command, alias, c.Hop)
	}
	return c, nil
}

// jumps returns the machines that ProxyJump says to go through, nearest first.
func (u *userConfig) jumps(alias string, depth int) ([]Hop, error) {
	list := u.get(alias, "ProxyJump")
	if list == "" || list == "none" {
		return nil, nil
	}
	if depth > 8 {
		return nil, fmt.Errorf("reading SSH config: ProxyJump of %s leads in a circle", alias)
	}
	var all []Hop
	for i, text := range strings.Split(list, ",") {
		h, err := ParseHop(strings.TrimSpace(text))
		if err != nil {
			return nil, err
		}
		if i == 0 {
			before, err := u.jumps(h.Host, depth+1)
			if err != nil {
				return nil, err
			}
			all = append(all, before...)
		}
		if h, err = u.hop(h); err != nil {
			return nil, err
		}
		all = append(all, h)
	}
	return all, nil
}

// ParseHop reads [ssh://][user@]host[:port], as ProxyJump has it.
func ParseHop(text string) (Hop, error) {
	var h Hop
	rest := strings.TrimPrefix(text, "ssh://")
	if i := strings.LastIndexByte(rest, '@'); i >= 0 {
		h.User, rest = rest[:i], rest[i+1:]
		if u, err := url.PathUnescape(h.User); err == nil && rest != text {
			h.User = u
		}
	}
	host, port, err := net.SplitHostPort(rest)
	if err != nil {
		host, port = strings.Trim(rest, "[]"), "0"
	}
	h.Host = host
	if h.Port, err = strconv.Atoi(port); err != nil || host == "" || h.Port < 0 || h.Port > 65535 {
		return h, fmt.Errorf("SSH host %q: want [USER@]HOST[:PORT]", text)
	}
	return h, nil
}

// hop fills in what a hop leaves open.
func (u *userConfig) hop(h Hop) (Hop, error) {
	alias := h.Host
	if h.Port == 0 {
		h.Port, _ = strconv.Atoi(u.get(alias, "Port"))
	}
	if h.User == "" {
		h.User = u.get(alias, "User")
	}
	if h.User == "" {
		if me, err := user.Current(); err == nil {
			h.User = me.Username
		}
	}
	if name := u.get(alias, "HostName"); name != "" {
		h.Host = strings.ReplaceAll(name, "%h", alias)
	}
	if len(h.HostKeys.Pinned) == 0 && !h.HostKeys.Console {
		h.HostKeys = u.hostKeys(alias, h)
	}
	h.Auth = u.auth(alias, h)
	return h, nil
}

func (u *userConfig) hostKeys(alias string, h Hop) HostKeys {
	k := h.HostKeys
	if k.Alias == "" {
		k.Alias = u.get(alias, "HostKeyAlias")
	}
	if len(k.KnownHosts) > 0 {
		return k
	}
	for _, key := range []string{"UserKnownHostsFile", "GlobalKnownHostsFile"} {
		for _, f := range strings.Fields(u.get(alias, key)) {
			k.KnownHosts = append(k.KnownHosts, u.expand(f, alias, h))
		}
	}
	return k
}

func (u *userConfig) auth(alias string, h Hop) Auth {
	a := h.Auth
	explicit := len(a.Keys) > 0
	if !explicit {
		for _, f := range u.all(alias, "IdentityFile") {
			if f != "none" {
				a.Keys = append(a.Keys, Key{File: u.expand(f, alias, h), Optional: true})
			}
		}
		if len(a.Keys) == 0 {
			a.Keys = defaultIdentities()
		}
		var certified []Key
		for _, cert := range u.all(alias, "CertificateFile") {
			for _, k := range a.Keys {
				k.Certificate = u.expand(cert, alias, h) // it fits one of them; Optional leaves the others out
				certified = append(certified, k)
			}
		}
		a.Keys = append(certified, a.Keys...)
	}
	only := strings.EqualFold(u.get(alias, "IdentitiesOnly"), "yes")
	if a.Agent == "" && !explicit && !only && a.Password == "" {
		switch socket := u.get(alias, "IdentityAgent"); socket {
		case "none":
		case "", "SSH_AUTH_SOCK":
			if os.Getenv("SSH_AUTH_SOCK") != "" {
				a.Agent = "env"
			}
		default:
			a.Agent = u.expand(socket, alias, h)
		}
	}
	return a
}

// expand replaces the tokens of ssh_config(5).
func (u *userConfig) expand(text, alias string, h Hop) string {
	h = h.withDefaults()
	home, _ := os.UserHomeDir()
	me := ""
	if current, err := user.Current(); err == nil {
		me = current.Username
	}
	return expandHome(strings.NewReplacer("%%", "%", "%h", h.Host, "%n", alias, "%p", strconv.Itoa(h.Port), "%r", h.User, "%d", home, "%u", me).Replace(text))
}
