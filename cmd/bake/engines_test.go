package main

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"bake/internal/dockertest"
	"bake/internal/need"
)

// everyKind has a step of every kind that works on a small busybox root.
const everyKind = `
name: every-kind
variables: {greeting: hello}
source: {rootfs: base.tar}
steps:
  - group: {name: web, gid: 4321}
  - user: {name: web, uid: 1234, group: web, home: /srv, shell: /bin/sh, create_home: false}
  - directory: {path: /srv/www/empty, owner: "web:web", mode: "2750"}
  - copy: {from: tree/, to: /srv/tree/, owner: web}
  - write: {to: /etc/motd, content: "${{ var.greeting }}\n", mode: "0600"}
  - template: {file: conf.tmpl, to: /etc/app.conf, vars: {port: 8080}}
  - line: {file: /etc/motd, line: a second line}
  - link: {path: /srv/link, target: www/empty}
  - fetch: {url: "${{ env.FETCH_URL }}", to: /opt/fetched, sha256: "${{ env.FETCH_SHA256 }}"}
  - checkout: {repo: "${{ env.REPO }}", ref: main, to: /opt/src}
  - script: {file: setup.sh, args: [one, two words]}
  - local: echo on this machine
  - wait: {file: /etc/motd, timeout: 10s}
  - run: |
      mkdir /data && cd /data
      echo x >a && ln a b && ln -s a c
      chmod 4755 a && chown 7:8 b
      rm -rf /srv/tree/gone
      head -c 100000 /dev/zero >zeros
  - run: rm /etc/app.conf && mkdir /etc/app.conf.d
  - name: as the user
    user: web
    workdir: /srv/www/empty
    env: {WHO: web}
    run: echo "$WHO $(id -u) $(pwd)" >who
config:
  entrypoint: [/bin/sh, -c]
  cmd: ["cat /etc/motd"]
  env: {LOG: json}
  user: web
  workdir: /srv
  ports: [8080, 53/udp]
  labels: {org.example.team: web}
  volumes: [/data]
  stop_signal: SIGQUIT
  healthcheck: {test: [CMD, /bin/true], interval: 5s, timeout: 2s, retries: 2}
outputs:
  - archive: {path: out.tar}
`

// TestBothEnginesMakeTheSameImage builds one template on both engines and
// lets other people's tools judge and compare what came out.
func TestBothEnginesMakeTheSameImage(t *testing.T) {
	t.Parallel()
	need.Root(t)
	skopeo, umoci, buildah := need.Tool(t, "skopeo"), need.Tool(t, "umoci"), need.Tool(t, "buildah")
	host := dockertest.Start(t)
	served := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "fetched") }))
	defer served.Close()
	dir := everyKindDir(t)
	env := append(os.Environ(), "DOCKER_HOST="+host, "FETCH_URL="+served.URL+"/f", fmt.Sprintf("FETCH_SHA256=%x", sha256.Sum256([]byte("fetched"))),
		"REPO="+filepath.Join(dir, "repo"), "SOURCE_DATE_EPOCH=1700000000", "XDG_RUNTIME_DIR="+t.TempDir())
	trees, configs := map[string]map[string]string{}, map[string]any{}
	for _, engine := range []string{"embedded", "docker"} {
		work := filepath.Join(dir, engine)
		copyDir(t, filepath.Join(dir, "context"), work)
		env := append(env, "BAKE_CACHE_DIR="+filepath.Join(work, "cache"))
		tool(t, work, env, "bake", "every.yaml", "--engine", engine)
		ref := "oci-archive:" + filepath.Join(work, "out.tar")
		tool(t, work, env, skopeo, "inspect", ref)
		configs[engine] = config(t, tool(t, work, env, skopeo, "inspect", "--raw", "--config", ref))
		tool(t, work, env, skopeo, "copy", "--insecure-policy", ref, "oci:"+filepath.Join(work, "layout")+":x")
		tool(t, work, env, umoci, "unpack", "--image", filepath.Join(work, "layout")+":x", filepath.Join(work, "bundle"))
		trees[engine] = tree(t, filepath.Join(work, "bundle", "rootfs"))
		tool(t, work, env, buildah, "--storage-driver", "vfs", "--root", filepath.Join(work, "buildah"), "--runroot", filepath.Join(work, "run"), "from", "--signature-policy", policy(t), ref)
		tool(t, work, env, skopeo, "copy", "--insecure-policy", "--dest-daemon-host", host, ref, "docker-daemon:bake-test/"+engine+":x")
		if out := tool(t, work, env, "docker", "run", "--rm", "--network", "none", "bake-test/"+engine+":x", "cat /srv/www/empty/who; id -u; pwd; echo $LOG"); out != "web 1234 /srv/www/empty\n1234\n/srv\njson\n" {
			t.Errorf("%s: docker run prints %q", engine, out)
		}
	}
	if diff := cmp.Diff(trees["embedded"], trees["docker"]); diff != "" {
		t.Errorf("file trees (-embedded +docker):\n%s", diff)
	}
	if diff := cmp.Diff(configs["embedded"], configs["docker"]); diff != "" {
		t.Errorf("configs (-embedded +docker):\n%s", diff)
	}
	want := map[string]any{"Entrypoint": []any{"/bin/sh", "-c"}, "Cmd": []any{"cat /etc/motd"}, "Env": []any{"LOG=json"},
		"User": "web", "WorkingDir": "/srv", "ExposedPorts": map[string]any{"8080/tcp": map[string]any{}, "53/udp": map[string]any{}},
		"Labels": map[string]any{"org.example.team": "web"}, "Volumes": map[string]any{"/data": map[string]any{}}, "StopSignal": "SIGQUIT",
		"Healthcheck": map[string]any{"Test": []any{"CMD", "/bin/true"}, "Interval": 5e9, "Timeout": 2e9, "Retries": 2.0}}
	if diff := cmp.Diff(want, configs["embedded"]); diff != "" {
		t.Errorf("config (-want +got):\n%s", diff)
	}
	if got := trees["embedded"]["/srv/www/empty"]; !strings.HasPrefix(got, "dgrwxr-x--- 1234:4321") {
		t.Errorf("/srv/www/empty is %s", got)
	}
}

func everyKindDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	context := filepath.Join(dir, "context")
	for name, text := range map[string]string{
		"context/every.yaml":        everyKind,
		"context/conf.tmpl":         "port={{.port}}\n",
		"context/setup.sh":          "#!/bin/sh\nprintf '<%s>' \"$@\" >/opt/args\n",
		"context/tree/a.txt":        "a",
		"context/tree/sub/b c.txt":  "b",
		"context/tree/gone/victim":  "x",
		"context/tree/run-me":       "#!/bin/sh\n",
		"repo/README":               "source",
		"repo/nested/deep/file.txt": "deep",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"tree/run-me", "setup.sh"} {
		if err := os.Chmod(filepath.Join(context, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("a.txt", filepath.Join(context, "tree/link")); err != nil {
		t.Fatal(err)
	}
	busyboxTar(t, filepath.Join(context, "base.tar"))
	tool(t, filepath.Join(dir, "repo"), os.Environ(), "sh", "-ec", "git init -q -b main . && git add -A && git -c user.name=t -c user.email=t@example.com commit -qm x")
	return dir
}

func tool(t *testing.T, dir string, env []string, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	var errs strings.Builder
	cmd.Dir, cmd.Env, cmd.Stderr = dir, env, &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s%s", filepath.Base(name), strings.Join(args, " "), err, out, errs.String())
	}
	return string(out)
}

func copyDir(t *testing.T, from, to string) {
	t.Helper()
	tool(t, filepath.Dir(from), os.Environ(), "cp", "-a", from, to)
}

// policy is a file that lets buildah take images without signatures.
func policy(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "policy.json")
	if err := os.WriteFile(file, []byte(`{"default":[{"type":"insecureAcceptAnything"}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// config is the part of an image's config file that says how it runs.
func config(t *testing.T, text string) map[string]any {
	t.Helper()
	var file struct {
		Config map[string]any `json:"config"`
	}
	if err := json.Unmarshal([]byte(text), &file); err != nil {
		t.Fatal(err)
	}
	return file.Config
}

// tree describes every file below root: mode, owner, size or target, content, xattrs.
func tree(t *testing.T, root string) map[string]string {
	t.Helper()
	all := map[string]string{}
	inodes := map[uint64]string{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		st := info.Sys().(*syscall.Stat_t)
		name := strings.TrimPrefix(path, root)
		what := fmt.Sprintf("%s %d:%d", info.Mode(), st.Uid, st.Gid)
		switch {
		case info.Mode().IsRegular():
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			what += fmt.Sprintf(" %x", sha256.Sum256(b))
			if first, ok := inodes[st.Ino]; ok && st.Nlink > 1 {
				what += " = " + first
			} else if st.Nlink > 1 {
				inodes[st.Ino] = name
			}
		case info.Mode()&fs.ModeSymlink != 0:
			to, err := os.Readlink(path)
			if err != nil {
				return err
			}
			what += " -> " + to
		}
		buf := make([]byte, 4096)
		if n, err := unix.Llistxattr(path, buf); err == nil && n > 0 {
			what += fmt.Sprintf(" %q", buf[:n])
		}
		all[name] = what
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}
