package sshtest

import (
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

// login runs a command on the server with the OpenSSH client.
func login(t *testing.T, s *Server, user, command string) string {
	t.Helper()
	cmd := exec.Command("ssh", "-F", "none", "-p", strconv.Itoa(s.Port), "-i", s.KeyFile, "-o", "BatchMode=yes",
		"-o", "UserKnownHostsFile="+s.KnownHosts, user+"@"+s.Host, command)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v: %s", command, err, out)
	}
	return strings.TrimSpace(string(out))
}

func TestTheServerHasItsOwnAccountsAndBootID(t *testing.T) {
	s := Start(t, Options{Accounts: []Account{{Name: "deploy", Password: "x", Sudo: "nopasswd"}}})
	if got := login(t, s, "root", "id -un; cat /proc/sys/kernel/random/boot_id"); !strings.HasPrefix(got, "root\n1111") {
		t.Errorf("got %q", got)
	}
	if got := login(t, s, "deploy", "id -un; sudo -n id -u"); got != "deploy\n0" {
		t.Errorf("got %q", got)
	}
	if err := s.Reboot(); err != nil {
		t.Fatal(err)
	}
	if got := login(t, s, "root", "cat /proc/sys/kernel/random/boot_id"); !strings.HasPrefix(got, "2222") {
		t.Errorf("after a reboot: %q", got)
	}
}

func TestALinkDelaysAndSurvivesAReboot(t *testing.T) {
	s := Start(t, Options{Delay: 40 * time.Millisecond})
	began := time.Now()
	if got := login(t, s, "root", "echo hi"); got != "hi" {
		t.Errorf("got %q", got)
	}
	if d := time.Since(began); d < 400*time.Millisecond {
		t.Errorf("a login over 80 ms took %v", d)
	}
	if err := s.Reboot(); err != nil {
		t.Fatal(err)
	}
	login(t, s, "root", "true")
}
