package network

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// answerTime is how long one of this machine's name servers may take.
const answerTime = 5 * time.Second

// names answers questions to the network's name server.
func (o *outbound) names(c net.Conn) {
	if !o.keep(c) {
		return
	}
	defer o.drop(c)
	buf := make([]byte, 4096)
	for {
		_ = c.SetReadDeadline(time.Now().Add(udpIdle))
		n, err := c.Read(buf)
		if err != nil {
			return
		}
		question := append([]byte(nil), buf[:n]...)
		go func() { // a resolver asks for both kinds of address at once
			if answer := o.port.answer(question); answer != nil {
				_, _ = c.Write(answer)
			}
		}()
	}
}

// answer knows the containers of the group, and asks this machine's name
// servers about all others.
func (p *Port) answer(question []byte) []byte {
	var m dnsmessage.Message
	if m.Unpack(question) != nil || len(m.Questions) != 1 {
		return nil
	}
	q := m.Questions[0]
	if addr, ok := p.lookUp(strings.TrimSuffix(q.Name.String(), ".")); ok {
		return reply(m, addr)
	}
	servers, err := nameServers()
	if err == nil {
		for _, s := range servers {
			if answer, err := ask(s, question); err == nil {
				return answer
			}
		}
	}
	return failure(m)
}

// lookUp finds a container by its name, with or without AWS's domain.
func (p *Port) lookUp(name string) (netip.Addr, bool) {
	name = strings.ToLower(name)
	if name == "localhost" {
		return loopback, true
	}
	if host, domain, ok := strings.Cut(name, "."); ok && strings.HasSuffix(domain, "internal") {
		name = host
	}
	return p.network.named(p.Group, name)
}

// reply gives an address; a question for another kind of record has no answer.
func reply(m dnsmessage.Message, addr netip.Addr) []byte {
	m.Header.Response, m.Header.RecursionAvailable = true, true
	m.Additionals = nil
	q := m.Questions[0]
	if q.Type == dnsmessage.TypeA {
		m.Answers = []dnsmessage.Resource{{
			Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 5},
			Body:   &dnsmessage.AResource{A: addr.As4()},
		}}
	}
	data, err := m.Pack()
	if err != nil {
		return nil
	}
	return data
}

func failure(m dnsmessage.Message) []byte {
	m.Header.Response, m.Header.RCode = true, dnsmessage.RCodeServerFailure
	m.Additionals = nil
	data, err := m.Pack()
	if err != nil {
		return nil
	}
	return data
}

func ask(server string, question []byte) ([]byte, error) {
	c, err := net.DialTimeout("udp", server, answerTime)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(answerTime)); err != nil {
		return nil, err
	}
	if _, err := c.Write(question); err != nil {
		return nil, err
	}
	buf := make([]byte, 64<<10)
	n, err := c.Read(buf)
	return buf[:n], err
}

// dialServer connects to the first of this machine's name servers.
func dialServer(ctx context.Context, protocol string) (net.Conn, error) {
	servers, err := nameServers()
	if err != nil {
		return nil, err
	}
	if len(servers) == 0 {
		return nil, errors.New("this machine has no name server")
	}
	var d net.Dialer
	return d.DialContext(ctx, protocol, servers[0])
}

// nameServers are those of resolv.conf(5). It is read each time: a laptop moves.
func nameServers() ([]string, error) {
	data, err := os.ReadFile("/etc/resolv.conf")
	if err != nil {
		return nil, err
	}
	var all []string
	for line := range strings.Lines(string(data)) {
		if f := strings.Fields(line); len(f) >= 2 && f[0] == "nameserver" {
			all = append(all, net.JoinHostPort(f[1], "53"))
		}
	}
	return all, nil
}
