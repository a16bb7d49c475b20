package ssh_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"bake/builder"
	"bake/builder/buildertest"
	"bake/internal/sshtest"
	"bake/provisioners"
	"bake/steps/ssh"
	"bake/templates"
)

func catalog() builder.Catalog {
	return builder.Catalog{
		Sources:      map[string]func() builder.Source{"ssh": ssh.NewSource(nil)},
		Provisioners: provisioners.All(provisioners.Deps{}),
	}
}

// compile reads a template.
func compile(t *testing.T, dir, text string, vars map[string]string) (*builder.Plan, *templates.Template, templates.Diagnostics) {
	t.Helper()
	cat := catalog()
	tpl, ds := templates.ParseBytes("bake.yaml", dir, []byte(text), cat.Language(), templates.Options{Vars: vars, Now: time.Unix(1700000000, 0)})
	if tpl == nil {
		return nil, nil, ds
	}
	plan, more := builder.Compile(tpl, cat)
	return plan, tpl, append(ds, more...)
}

func TestATemplateRunsOnAMachineThatExists(t *testing.T) {
	s := sshtest.Start(t, sshtest.Options{Accounts: []sshtest.Account{{Name: "deploy", Password: "s3cret", Sudo: "password"}}})
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "motd"), []byte("hello\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf(`name: host
variables:
  password: {default: s3cret, sensitive: true}
source:
  ssh: {host: "deploy@%s:%d", key: %s, known_hosts: %s, sudo: true, sudo_password: "${{ var.password }}"}
steps:
  - run: id -u >/run/who
  - copy: {from: motd, to: /run/motd}
  - {run: "id -un >/run/shm-who || id -un", user: deploy}
tests:
  - run: grep -q '^0$' /run/who && grep -q hello /run/motd
`, s.Host, s.Port, s.KeyFile, s.KnownHosts)
	plan, tpl, ds := compile(t, dir, text, nil)
	if err := ds.Err(); err != nil {
		t.Fatal(err)
	}
	e := &builder.Engine{Catalog: catalog(), Journal: new(buildertest.Memory), Sink: buildertest.Log(t), Env: tpl.Env, WorkDir: t.TempDir()}
	if err := e.Pin(t.Context(), "run-1", plan); err != nil {
		t.Fatal(err)
	}
	h, err := e.Run(t.Context(), "run-1", plan)
	if err != nil {
		t.Fatal(err)
	}
	var host *builder.Host
	for _, st := range h.Done {
		if st.Artifact != nil && st.Artifact.Host != nil {
			host = st.Artifact.Host
		}
	}
	if host == nil || host.Address != s.Addr() || host.User != "deploy" || strings.Contains(fmt.Sprint(plan), "s3cret") {
		t.Errorf("artifact %+v", host)
	}
}

func TestTheStepsUseTheConnectionThatProvedTheMachine(t *testing.T) {
	s := sshtest.Start(t, sshtest.Options{})
	p := sshtest.NewProxy(t, s.Addr())
	plan, tpl, ds := compile(t, t.TempDir(), fmt.Sprintf("name: host\nsource:\n  ssh: {host: %s, port: %d, user: root, key: %s, host_key: %q}\nsteps: [run: true, run: true]\n",
		p.Host, p.Port, s.KeyFile, gossh.MarshalAuthorizedKey(s.HostKey)), nil)
	if err := ds.Err(); err != nil {
		t.Fatal(err)
	}
	e := &builder.Engine{Catalog: catalog(), Journal: new(buildertest.Memory), Sink: buildertest.Log(t), Env: tpl.Env, WorkDir: t.TempDir()}
	if err := e.Pin(t.Context(), "run-1", plan); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Run(t.Context(), "run-1", plan); err != nil {
		t.Fatal(err)
	}
	if catalog().Makes(plan, builder.ImageArtifact) || !catalog().Makes(plan, builder.HostArtifact) {
		t.Error("a build on a machine that exists counts as one of a container image")
	}
	if n := p.Connections(); n != 1 {
		t.Errorf("%d connections for one build, want 1", n)
	}
}

func TestASourceThatCannotWorkIsRefused(t *testing.T) {
	for _, tc := range []struct{ source, want string }{
		{"ssh: {}", "host"},
		{"ssh: {host: x, port: 70000}", "port"},
		{"ssh: {host: x, proxy: \"http://y\"}", "socks5://"},
		{"ssh: {host: x, proxy: \"socks5://y:1\", proxy_command: nc}", "exclude"},
		{"ssh: {host: x, jump: [\"u@h:x\"]}", "[USER@]HOST[:PORT]"},
		{"ssh: {host: x, sudo: [a]}", "want true, false or a name"},
		{"ssh: {host: x, hots: y}", "hots"},
		{"ssh: {host: \"x:y\"}", "[USER@]HOST[:PORT]"},
		{"ssh: {host: \"admin@x\", user: root}", "host names another"},
		{"ssh: {host: \"x:2222\", port: 22}", "host names another"},
	} {
		_, _, ds := compile(t, t.TempDir(), "name: n\nsource:\n  "+tc.source+"\nsteps: [{run: \"true\"}]\n", nil)
		if err := ds.Err(); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", tc.source, err, tc.want)
		}
	}
}
