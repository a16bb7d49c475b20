package cloudinit_test

import (
	"bytes"
	"compress/gzip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"gopkg.in/yaml.v3"

	"bake/internal/sandbox/machine/cloudinit"
)

func gz(t *testing.T, text string) string {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

const mimeData = `Content-Type: multipart/mixed; boundary="==B=="
MIME-Version: 1.0

--==B==
Content-Type: text/cloud-config; charset="us-ascii"
Content-Disposition: attachment; filename="a.yaml"

#cloud-config
hostname: first
runcmd: [one]

--==B==
Content-Type: text/x-shellscript
Content-Transfer-Encoding: base64
Content-Disposition: attachment; filename="setup.sh"

IyEvYmluL3NoCmVjaG8gaGkK
--==B==
Content-Type: text/cloud-config

#cloud-config
runcmd: [[two, "a b"], three]
--==B==
Content-Type: text/jinja2

## template: jinja
--==B==--
`

func TestUserDataIsRead(t *testing.T) {
	type seen struct {
		Host, Scripts, Hooks string
		Run                  []string
		Problems             int
	}
	for name, c := range map[string]struct {
		data string
		want seen
	}{
		"nothing":      {"", seen{}},
		"cloud-config": {"#cloud-config\nhostname: web\nruncmd:\n - echo hi\n - [echo, \"it's\"]\n", seen{Host: "web", Run: []string{"echo hi", `echo 'it'\''s'`}}},
		"compressed":   {gz(t, "#cloud-config\nhostname: web\n"), seen{Host: "web"}},
		"a script":     {"#!/bin/sh\necho hi\n", seen{Scripts: "part-001=#!/bin/sh\necho hi\n"}},
		"a boot hook":  {"#cloud-boothook\n#!/bin/sh\ntrue\n", seen{Hooks: "part-001=#!/bin/sh\ntrue\n"}},
		"MIME":         {mimeData, seen{Host: "first", Run: []string{"two 'a b'", "three"}, Scripts: "setup.sh=#!/bin/sh\necho hi\n", Problems: 1}},
		"compressed MIME with CRLF": {gz(t, strings.ReplaceAll(mimeData, "\n", "\r\n")),
			seen{Host: "first", Run: []string{"two 'a b'", "three"}, Scripts: "setup.sh=#!/bin/sh\necho hi\n", Problems: 1}},
		"an archive":                        {"#cloud-config-archive\n- type: text/cloud-config\n  content: |\n    hostname: a\n- \"#!/bin/sh\\ntrue\\n\"\n", seen{Host: "a", Scripts: "part-003=#!/bin/sh\ntrue\n"}},
		"neither":                           {"echo hi\n", seen{Problems: 1}},
		"a key that is wrong spares others": {"#cloud-config\nhostname: web\nruncmd: {a: b}\nnosuch: 1\n", seen{Host: "web", Problems: 2}},
		"YAML that is broken":               {"#cloud-config\n a: [\n", seen{Problems: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			u := cloudinit.Parse([]byte(c.data))
			got := seen{Host: u.Config.Hostname, Run: u.Config.RunCmd, Problems: len(u.Problems), Scripts: text(u.Scripts), Hooks: text(u.Hooks)}
			if d := cmp.Diff(c.want, got); d != "" {
				t.Errorf("-want +got\n%s%v", d, u.Problems)
			}
		})
	}
}

func text(scripts []cloudinit.Script) string {
	var all []string
	for _, s := range scripts {
		all = append(all, s.Name+"="+string(s.Body))
	}
	return strings.ReplaceAll(strings.Join(all, "\n"), "\r\n", "\n")
}

func TestFormsOfKeys(t *testing.T) {
	u := cloudinit.Parse([]byte(`#cloud-config
ssh_keys: {ed25519_private: "x\n", ed25519_public: y}
ssh_authorized_keys: [k1, k2]
disable_root: false
users:
  - default
  - name: deploy
    primary-group: ops
    groups: adm, docker
    sudo: ALL=(ALL) NOPASSWD:ALL
    ssh-authorized-keys: k3
    lock_passwd: true
  - {name: svc, system: true, sudo: false}
groups: [ops, {docker: [deploy]}]
write_files:
  - {path: /a, content: hello, permissions: '0600', owner: 'root:adm'}
  - {path: /b, content: aGVsbG8=, encoding: b64, permissions: 0755, append: true, defer: true}
  - {path: /c, content: H4sIAAAAAAAAA8tIzcnJBwCGphA2BQAAAA==, encoding: gz+b64}
packages: [tree, [curl, 7.88]]
apt_update: true
power_state: {mode: reboot, delay: 1, condition: true}
manage_etc_hosts: true
`))
	c := u.Config
	if len(u.Problems) > 0 {
		t.Log(u.Problems)
	}
	no := false
	want := cloudinit.Config{
		SSHKeys:           map[string]string{"ed25519_private": "x\n", "ed25519_public": "y"},
		SSHAuthorizedKeys: cloudinit.Strings{"k1", "k2"}, DisableRoot: &no,
		Users: cloudinit.Accounts{{Default: true, Name: "default"},
			{Name: "deploy", PrimaryGroup: "ops", Groups: cloudinit.Strings{"adm", "docker"}, Sudo: cloudinit.Sudo{"ALL=(ALL) NOPASSWD:ALL"}, SSHAuthorizedKeys: cloudinit.Strings{"k3"}},
			{Name: "svc", System: true}},
		Groups: cloudinit.Groups{"ops": nil, "docker": {"deploy"}},
		WriteFiles: []cloudinit.File{{Path: "/a", Content: []byte("hello"), Owner: "root:adm", Permissions: 0o600},
			{Path: "/b", Content: []byte("hello"), Permissions: 0o755, Append: true, Defer: true}},
		Packages: cloudinit.Packages{"tree", "curl=7.88"}, PackageUpdate: true,
		PowerState: &cloudinit.PowerState{Mode: "reboot", Delay: "1"}, ManageEtcHosts: "true",
	}
	if len(c.WriteFiles) == 3 {
		if got := string(c.WriteFiles[2].Content); got != "hello" {
			t.Errorf("gz+b64: %q", got)
		}
		c.WriteFiles = c.WriteFiles[:2]
	}
	if c.PowerState != nil {
		c.PowerState.Condition = yaml.Node{}
	}
	if d := cmp.Diff(want, c); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
}
