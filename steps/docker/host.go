package docker

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/docker/cli/cli/config"
	"github.com/docker/cli/cli/connhelper"
	"github.com/docker/docker/client"
	"github.com/docker/go-connections/tlsconfig"
)

// An endpoint is where an engine answers.
type endpoint struct {
	host    string // "unix:///var/run/docker.sock", "tcp://...", "ssh://..."
	context string // docker context that named it; empty if none did
	tls     *tlsconfig.Options
}

// where is how a resource remembers its engine: see Engine.at.
func (ep endpoint) where() string {
	if ep.context != "" {
		return contextPrefix + ep.context
	}
	return ep.host
}

const contextPrefix = "context "

// dial finds the engine as the docker command does and prepares the client;
// nothing is sent yet.
func dial(opts Options, ep endpoint) (*client.Client, error) {
	settings := []client.Opt{client.WithUserAgent("bake")}
	if v := opts.Getenv("DOCKER_API_VERSION"); v != "" {
		settings = append(settings, client.WithVersion(strings.TrimPrefix(v, "v")))
	} else {
		settings = append(settings, client.WithAPIVersionNegotiation())
	}
	how, err := ep.settings()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", ep.host, err)
	}
	return client.NewClientWithOpts(append(settings, how...)...)
}

func (ep endpoint) settings() ([]client.Opt, error) {
	helper, err := connhelper.GetConnectionHelper(ep.host)
	if err != nil {
		return nil, err
	}
	if helper != nil { // ssh://
		transport := &http.Transport{DialContext: helper.Dialer}
		return []client.Opt{
			client.WithHTTPClient(&http.Client{Transport: transport}),
			client.WithHost(helper.Host), client.WithDialContext(helper.Dialer),
		}, nil
	}
	if ep.tls == nil || !strings.HasPrefix(ep.host, "tcp://") {
		return []client.Opt{client.WithHost(ep.host)}, nil
	}
	config, err := tlsconfig.Client(*ep.tls)
	if err != nil {
		return nil, err
	}
	if ep.tls.InsecureSkipVerify {
		config.InsecureSkipVerify = true
	}
	config.MinVersion = tls.VersionTLS12
	return []client.Opt{
		client.WithHTTPClient(&http.Client{Transport: &http.Transport{TLSClientConfig: config}, CheckRedirect: client.CheckRedirect}),
		client.WithHost(ep.host),
	}, nil
}

// find decides between the options, the environment, the chosen context and
// the default socket, in the docker command's order.
// https://docs.docker.com/engine/manage-resources/contexts/
func find(opts Options) (endpoint, error) {
	dir := configDir(opts)
	host := opts.Host
	if host == "" && opts.Context == "" {
		host = opts.Getenv(client.EnvOverrideHost)
	}
	if host == "" {
		name, err := contextName(opts, dir)
		if err != nil {
			return endpoint{}, err
		}
		if name != "default" {
			return contextEndpoint(dir, name)
		}
		host = client.DefaultDockerHost
	}
	ep := endpoint{host: host, tls: environmentTLS(opts, dir)}
	if !strings.Contains(ep.host, "://") {
		ep.host = "tcp://" + ep.host
	}
	return ep, nil
}

func configDir(opts Options) string {
	if dir := opts.Getenv("DOCKER_CONFIG"); dir != "" {
		return dir
	}
	home := opts.Getenv("HOME")
	if home == "" {
		home, _ = os.UserHomeDir()
	}
	return filepath.Join(home, ".docker")
}

func contextName(opts Options, dir string) (string, error) {
	if opts.Context != "" {
		return opts.Context, nil
	}
	if name := opts.Getenv("DOCKER_CONTEXT"); name != "" {
		return name, nil
	}
	cfg, err := config.Load(dir)
	if err != nil {
		return "", err
	}
	if cfg.CurrentContext != "" {
		return cfg.CurrentContext, nil
	}
	return "default", nil
}

// contextEndpoint reads a context as the docker command stores it: a file
// meta/ID/meta.json and PEM files in tls/ID/docker, where ID is the hash of
// the context's name. (The command's own package for this needs a module for
// sorting names, which would be all that we use it for.)
func contextEndpoint(dir, name string) (endpoint, error) {
	id := fmt.Sprintf("%x", sha256.Sum256([]byte(name)))
	data, err := os.ReadFile(filepath.Join(dir, "contexts", "meta", id, "meta.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return endpoint{}, fmt.Errorf("docker context %q: %w", name, errors.New("there is none of this name"))
	}
	if err != nil {
		return endpoint{}, fmt.Errorf("docker context %q: %w", name, err)
	}
	var meta struct {
		Endpoints map[string]struct {
			Host          string
			SkipTLSVerify bool
		}
	}
	if err := json.Unmarshal(data, &meta); err != nil {
		return endpoint{}, fmt.Errorf("docker context %q: %w", name, err)
	}
	e, ok := meta.Endpoints["docker"]
	if !ok || e.Host == "" {
		return endpoint{}, fmt.Errorf("docker context %q: it names no Docker endpoint", name)
	}
	ep := endpoint{host: e.Host, context: name}
	ca, cert, key := pemFiles(filepath.Join(dir, "contexts", "tls", id, "docker"))
	if ca != "" || cert != "" || e.SkipTLSVerify {
		ep.tls = &tlsconfig.Options{CAFile: ca, CertFile: cert, KeyFile: key, InsecureSkipVerify: e.SkipTLSVerify, ExclusiveRootPools: ca != ""}
	}
	return ep, nil
}

// environmentTLS reads DOCKER_TLS_VERIFY, DOCKER_TLS and DOCKER_CERT_PATH.
func environmentTLS(opts Options, dir string) *tlsconfig.Options {
	verify := opts.Getenv("DOCKER_TLS_VERIFY") != ""
	if !verify && opts.Getenv("DOCKER_TLS") == "" {
		return nil
	}
	if path := opts.Getenv("DOCKER_CERT_PATH"); path != "" {
		dir = path
	}
	ca, cert, key := pemFiles(dir)
	return &tlsconfig.Options{CAFile: ca, CertFile: cert, KeyFile: key, InsecureSkipVerify: !verify, ExclusiveRootPools: ca != ""}
}

// pemFiles returns the paths of the files that exist; a certificate counts
// only with its key.
func pemFiles(dir string) (ca, cert, key string) {
	there := func(name string) string {
		path := filepath.Join(dir, name)
		if _, err := os.Stat(path); err != nil {
			return ""
		}
		return path
	}
	ca, cert, key = there("ca.pem"), there("cert.pem"), there("key.pem")
	if cert == "" || key == "" {
		cert, key = "", ""
	}
	return ca, cert, key
}
