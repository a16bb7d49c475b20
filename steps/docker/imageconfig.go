package docker

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"bake/builder"
)

// maxConfig is the size above which a file is not taken for an image's config.
const maxConfig = 4 << 20

// imageConfig returns the config file of an image that the engine holds, which
// its API does not tell. open may be nil; it opens the same image elsewhere.
func (e *Engine) imageConfig(ctx context.Context, id string, open openBase) ([]byte, error) {
	e.mu.Lock()
	config := e.configs[id]
	e.mu.Unlock()
	if config != nil {
		return config, nil
	}
	sources := []func() ([]byte, error){
		func() ([]byte, error) { return e.notedConfig(ctx, id) },
		func() ([]byte, error) { return e.storedConfig(id) },
		func() ([]byte, error) { return remoteConfig(ctx, open) },
		func() ([]byte, error) { return e.savedConfig(ctx, id) },
	}
	var errs []error
	for _, source := range sources {
		data, err := source()
		if err == nil && e.isConfigOf(ctx, data, id) {
			e.mu.Lock()
			e.configs[id] = data
			e.mu.Unlock()
			return data, nil
		}
		errs = append(errs, err)
	}
	return nil, fmt.Errorf("reading the config of image %s: %w", id, errors.Join(errs...))
}

// isConfigOf reports whether data is the config file of an image. An engine on
// containerd's image store does not name images by the hash of their config:
// there the layers tell.
func (e *Engine) isConfigOf(ctx context.Context, data []byte, id string) bool {
	if digestOf(data) == id {
		return true
	}
	img, err := e.inspect(ctx, id)
	return err == nil && sameLayers(data, img) && img.Descriptor != nil
}

func digestOf(data []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(data)) }

// noteOf is an image without content whose labels remember what the engine's
// API does not tell about image id: its config file, and what bake knows of it.
func noteOf(id string, config, artifact []byte) (loading, error) {
	labels := map[string]string{labelConfig: string(config)}
	if artifact != nil {
		labels[labelArtifact] = string(artifact)
	}
	note, err := json.Marshal(v1.ConfigFile{
		Architecture: "amd64", OS: "linux",
		RootFS: v1.RootFS{Type: "layers", DiffIDs: []v1.Hash{}},
		Config: v1.Config{Labels: labels},
	})
	return loading{config: note, tag: noteName(id)}, err
}

func noteName(id string) string { return cacheRepository + ":image-" + short(id) }

// notedConfig is what a note holds.
func (e *Engine) notedConfig(ctx context.Context, id string) ([]byte, error) {
	note, err := e.inspect(ctx, noteName(id))
	if err != nil {
		return nil, err
	}
	return []byte(note.Config.Labels[labelConfig]), nil
}

// storedConfig reads the file of an engine on this machine, for those who may.
func (e *Engine) storedConfig(id string) ([]byte, error) {
	root, driver, err := e.dataRoot()
	if err != nil {
		return nil, err
	}
	return os.ReadFile(filepath.Join(root, "image", driver, "imagedb", "content", "sha256", strings.TrimPrefix(id, "sha256:")))
}

// dataRoot returns the directory of an engine on this machine, and its storage driver.
func (e *Engine) dataRoot() (root, driver string, err error) {
	ep, err := e.find()
	if err != nil {
		return "", "", err
	}
	if !strings.HasPrefix(ep.host, "unix://") {
		return "", "", errors.ErrUnsupported
	}
	info, err := e.info()
	if err != nil {
		return "", "", err
	}
	return info.DockerRootDir, info.Driver, nil
}

func remoteConfig(ctx context.Context, open openBase) ([]byte, error) {
	if open == nil {
		return nil, builder.ErrNotFound
	}
	img, err := open(ctx)
	if err != nil {
		return nil, err
	}
	return img.RawConfigFile()
}

// savedConfig reads the config out of the archive that save makes.
func (e *Engine) savedConfig(ctx context.Context, id string) ([]byte, error) {
	c, err := e.client(ctx)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r, err := c.ImageSave(ctx, []string{id})
	if err != nil {
		return nil, err
	}
	defer r.Close()
	for archive := tar.NewReader(r); ; {
		hdr, err := archive.Next()
		if err == io.EOF {
			return nil, builder.ErrNotFound
		}
		if err != nil {
			return nil, err
		}
		if hdr.Typeflag != tar.TypeReg || hdr.Size > maxConfig {
			continue
		}
		data, err := io.ReadAll(archive)
		if err != nil {
			return nil, err
		}
		if digestOf(data) == id {
			return data, nil
		}
	}
}
