package registry_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"

	"bake/internal/registry"
	"bake/internal/registrytest"
)

// home gives the test an empty home without any credentials of this machine.
func home(t testing.TB) string {
	dir := t.TempDir()
	t.Setenv("HOME", dir)
	for _, name := range []string{"DOCKER_CONFIG", "REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "DOCKER_AUTH_CONFIG"} {
		t.Setenv(name, "")
	}
	return dir
}

func write(t testing.TB, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

// helper puts a credential helper into PATH that knows a single registry.
func helper(t testing.TB, name, host, user, password string) {
	t.Helper()
	bin := t.TempDir()
	script := fmt.Sprintf(`#!/bin/sh
read server
if [ "$1" = get ] && [ "$server" = %q ]; then
	printf '{"ServerURL":"%%s","Username":"%s","Secret":"%s"}' "$server"
else
	echo "credentials not found in native keychain"; exit 1
fi
`, host, user, password)
	write(t, filepath.Join(bin, "docker-credential-"+name), script, 0o755)
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
}

func TestCredentialsComeFromWhereDockerAndPodmanKeepThem(t *testing.T) {
	server := &registrytest.TokenServer{User: "me", Password: "pass word"}
	proxy := registrytest.NewProxy(t, registrytest.Memory(t), server.Rule(nil))
	auth := base64.StdEncoding.EncodeToString([]byte("me:pass word"))
	inline := `{"auths": {"` + proxy.Host + `": {"auth": "` + auth + `"}}}`
	for name, prepare := range map[string]func(home string){
		"docker's config": func(home string) { write(t, home+"/.docker/config.json", inline, 0o600) },
		"DOCKER_CONFIG": func(home string) {
			write(t, home+"/elsewhere/config.json", inline, 0o600)
			t.Setenv("DOCKER_CONFIG", home+"/elsewhere")
		},
		"a helper for the registry": func(home string) {
			write(t, home+"/.docker/config.json", `{"credHelpers": {"`+proxy.Host+`": "one"}}`, 0o600)
			helper(t, "one", proxy.Host, "me", "pass word")
		},
		"a store for all registries": func(home string) {
			write(t, home+"/.docker/config.json", `{"credsStore": "all"}`, 0o600)
			helper(t, "all", proxy.Host, "me", "pass word")
		},
		"podman's file beside a docker config that knows nothing": func(home string) {
			write(t, home+"/.docker/config.json", `{"auths": {}}`, 0o600)
			write(t, home+"/.config/containers/auth.json", inline, 0o600)
		},
		"podman's file for one repository": func(home string) {
			write(t, home+"/run/containers/auth.json", strings.Replace(inline, proxy.Host, proxy.Host+"/team", 1), 0o600)
			t.Setenv("XDG_RUNTIME_DIR", home+"/run")
		},
		"REGISTRY_AUTH_FILE": func(home string) {
			write(t, home+"/auth.json", inline, 0o600)
			t.Setenv("REGISTRY_AUTH_FILE", home+"/auth.json")
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := home(t)
			prepare(dir)
			before := tree(t, dir)
			c := registry.New(registry.Config{})
			_, err := c.Push(t.Context(), registry.Push{To: parse(t, proxy.Host+"/team/app:1")}, registry.Variant{Image: registrytest.Image(t)})
			if err != nil {
				t.Fatal(err)
			}
			if after := tree(t, dir); after != before {
				t.Errorf("the home was changed:\n%s\n%s", before, after)
			}
		})
	}
}

// tree lists a directory with sizes and times.
func tree(t testing.TB, dir string) string {
	t.Helper()
	var out strings.Builder
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		fmt.Fprintln(&out, path, info.Size(), info.ModTime().UnixNano())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestDockerHubIsKnownByAllItsNames(t *testing.T) {
	ref := parse(t, "me/app")
	auth := base64.StdEncoding.EncodeToString([]byte("me:secret"))
	for _, key := range []string{"https://index.docker.io/v1/", "docker.io", "docker.io/me", "index.docker.io"} {
		dir := home(t)
		write(t, dir+"/.docker/config.json", `{"auths": {"`+key+`": {"auth": "`+auth+`"}}}`, 0o600)
		got, err := registry.UserKeychain{}.Resolve(ref.Repository)
		if err != nil {
			t.Fatal(err)
		}
		config, err := got.Authorization()
		if err != nil || config.Username != "me" || config.Password != "secret" {
			t.Errorf("%s: %+v, %v", key, config, err)
		}
	}
	home(t)
	if got, err := (registry.UserKeychain{}).Resolve(ref.Repository); err != nil || got != authn.Anonymous {
		t.Errorf("without files: %v, %v", got, err)
	}
}

func TestWrongCredentialsAreToldWithAHint(t *testing.T) {
	server := &registrytest.TokenServer{User: "me", Password: "right"}
	proxy := registrytest.NewProxy(t, registrytest.Memory(t), server.Rule(nil))
	_, err := newClient(t).Find(t.Context(), parse(t, proxy.Host+"/x:1"), registry.Pull{Platform: amd64()})
	var hinted interface{ Hint() string }
	if !errors.As(err, &hinted) || !strings.Contains(hinted.Hint(), "docker login "+proxy.Host) || !strings.Contains(err.Error(), "incorrect username or password") {
		t.Errorf("%v", err)
	}
}

func TestPlainHTTPGoesToOtherMachinesOnlyWhenAsked(t *testing.T) {
	var bodies []string
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { bodies = append(bodies, r.URL.Path) }))
	t.Cleanup(srv.Close)
	// Another machine's name; every connection leads to the server here.
	const host = "registry.example.com:5000"
	transport := &http.Transport{DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, srv.Listener.Addr().String())
	}}
	home(t)
	client := registry.New(registry.Config{Transport: transport})
	_, err := client.Find(t.Context(), parse(t, host+"/x:1"), registry.Pull{Platform: amd64()})
	var hinted interface{ Hint() string }
	if err == nil || !errors.As(err, &hinted) || !strings.Contains(hinted.Hint(), "insecure: true") || len(bodies) != 0 {
		t.Errorf("%v; it was asked %q", err, bodies)
	}
	ref, err := registry.ParseReference(host+"/x:1", true)
	if err != nil {
		t.Fatal(err)
	}
	if _, err = client.Find(t.Context(), ref, registry.Pull{Platform: amd64()}); len(bodies) == 0 {
		t.Errorf("with insecure it was not asked: %v", err)
	}
}

func TestATokenServerCannotLeadToPlainHTTP(t *testing.T) {
	proxy := registrytest.NewProxy(t, registrytest.Memory(t), func(r *http.Request) *registrytest.Fault {
		return &registrytest.Fault{Status: 401, Header: http.Header{"Www-Authenticate": {`Bearer realm="http://198.51.100.1/token"`}}}
	})
	_, err := newClient(t).Find(t.Context(), parse(t, proxy.Host+"/x:1"), registry.Pull{Platform: amd64()})
	var plain *registry.PlainHTTPError
	if !errors.As(err, &plain) || plain.Host != "198.51.100.1" {
		t.Errorf("%v", err)
	}
}
