package sshd

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
)

// A Server answers connections.
type Server struct {
	// Program is this program, as a path: it is run for SFTP of users but root,
	// with SFTPName as the name that it is called by.
	Program, SFTPName string
	config            *ssh.ServerConfig
}

// loginTime is how long a connection may take until somebody is logged in.
const loginTime = 120 * time.Second

// New returns a server that proves itself with the keys.
func New(keys []ssh.Signer) *Server {
	s := &Server{config: &ssh.ServerConfig{PublicKeyCallback: authorize, MaxAuthTries: 6, ServerVersion: "SSH-2.0-bake"}}
	for _, k := range keys {
		s.config.AddHostKey(k)
	}
	return s
}

// Serve answers the connections of a listener until it is closed.
func (s *Server) Serve(l net.Listener) error {
	for {
		c, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		go s.connection(c)
	}
}

// What authorize tells the session, in ssh.Permissions.Extensions.
const forcedCommand = "command"

// Lent is the folder of keys that are let in for a while, in a file for each
// user: lines of a time, in nanoseconds since the epoch, and a key.
const Lent = "/run/bake/lent"

// lent reports whether a key may log in for a while.
func lent(user string, key ssh.PublicKey) bool {
	data, err := os.ReadFile(filepath.Join(Lent, filepath.Base(user)))
	if err != nil {
		return false
	}
	for line := range bytes.Lines(data) {
		until, rest, _ := bytes.Cut(line, []byte(" "))
		allowed, _, _, _, err := ssh.ParseAuthorizedKey(rest)
		nanos, nerr := strconv.ParseInt(string(until), 10, 64)
		if err == nil && nerr == nil && bytes.Equal(allowed.Marshal(), key.Marshal()) && time.Now().UnixNano() < nanos {
			return true
		}
	}
	return false
}

// authorize looks a key up in the user's ~/.ssh/authorized_keys, and among those lent.
func authorize(meta ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
	a, err := lookUp(meta.User())
	if err != nil {
		return nil, err
	}
	if lent(meta.User(), key) {
		return &ssh.Permissions{}, nil
	}
	data, err := os.ReadFile(filepath.Join(a.home, ".ssh", "authorized_keys"))
	if err != nil {
		return nil, err
	}
	for line := range bytes.Lines(data) {
		allowed, _, options, _, err := ssh.ParseAuthorizedKey(line)
		if err != nil || !bytes.Equal(allowed.Marshal(), key.Marshal()) {
			continue
		}
		p := &ssh.Permissions{Extensions: map[string]string{}}
		for _, o := range options {
			if command, ok := strings.CutPrefix(o, `command="`); ok {
				p.Extensions[forcedCommand] = strings.ReplaceAll(strings.TrimSuffix(command, `"`), `\"`, `"`)
			}
		}
		return p, nil
	}
	return nil, fmt.Errorf("the key is not in %s/.ssh/authorized_keys", a.home)
}

// connection serves one connection to its end.
func (s *Server) connection(c net.Conn) {
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(loginTime)) // a connection that is gone ends by itself
	conn, channels, requests, err := ssh.NewServerConn(c, s.config)
	if err != nil {
		return
	}
	defer conn.Close()
	_ = c.SetDeadline(time.Time{})
	who, err := lookUp(conn.User())
	if err != nil {
		return
	}
	go globalRequests(requests)
	var open sync.WaitGroup
	for ch := range channels {
		switch ch.ChannelType() {
		case "session":
			channel, requests, err := ch.Accept()
			if err != nil {
				return
			}
			open.Go(func() { s.session(conn, who, channel, requests) })
		case "direct-tcpip":
			open.Go(func() { forward(ch) })
		default:
			_ = ch.Reject(ssh.UnknownChannelType, "only sessions and direct-tcpip")
		}
	}
	open.Wait()
}

// globalRequests answers what is no part of a channel: the peer asking for a sign of life.
func globalRequests(requests <-chan *ssh.Request) {
	for r := range requests {
		if r.WantReply {
			_ = r.Reply(r.Type == "keepalive@openssh.com", nil)
		}
	}
}

// forward connects a channel to an address that this machine reaches (RFC 4254, 7.2).
func forward(ch ssh.NewChannel) {
	var to struct {
		Host   string
		Port   uint32
		From   string
		Source uint32
	}
	if err := ssh.Unmarshal(ch.ExtraData(), &to); err != nil {
		_ = ch.Reject(ssh.ConnectionFailed, "malformed request")
		return
	}
	c, err := net.DialTimeout("tcp", net.JoinHostPort(to.Host, fmt.Sprint(to.Port)), 30*time.Second)
	if err != nil {
		_ = ch.Reject(ssh.ConnectionFailed, err.Error())
		return
	}
	defer c.Close()
	channel, requests, err := ch.Accept()
	if err != nil {
		return
	}
	defer channel.Close()
	go ssh.DiscardRequests(requests)
	done := make(chan struct{})
	go func() {
		_, _ = io.Copy(c, channel)
		if t, ok := c.(*net.TCPConn); ok {
			_ = t.CloseWrite()
		}
		close(done)
	}()
	_, _ = io.Copy(channel, c)
	_ = channel.CloseWrite()
	<-done
}
