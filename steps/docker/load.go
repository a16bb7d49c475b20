package docker

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/docker/docker/client"
)

// A loading is an image to be put into the engine: a config file, and the
// layers it names, where the engine does not hold them.
type loading struct {
	config []byte
	tag    string // may be empty
	layers []layerFile
}

// A layerFile is a layer's tar, possibly compressed. Without open the engine
// is expected to hold the layer: it looks layers up by their chain id before
// it reads any content (image/tarexport in every release with API 1.41 on).
type layerFile struct {
	size int64
	open func() (io.ReadCloser, error)
}

// manifestItem is one image in a docker archive's manifest.json.
// https://github.com/moby/moby/blob/master/image/spec/v1.2.md#combined-image-json--filesystem-changeset-format
type manifestItem struct {
	Config   string
	RepoTags []string
	Layers   []string
}

// loadConfig makes an image of a config file and layers that the engine holds
// already. It writes nothing but the config: exactly these bytes, so that the
// image's id is their hash.
func (e *Engine) loadConfig(ctx context.Context, images ...loading) error {
	for i := range images {
		file, err := parseConfig(images[i].config)
		if err != nil {
			return err
		}
		images[i].layers = make([]layerFile, len(file.RootFS.DiffIDs))
	}
	return e.load(ctx, images...)
}

// load streams a docker archive into the engine.
func (e *Engine) load(ctx context.Context, images ...loading) error {
	c, err := e.client(ctx)
	if err != nil {
		return err
	}
	r, w := io.Pipe()
	written := make(chan error, 1)
	go func() {
		err := writeArchive(w, images)
		w.CloseWithError(err)
		written <- err
	}()
	resp, err := c.ImageLoad(ctx, r, client.ImageLoadWithQuiet(true))
	if err == nil {
		err = messages(resp.Body, nil)
		resp.Body.Close()
	}
	r.CloseWithError(errors.New("the engine reads no more"))
	if werr := <-written; err == nil {
		return werr
	}
	return err
}

func writeArchive(w io.Writer, images []loading) error {
	out := tar.NewWriter(w)
	var manifest []manifestItem
	for n, img := range images {
		item := manifestItem{Config: fmt.Sprintf("%d.json", n)}
		if img.tag != "" {
			item.RepoTags = []string{img.tag}
		}
		if err := writeFile(out, item.Config, int64(len(img.config)), bytes.NewReader(img.config)); err != nil {
			return err
		}
		for i, layer := range img.layers {
			name := fmt.Sprintf("%d-%d.tar", n, i)
			item.Layers = append(item.Layers, name)
			if layer.open == nil {
				continue
			}
			if err := writeLayer(out, name, layer); err != nil {
				return err
			}
		}
		manifest = append(manifest, item)
	}
	data, err := json.Marshal(manifest)
	if err != nil {
		return err
	}
	if err := writeFile(out, "manifest.json", int64(len(data)), bytes.NewReader(data)); err != nil {
		return err
	}
	return out.Close()
}

func writeLayer(out *tar.Writer, name string, layer layerFile) error {
	r, err := layer.open()
	if err != nil {
		return err
	}
	defer r.Close()
	return writeFile(out, name, layer.size, r)
}

func writeFile(out *tar.Writer, name string, size int64, content io.Reader) error {
	if err := out.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Size: size, Mode: 0o644}); err != nil {
		return err
	}
	n, err := io.Copy(out, content)
	if err == nil && n != size {
		return fmt.Errorf("%d bytes instead of %d: %w", n, size, io.ErrUnexpectedEOF)
	}
	return err
}

// A message is one line of what the engine says while it pulls or loads.
type message struct {
	ID       string `json:"id"`
	Status   string `json:"status"`
	Progress struct {
		Current int64 `json:"current"`
		Total   int64 `json:"total"`
	} `json:"progressDetail"`
	Error *struct {
		Message string `json:"message"`
	} `json:"errorDetail"`
}

// messages reads what the engine says to its end and returns the error that
// it reports, if any. tell may be nil.
func messages(r io.Reader, tell func(message)) error {
	for dec := json.NewDecoder(r); ; {
		var m message
		err := dec.Decode(&m)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if m.Error != nil {
			return errors.New(m.Error.Message)
		}
		if tell != nil {
			tell(m)
		}
	}
}
