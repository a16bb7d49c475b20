package ssh

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"

	gossh "golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

// Forwarded are keys that programs on the machine may sign with (a checkout of
// a private repository), through the agent that SSH_AUTH_SOCK leads them to.
// The keys stay here. Whoever is the login's user or root on the machine can
// use them while bake is connected.
type Forwarded struct {
	Keys  []Key
	Agent string // instead: socket of the SSH agent that is asked; "env": that of $SSH_AUTH_SOCK
}

func (f Forwarded) isZero() bool { return len(f.Keys) == 0 && f.Agent == "" }

// server returns what answers a program that asks; nil if nothing is forwarded.
func (f Forwarded) server() (func(io.ReadWriter) error, error) {
	if f.isZero() {
		return nil, nil
	}
	if f.Agent != "" {
		if f.Agent == "env" && os.Getenv("SSH_AUTH_SOCK") == "" {
			return nil, errors.New("forwarding the SSH agent: SSH_AUTH_SOCK is not set")
		}
		return f.relay, nil
	}
	keyring := agent.NewKeyring()
	for _, k := range f.Keys {
		raw, err := k.raw()
		if err == nil {
			err = keyring.Add(agent.AddedKey{PrivateKey: raw, Comment: k.File})
		}
		if err != nil {
			return nil, fmt.Errorf("forwarding a key: %w", err)
		}
	}
	return func(rw io.ReadWriter) error { return agent.ServeAgent(keyring, rw) }, nil
}

// relay asks the SSH agent of this machine, one connection for each program.
// What it answers is about keys alone: nothing can be added or removed.
func (f Forwarded) relay(rw io.ReadWriter) error {
	socket := f.Agent
	if socket == "env" {
		socket = os.Getenv("SSH_AUTH_SOCK")
	}
	conn, err := net.Dial("unix", expandHome(socket))
	if err != nil {
		return fmt.Errorf("asking the SSH agent: %w", err)
	}
	defer conn.Close()
	return agent.ServeAgent(readOnly{agent.NewClient(conn)}, rw)
}

// readOnly is an agent that lists and signs, and does nothing else.
type readOnly struct{ agent.ExtendedAgent }

var errReadOnly = errors.New("a forwarded agent is not changed")

func (readOnly) Add(agent.AddedKey) error     { return errReadOnly }
func (readOnly) Remove(gossh.PublicKey) error { return errReadOnly }
func (readOnly) RemoveAll() error             { return errReadOnly }
func (readOnly) Lock([]byte) error            { return errReadOnly }
func (readOnly) Unlock([]byte) error          { return errReadOnly }

// Requests and channels of agent forwarding (PROTOCOL.agent of OpenSSH).
const (
	agentRequest = "auth-agent-req@openssh.com"
	agentChannel = "auth-agent@openssh.com"
)

// forward lets programs on the machine ask answer.
func (c *conn) forward(answer func(io.ReadWriter) error) {
	c.agent = true
	asked := c.client.HandleChannelOpen(agentChannel)
	c.done.Go(func() {
		for n := range asked { // until the connection ends
			ch, reqs, err := n.Accept()
			if err != nil {
				continue
			}
			c.done.Go(func() { gossh.DiscardRequests(reqs) })
			c.done.Go(func() {
				_ = answer(ch) // the program sees that it has ended
				ch.Close()
			})
		}
	})
}
