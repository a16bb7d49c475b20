package docker

import (
	"context"
	"fmt"

	"github.com/containerd/errdefs"
	"github.com/distribution/reference"
	"github.com/docker/cli/cli/config"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/api/types/registry"

	"bake/builder"
)

// pull lets the engine fetch ref, which names a digest, with the user's
// credentials for that registry.
func (e *Engine) pull(ctx context.Context, sc *builder.Scope, ref string, p builder.Platform) error {
	c, err := e.client(ctx)
	if err != nil {
		return err
	}
	auth, err := e.credentials(ctx, ref)
	if err != nil {
		return err
	}
	r, err := c.ImagePull(ctx, ref, image.PullOptions{RegistryAuth: auth, Platform: p.String()})
	if err != nil {
		if errdefs.IsNotFound(err) {
			return fmt.Errorf("pulling %s for %s: %w", ref, p, builder.ErrNotFound)
		}
		return fmt.Errorf("pulling %s for %s: %w", ref, p, err)
	}
	defer r.Close()
	err = messages(r, func(m message) {
		verb := map[string]string{"Downloading": "pulling", "Extracting": "unpacking"}[m.Status]
		ended := m.Status == "Pull complete" || m.Status == "Already exists"
		if verb != "" || ended {
			sc.Progress(builder.Progress{ID: "layer " + m.ID, Verb: verb, Done: m.Progress.Current, Total: m.Progress.Total, Unit: "B", Ended: ended})
		}
	})
	if err != nil {
		return fmt.Errorf("pulling %s for %s: %w", ref, p, err)
	}
	return nil
}

// credentials returns bake's own for ref's registry, or what the user's docker
// config holds, as the engine's API takes it. The config is only read.
func (e *Engine) credentials(ctx context.Context, ref string) (string, error) {
	named, err := reference.ParseNormalizedNamed(ref)
	if err != nil {
		return "", fmt.Errorf("image %q: %w", ref, err)
	}
	host := reference.Domain(named)
	if e.opts.Password != nil {
		user, password, err := e.opts.Password(ctx, host)
		if err != nil {
			return "", err
		}
		if password != "" {
			return registry.EncodeAuthConfig(registry.AuthConfig{Username: user, Password: password, ServerAddress: host})
		}
	}
	if host == "docker.io" {
		host = "https://index.docker.io/v1/" // the docker command's name for Docker Hub
	}
	cfg, err := config.Load(configDir(e.opts))
	if err != nil {
		return "", err
	}
	a, err := cfg.GetAuthConfig(host)
	if err != nil {
		return "", fmt.Errorf("credentials for %s: %w", host, err)
	}
	return registry.EncodeAuthConfig(registry.AuthConfig{
		Username: a.Username, Password: a.Password, Auth: a.Auth,
		ServerAddress: a.ServerAddress, IdentityToken: a.IdentityToken, RegistryToken: a.RegistryToken,
	})
}
