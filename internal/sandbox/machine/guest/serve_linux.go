package guest

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"bake/internal/sandbox/machine/sshd"
)

// openSSH is where distributions have OpenSSH's server.
const openSSH = "/usr/sbin/sshd"

// serve lets people log in: with the machine's own OpenSSH, else with bake's
// server. OpenSSH needs more than one user id.
func (m *machine) serve() error {
	if exists(openSSH) && !m.OneID {
		return m.serveOpenSSH()
	}
	keys, err := signers()
	if err != nil {
		return err
	}
	if len(keys) == 0 {
		return errors.New("there is no host key")
	}
	l, err := net.Listen("tcp", m.Listen)
	if err != nil {
		return err
	}
	server := sshd.New(keys)
	server.Program, server.SFTPName = Program, sftpName
	go func() {
		if err := server.Serve(l); err != nil {
			m.say("[%s] serving SSH: %v", m.InstanceID, err)
		}
	}()
	return nil
}

// serveOpenSSH starts OpenSSH with the image's own configuration and returns when it listens.
func (m *machine) serveOpenSSH() error {
	host, port, err := net.SplitHostPort(m.Listen)
	if err != nil {
		return err
	}
	args := []string{"-D"}
	if host != "" {
		args = append(args, "-p", port, "-o", "ListenAddress="+host)
	}
	cmd := exec.Command(openSSH, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	m.sshd = cmd
	ended := make(chan error, 1)
	go func() {
		for sc := bufio.NewScanner(stderr); sc.Scan(); {
			m.say("[%s] sshd: %s", m.InstanceID, strings.TrimSpace(sc.Text()))
		}
		ended <- cmd.Wait()
	}()
	return m.awaitListener(host, port, ended)
}

// awaitListener returns when sshd listens, or has ended. In a network of the
// machine's own nothing else listens yet.
func (m *machine) awaitListener(host, port string, ended <-chan error) error {
	up := anyListens
	if host != "" {
		up = func() bool { return listens(net.JoinHostPort(host, port)) }
	}
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); {
		if up() {
			return nil
		}
		select {
		case err := <-ended:
			return fmt.Errorf("sshd ended: %w", err)
		case <-time.After(2 * time.Millisecond): // no one tells when a socket begins to listen
		}
	}
	return errors.New("sshd does not listen")
}
