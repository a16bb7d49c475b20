package machine_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"bake/internal/sandbox/machine"
	"bake/internal/sshtest"
	"bake/steps/ssh"
)

func (l *lab) booted(m *machine.Machine) {
	l.t.Helper()
	done := make(chan error, 1)
	go func() { done <- m.Booted(l.t.Context()) }()
	select {
	case err := <-done:
		if err != nil {
			l.t.Fatal(err)
		}
	case <-time.After(60 * time.Second):
		l.t.Fatalf("it does not finish booting\n%s", m.Console())
	}
}

func indent(text, by string) string {
	return by + strings.ReplaceAll(strings.TrimRight(text, "\n"), "\n", "\n"+by)
}

func TestUserDataIsAppliedOncePerInstance(t *testing.T) {
	bases(t, func(t *testing.T, base machine.Base) {
		l := newLab(t, base)
		signer, private := sshtest.NewKey(t, "ed25519")
		data := fmt.Sprintf(`#cloud-config
hostname: named
ssh_keys:
  ed25519_private: |
%s
bootcmd:
  - echo boot >>/root/boots
write_files:
  - {path: /etc/demo/file, content: "written\n", permissions: '0640'}
runcmd:
  - echo run >>/root/runs
  - [sh, -c, "echo $INSTANCE_ID >/root/instance"]
  - echo hello console
`, indent(private, "    "))
		spec := l.spec("i-1")
		spec.UserData = []byte(data)
		m := l.start(spec)
		config := l.config(m, m.Login())
		// The key that user data brought proves the machine, before its console is read.
		config.HostKeys = ssh.HostKeys{Pinned: []string{string(gossh.MarshalAuthorizedKey(signer.PublicKey()))}}
		if m.Login() != "root" {
			config.Become.User = "root"
		}
		c := l.connectWith(config)
		l.booted(m)
		look := func() string {
			return l.sh(c, "hostname; cat /root/boots /root/runs /root/instance /etc/demo/file; stat -c %a /etc/demo/file; [ -e /run/cloud-init/result.json ] && [ -d /var/lib/cloud/instance/ ] && cloud-init status --wait; cat /etc/hostname")
		}
		if got, want := look(), "named\nboot\nrun\ni-1\nwritten\n640\nstatus: done\nnamed"; got != want {
			t.Errorf("first boot:\n%s\nwant\n%s\n%s", got, want, m.Console())
		}
		await(t, "what user data printed to be on the console", func() bool { return strings.Contains(string(m.Console()), "hello console") })
		if keys := hostKeys(m); len(keys) != 1 || !strings.HasPrefix(keys[0], strings.TrimSpace(string(gossh.MarshalAuthorizedKey(signer.PublicKey())))) {
			t.Errorf("the console shows %q", keys)
		}
		if err := m.Reboot(t.Context()); err != nil {
			t.Fatal(err)
		}
		l.booted(m)
		if got, want := look(), "named\nboot\nboot\nrun\ni-1\nwritten\n640\nstatus: done\nnamed"; got != want {
			t.Errorf("after a reboot:\n%s\nwant\n%s", got, want)
		}
		if err := m.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := l.host.Snapshot(t.Context(), spec.Disk, "snap-1"); err != nil {
			t.Fatal(err)
		}
		l.base = "snap-1"
		other := l.spec("i-2")
		other.UserData = []byte("#!/bin/sh\necho run >>/root/runs; echo user data printed >/dev/console\n")
		m = l.start(other)
		l.booted(m)
		config = l.config(m, m.Login())
		if m.Login() != "root" {
			config.Become.User = "root"
		}
		c = l.connectWith(config)
		if got, want := l.sh(c, "hostname; cat /root/boots /root/runs /root/instance"), "host-i-2\nboot\nboot\nrun\nrun\ni-1"; got != want {
			t.Errorf("an instance of the image:\n%s\nwant\n%s\n%s", got, want, m.Console())
		}
		await(t, "the console", func() bool { return strings.Contains(string(m.Console()), "user data printed") })
		// Nothing of the machine's own commands is in the image.
		if got := l.sh(c, "cat /proc/self/mounts | head -1; ls -d /usr/local/sbin/shutdown"); !strings.Contains(got, "overlay") {
			t.Error(got)
		}
	})
}

func TestUsersOfUserDataLogIn(t *testing.T) {
	bases(t, func(t *testing.T, base machine.Base) {
		l := newLab(t, base)
		spec := l.spec("i-1")
		spec.UserData = []byte(fmt.Sprintf("#cloud-config\ndisable_root: false\nusers:\n- default\n- {name: deploy, sudo: 'ALL=(ALL) NOPASSWD:ALL', shell: /bin/sh, ssh_authorized_keys: [%q]}\n", strings.TrimSpace(l.key)))
		m := l.start(spec)
		for _, user := range []string{m.Login(), "deploy", "root"} {
			c := l.connectWith(l.config(m, user))
			if got := l.sh(c, "whoami; cd; pwd"); !strings.HasPrefix(got, user+"\n") {
				t.Errorf("%s: %q", user, got)
			}
		}
	})
}
