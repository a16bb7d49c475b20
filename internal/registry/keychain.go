package registry

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/docker/cli/cli/config"
	"github.com/docker/cli/cli/config/configfile"
	"github.com/docker/cli/cli/config/types"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
)

// UserKeychain finds credentials where docker and podman keep them: docker's
// config.json with its credential helpers and store, REGISTRY_AUTH_FILE and
// podman's auth.json. The first file that knows the registry wins. It reads
// them anew each time and never writes.
type UserKeychain struct{}

// Resolve returns the credentials for a repository, or anonymous ones.
func (k UserKeychain) Resolve(target authn.Resource) (authn.Authenticator, error) {
	return k.ResolveContext(context.Background(), target)
}

// ResolveContext is Resolve; go-containerregistry prefers it.
func (UserKeychain) ResolveContext(ctx context.Context, target authn.Resource) (authn.Authenticator, error) {
	for _, path := range credentialFiles() {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		auth, err := credentialsIn(path, target)
		if err != nil {
			return nil, fmt.Errorf("credentials for %s from %s: %w", target.RegistryStr(), path, err)
		}
		if auth != (types.AuthConfig{}) {
			return authn.FromConfig(authn.AuthConfig{
				Username: auth.Username, Password: auth.Password, Auth: auth.Auth,
				IdentityToken: auth.IdentityToken, RegistryToken: auth.RegistryToken,
			}), nil
		}
	}
	return authn.Anonymous, nil
}

// credentialFiles lists where credentials may be, best first.
func credentialFiles() []string {
	var files []string
	home, _ := os.UserHomeDir() // without a home there are only the files that are named
	if dir := os.Getenv("DOCKER_CONFIG"); dir != "" {
		files = append(files, filepath.Join(dir, "config.json"))
	} else if home != "" {
		files = append(files, filepath.Join(home, ".docker", "config.json"))
	}
	if file := os.Getenv("REGISTRY_AUTH_FILE"); file != "" {
		files = append(files, file)
	}
	if dir := os.Getenv("XDG_RUNTIME_DIR"); dir != "" {
		files = append(files, filepath.Join(dir, "containers", "auth.json"))
	}
	if dir := os.Getenv("XDG_CONFIG_HOME"); dir != "" {
		files = append(files, filepath.Join(dir, "containers", "auth.json"))
	} else if home != "" {
		files = append(files, filepath.Join(home, ".config", "containers", "auth.json"))
	}
	return files
}

// credentialsIn looks target up in one file. A file that is not there knows nobody.
func credentialsIn(path string, target authn.Resource) (types.AuthConfig, error) {
	f, err := os.Open(path)
	if os.IsNotExist(err) {
		return types.AuthConfig{}, nil
	}
	if err != nil {
		return types.AuthConfig{}, err
	}
	defer f.Close()
	file, err := config.LoadFromReader(f)
	if err != nil {
		return types.AuthConfig{}, err
	}
	return lookUp(file, target)
}

// lookUp asks for the repository, the folders above it and the host, as
// podman writes them; helpers are asked once, for the host, as docker does.
func lookUp(file *configfile.ConfigFile, target authn.Resource) (types.AuthConfig, error) {
	host := target.RegistryStr()
	for key := target.String(); strings.HasPrefix(key, host); key = above(key) {
		for _, spelled := range hubSpellings(key, host) {
			if auth, ok := file.AuthConfigs[spelled]; ok && hasSecret(auth) {
				return plain(auth), nil
			}
		}
	}
	keys := []string{host}
	if host == name.DefaultRegistry {
		keys = []string{authn.DefaultAuthKey, "docker.io", host}
	}
	for _, key := range keys {
		auth, err := file.GetAuthConfig(key)
		if err != nil {
			return types.AuthConfig{}, err
		}
		if hasSecret(auth) {
			return plain(auth), nil
		}
	}
	return types.AuthConfig{}, nil
}

// above is the folder that a repository or folder is in; "" above the host.
func above(key string) string { return key[:max(strings.LastIndexByte(key, '/'), 0)] }

// hubSpellings returns key as it may stand in a file: podman says docker.io
// where docker says index.docker.io.
func hubSpellings(key, host string) []string {
	if host != name.DefaultRegistry {
		return []string{key}
	}
	return []string{key, "docker.io" + strings.TrimPrefix(key, host)}
}

func hasSecret(a types.AuthConfig) bool {
	return a.Password != "" || a.Auth != "" || a.IdentityToken != "" || a.RegistryToken != ""
}

// plain drops the address the config adds, so that an empty entry compares as empty.
func plain(a types.AuthConfig) types.AuthConfig {
	a.ServerAddress = ""
	return a
}
