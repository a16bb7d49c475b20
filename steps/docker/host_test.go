package docker

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestEngineIsFoundAsTheDockerCommandDoes(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	context := func(name, host string) string {
		id := fmt.Sprintf("%x", sha256.Sum256([]byte(name)))
		write("contexts/meta/"+id+"/meta.json", fmt.Sprintf(`{"Name":%q,"Metadata":{},"Endpoints":{"docker":{"Host":%q,"SkipTLSVerify":false}}}`, name, host))
		return id
	}
	write("config.json", `{"currentContext":"current"}`)
	context("current", "unix:///run/current.sock")
	id := context("secure", "tcp://10.0.0.1:2376")
	for _, pem := range []string{"ca.pem", "cert.pem", "key.pem"} {
		write("contexts/tls/"+id+"/docker/"+pem, "x")
		write(pem, "x")
	}
	for _, tc := range []struct {
		name      string
		opts      Options
		env       map[string]string
		host, tls string // tls: "no", or the directory of the files, or "unverified"
		err       string
	}{
		{name: "the current context", host: "unix:///run/current.sock", tls: "no"},
		{name: "DOCKER_HOST before the current context", env: map[string]string{"DOCKER_HOST": "unix:///x.sock"}, host: "unix:///x.sock", tls: "no"},
		{name: "DOCKER_HOST before DOCKER_CONTEXT", env: map[string]string{"DOCKER_HOST": "tcp://h:1", "DOCKER_CONTEXT": "secure"}, host: "tcp://h:1", tls: "no"},
		{name: "DOCKER_CONTEXT", env: map[string]string{"DOCKER_CONTEXT": "secure"}, host: "tcp://10.0.0.1:2376", tls: filepath.Join(dir, "contexts/tls", id, "docker")},
		{name: "the default context", env: map[string]string{"DOCKER_CONTEXT": "default"}, host: "unix:///var/run/docker.sock", tls: "no"},
		{name: "the option before all", opts: Options{Host: "ssh://me@there"}, env: map[string]string{"DOCKER_HOST": "tcp://h:1"}, host: "ssh://me@there", tls: "no"},
		{name: "the option for a context", opts: Options{Context: "secure"}, env: map[string]string{"DOCKER_HOST": "tcp://h:1"}, host: "tcp://10.0.0.1:2376", tls: filepath.Join(dir, "contexts/tls", id, "docker")},
		{name: "TLS", env: map[string]string{"DOCKER_HOST": "tcp://h:2376", "DOCKER_TLS_VERIFY": "1"}, host: "tcp://h:2376", tls: dir},
		{name: "TLS from elsewhere", env: map[string]string{"DOCKER_HOST": "tcp://h:2376", "DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": "/nowhere"}, host: "tcp://h:2376", tls: ""},
		{name: "TLS without verification", env: map[string]string{"DOCKER_HOST": "tcp://h:2376", "DOCKER_TLS": "1"}, host: "tcp://h:2376", tls: "unverified"},
		{name: "a host without a scheme", env: map[string]string{"DOCKER_HOST": "h:2375"}, host: "tcp://h:2375", tls: "no"},
		{name: "a context that is not there", env: map[string]string{"DOCKER_CONTEXT": "gone"}, err: `docker context "gone": there is none of this name`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.opts.Getenv = func(name string) string {
				if name == "DOCKER_CONFIG" {
					return dir
				}
				return tc.env[name]
			}
			ep, err := find(tc.opts)
			if tc.err != "" {
				if err == nil || err.Error() != tc.err {
					t.Errorf("error %v, want %s", err, tc.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			got := "no"
			if ep.tls != nil {
				got = strings.TrimSuffix(ep.tls.CAFile, "/ca.pem")
				if ep.tls.InsecureSkipVerify {
					got = "unverified"
				}
			}
			if ep.host != tc.host || got != tc.tls {
				t.Errorf("host %s, TLS %s; want %s, %s", ep.host, got, tc.host, tc.tls)
			}
		})
	}
}

func TestEngineThatDoesNotAnswerHasAHint(t *testing.T) {
	err := New(Options{Host: "unix://" + filepath.Join(t.TempDir(), "none.sock")}).Ping(t.Context())
	hinted, ok := err.(interface{ Hint() string })
	if err == nil || !ok || !strings.Contains(hinted.Hint(), "embedded") {
		t.Errorf("error %v", err)
	}
}
