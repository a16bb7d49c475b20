package provisioners_test

import (
	"os"
	"strings"
	"testing"

	"bake/internal/chroottest"
	"bake/internal/need"
	"bake/provisioners/provtest"
)

const changed, unchanged = provtest.Changed, provtest.Unchanged

// TestOnARealDebian bootstraps one system for all of its parts.
func TestOnARealDebian(t *testing.T) {
	if testing.Short() {
		t.Skip("bootstraps a Debian system")
	}
	machine := chroottest.Debian(t)
	for _, part := range []struct {
		name string
		test func(*testing.T, *provtest.Bench)
	}{
		{"packages", packages},
		{"services of packages do not start and are enabled", services},
		{"services of systemd are enabled offline", systemdServices},
		{"an ansible playbook through chroot", playbook},
		{"update of all packages", updateAll},
	} {
		t.Run(part.name, func(t *testing.T) { part.test(t, provtest.New(t, machine)) })
	}
}

func packages(t *testing.T, b *provtest.Bench) {
	before := b.Sh(t, "find / -xdev -type f ! -path '/proc/*' ! -path '/usr/*' ! -path '/etc/alternatives/*' ! -path '/var/lib/dpkg/*' ! -path /var/lib/apt/extended_states | sort")
	out := b.Do(t, "package", "{install: [hello, tini]}", changed)
	if out.Note != "installed hello tini" {
		t.Errorf("note %q", out.Note)
	}
	if said := b.Log(); !strings.Contains(said, "Setting up hello") || strings.Contains(said, "debconf: unable") {
		t.Errorf("log:\n%s", said)
	}
	b.Want(t, "hello -g hi", "hi")
	b.Do(t, "package", "{install: [hello, tini]}", unchanged)
	b.Do(t, "package", "{install: hello=2.10-*}", unchanged)
	version := strings.TrimSpace(b.Sh(t, "dpkg-query -W -f '${Version}' hello"))
	b.Do(t, "package", "{install: hello="+version+"}", unchanged)
	if _, err := b.Try(t, "package", "{install: hello=9.9}"); err == nil || !strings.HasPrefix(err.Error(), "installing hello=9.9: exit status 100") {
		t.Errorf("a version that does not exist: %v", err)
	}
	if _, err := b.Try(t, "package", "{install: no-such-package-anywhere}"); err == nil {
		t.Error("a package that does not exist was installed")
	}
	b.Do(t, "package", "{install: awk}", unchanged) // mawk provides it
	b.Do(t, "package", "{remove: [hello, tini, never-there]}", changed)
	b.Do(t, "package", "{remove: [hello, tini, never-there]}", unchanged)
	b.Do(t, "package", "{update: hello}", unchanged)
	after := b.Sh(t, "find / -xdev -type f ! -path '/proc/*' ! -path '/usr/*' ! -path '/etc/alternatives/*' ! -path '/var/lib/dpkg/*' ! -path /var/lib/apt/extended_states | sort")
	if left := minus(after, before); left != "" {
		t.Errorf("files are left behind:\n%s", left)
	}
	b.Want(t, "[ -e /usr/sbin/policy-rc.d ] || echo gone", "gone")
}

func updateAll(t *testing.T, b *provtest.Bench) {
	if _, err := b.Try(t, "package", "{update: all}"); err != nil {
		t.Fatalf("%v\n%s", err, b.Log())
	}
	b.Do(t, "package", "{update: all}", unchanged)
}

func services(t *testing.T, b *provtest.Bench) {
	b.Do(t, "package", "{install: [cron]}", changed)
	if said := b.Log(); !strings.Contains(said, "policy-rc.d denied execution") {
		t.Errorf("log:\n%s", said)
	}
	// Without systemd the scripts in /etc/init.d count.
	b.Do(t, "service", "cron", unchanged)
	b.Do(t, "service", "{name: cron, enabled: false}", changed)
	b.Do(t, "service", "{name: cron, enabled: false}", unchanged)
	b.Want(t, "ls /etc/rc2.d | grep -c S..cron || true", "0")
	out := b.Do(t, "service", "{name: cron, state: started}", changed)
	if !strings.Contains(out.Note, "no service manager runs") {
		t.Errorf("note %q", out.Note)
	}
	b.Want(t, "ls /etc/rc2.d | grep -c S..cron", "1")
	if _, err := b.Try(t, "service", "no-such-service"); err == nil || !strings.HasPrefix(err.Error(), "enabling no-such-service: ") {
		t.Errorf("a service that does not exist: %v", err)
	}
}

func systemdServices(t *testing.T, b *provtest.Bench) {
	b.Do(t, "package", "{install: [systemd]}", changed)
	b.Do(t, "service", "{name: cron, enabled: false}", changed)
	b.Want(t, "ls /etc/systemd/system/multi-user.target.wants | grep -c cron || true", "0")
	b.Do(t, "service", "[cron]", changed)
	b.Do(t, "service", "[cron, cron.service]", unchanged)
	b.Want(t, "ls /etc/systemd/system/multi-user.target.wants | grep -c cron", "1")
	if _, err := b.Try(t, "service", "no-such-service"); err == nil {
		t.Error("a service that does not exist was enabled")
	}
}

func playbook(t *testing.T, b *provtest.Bench) {
	need.Tool(t, "ansible-playbook")
	b.Do(t, "package", "{install: python3}", changed)
	b.File(t, "play/site.yml", `
- hosts: web
  gather_facts: false
  tasks:
    - copy: {content: "{{ greeting }} from {{ inventory_hostname }}\n", dest: /etc/greeting, mode: "0640"}
    - template: {src: conf.j2, dest: /etc/conf}
      tags: [conf]
    - command: "true"
      changed_when: false
`)
	b.File(t, "play/templates/conf.j2", "listen {{ port }}\n")
	b.File(t, "play/group_vars/web.yml", "port: 8080\n")
	step := `{playbook: play/site.yml, groups: web, extra_vars: {greeting: "it's {\"x\"}", list: [1, 2]}}`
	out := b.Do(t, "ansible", step, changed)
	if out.Note != "ok=3 changed=2" {
		t.Errorf("note %q\n%s", out.Note, b.Log())
	}
	b.WantTree(t, "/etc/greeting", `-rw-r----- 0:0 greeting "it's {\"x\"} from bake\n"`)
	b.WantTree(t, "/etc/conf", `-rw-r--r-- 0:0 conf "listen 8080\n"`)
	b.Do(t, "ansible", step, unchanged)
	b.File(t, "play/templates/conf.j2", "listen {{ port }};\n")
	if out := b.Do(t, "ansible", strings.Replace(step, "groups", "tags: conf, groups", 1), changed); out.Note != "ok=1 changed=1" {
		t.Errorf("note %q", out.Note)
	}
	b.Want(t, "ls -A /root /tmp | grep -i ansible || true", "")
	b.File(t, "bad.yml", "- hosts: all\n  gather_facts: false\n  tasks: [{command: 'false'}]\n")
	if _, err := b.Try(t, "ansible", "bad.yml"); err == nil || !strings.HasPrefix(err.Error(), "ansible-playbook bad.yml: exit status 2") {
		t.Errorf("a playbook that fails: %v", err)
	}
	if left, err := os.ReadDir(b.Scope.WorkDir); err != nil || len(left) > 0 {
		t.Errorf("left on this machine: %v, %v", left, err)
	}
}

// minus returns the lines of a that b does not have.
func minus(a, b string) string {
	have := map[string]bool{}
	for line := range strings.Lines(b) {
		have[line] = true
	}
	var only []string
	for line := range strings.Lines(a) {
		if !have[line] {
			only = append(only, line)
		}
	}
	return strings.Join(only, "")
}
