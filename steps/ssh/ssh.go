// Package ssh runs steps on machines that are reached over SSH: the
// communicator, which other sources use too, and the source kind ssh, for a
// machine that exists already.
//
// A command is one session and one exchange: the script and its environment
// travel on the stream (see bake/internal/shell), the next session is opened
// while a command runs. Files travel in blocks of a few MiB, each a session of
// its own whose exit status confirms it, as many at once as the line has room
// for, over several connections if one is not enough; so a broken connection
// costs the blocks that were under way. Nothing waits for a dead peer for
// longer than Config.DeadAfter.
package ssh

import (
	"context"
	"net"
	"strconv"
	"time"
)

// Config says how to reach and use a machine. Only Host is needed.
type Config struct {
	Hop
	Jumps        []Hop  // machines to go through, the nearest first
	Proxy        string // socks5://[user:password@]host:port, for the first hop
	ProxyCommand string // a shell command whose stdin and stdout lead to the first hop
	// Dial reaches the first hop in a way of its own; nil: over the network.
	// Connect tries again after an error, unless Fatal made it.
	Dial func(ctx context.Context) (net.Conn, error)
	// Prepare is called before each login; nil: nothing is to be done. Its
	// errors are like those of Dial.
	Prepare    func(ctx context.Context) error
	UserConfig string // file in the format of ssh_config(5) that fills in what is not set here

	Become Become // whose rights commands and files get
	// Forward are keys that programs on the machine may use; none as a rule.
	Forward Forwarded
	TTY     bool // a terminal for every script

	// Fresh says that the machine may just have been started, so that a login
	// it refuses may be accepted later: Connect goes on trying.
	Fresh bool
	// Patience is how long Connect tries (default: 5 minutes).
	Patience time.Duration
	// KeepAlive is after how long a silence the peer is asked for a sign of
	// life (default: 5 s), DeadAfter after how long one it is given up (30 s).
	KeepAlive, DeadAfter time.Duration

	Ciphers, KeyExchanges, MACs []string // empty: safe defaults

	// Passphrase is asked for that of an encrypted key that came without one,
	// and returns one that opens it; nil: such a key is an error.
	Passphrase func(ctx context.Context, k Key) (string, error)
	// Log is told what Connect waits for; it may be nil.
	Log func(format string, args ...any)
	// Console returns what the machine has written to its console, for the
	// error when Connect gives up and for HostKeys.Console. It may be nil.
	Console func(ctx context.Context) (string, error)
}

// A Hop is one machine to log in to.
type Hop struct {
	Host     string
	Port     int    // default 22
	User     string // default: the UserConfig's, or root
	Auth     Auth
	HostKeys HostKeys
}

// Addr is the hop's address, HOST:PORT.
func (h Hop) Addr() string { return net.JoinHostPort(h.Host, strconv.Itoa(h.Port)) }

// Become says whose rights commands and files get: sudo's user.
type Become struct {
	User     string // empty: the login's own
	Password string // for sudo; empty: it must not ask for one
}

// Defaults of Config.
const (
	defaultPatience  = 5 * time.Minute
	defaultKeepAlive = 5 * time.Second
	defaultDeadAfter = 30 * time.Second
	handshakeTime    = 30 * time.Second // for key exchange and login of one hop
	startTime        = 60 * time.Second // for the machine's shell to begin with a command
)

// withDefaults returns c with everything set that has a default, and with what
// its UserConfig says.
func (c Config) withDefaults() (Config, error) {
	if c.UserConfig != "" {
		var err error
		if c, err = c.fromUserConfig(); err != nil {
			return c, err
		}
	}
	c.Hop = c.Hop.withDefaults()
	jumps := make([]Hop, len(c.Jumps))
	for i, j := range c.Jumps {
		jumps[i] = j.withDefaults()
	}
	c.Jumps = jumps
	for _, d := range []struct {
		v *time.Duration
		d time.Duration
	}{{&c.Patience, defaultPatience}, {&c.KeepAlive, defaultKeepAlive}, {&c.DeadAfter, defaultDeadAfter}} {
		if *d.v <= 0 {
			*d.v = d.d
		}
	}
	if c.Log == nil {
		c.Log = func(string, ...any) {}
	}
	return c, nil
}

func (h Hop) withDefaults() Hop {
	if h.Port == 0 {
		h.Port = 22
	}
	if h.User == "" {
		h.User = "root"
	}
	return h
}
