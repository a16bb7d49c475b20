package docker

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"bake/builder"
)

// streamSaved reads layers out of the archive that the engine saves, as they
// pass by. Since Docker 25 an entry's name is the layer's digest. Before, it
// is an id of the image format of 2013, and what it stands for is only told at
// the archive's end: see legacyNames.
func (e *Engine) streamSaved(ctx context.Context, id string, diffIDs []v1.Hash, wanted map[v1.Hash]bool, fn func(v1.Hash, io.Reader) error) error {
	c, err := e.client(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r, err := c.ImageSave(ctx, []string{id})
	if err != nil {
		return fmt.Errorf("saving image %s: %w", id, err)
	}
	defer r.Close()
	names, top := legacyNames(diffIDs), diffIDs[len(diffIDs)-1]
	for archive := tar.NewReader(r); len(wanted) > 0; {
		hdr, err := archive.Next()
		if err == io.EOF {
			return fmt.Errorf("saving image %s: a layer is missing: %w", id, builder.ErrNotFound)
		}
		if err != nil {
			return fmt.Errorf("saving image %s: %w", id, err)
		}
		diffID, ok := layerOf(hdr, names, top)
		if !ok || !wanted[diffID] {
			continue
		}
		delete(wanted, diffID)
		if err := fn(diffID, newVerified(archive, diffID)); err != nil {
			return err
		}
	}
	return nil
}

// layerOf tells which layer an entry of a saved archive is.
func layerOf(hdr *tar.Header, names map[string]v1.Hash, top v1.Hash) (v1.Hash, bool) {
	if hdr.Typeflag != tar.TypeReg {
		return v1.Hash{}, false
	}
	if digest, ok := strings.CutPrefix(hdr.Name, "blobs/sha256/"); ok {
		return v1.Hash{Algorithm: "sha256", Hex: digest}, true
	}
	if path.Base(hdr.Name) != "layer.tar" {
		return v1.Hash{}, false
	}
	if id, ok := names[path.Dir(hdr.Name)]; ok {
		return id, true
	}
	return top, true // its id depends on the whole config: it is the one that is left
}

// legacyLayer is how Docker before 25 writes the metadata of all layers but
// the last into a saved archive.
const legacyLayer = `{"created":"1970-01-01T00:00:00Z","container_config":{"Hostname":"","Domainname":"","User":"","AttachStdin":false,"AttachStdout":false,"AttachStderr":false,"Tty":false,"OpenStdin":false,"StdinOnce":false,"Env":null,"Cmd":null,"Image":"","Volumes":null,"WorkingDir":"","Entrypoint":null,"OnBuild":null,"Labels":null}}`

// legacyNames returns the directories that Docker before 25 saves layers in:
// the hash of the metadata above, the layer's chain id and the parent's name
// (CreateID in moby's image/v1). Where they are not right, streams do not
// have their layer's digest, and say so.
func legacyNames(diffIDs []v1.Hash) map[string]v1.Hash {
	names := map[string]v1.Hash{}
	chain, parent := "", ""
	for _, id := range diffIDs[:len(diffIDs)-1] {
		chain = nextChain(chain, id)
		fields := map[string]json.RawMessage{}
		_ = json.Unmarshal([]byte(legacyLayer), &fields) // a constant
		fields["layer_id"], _ = json.Marshal(chain)
		if parent != "" {
			fields["parent"], _ = json.Marshal(parent)
		}
		data, _ := json.Marshal(fields)
		parent = digestOf(data)
		names[strings.TrimPrefix(parent, "sha256:")] = id
	}
	return names
}

// loadStream puts an image into the engine whose layers come from a stream.
func (e *Engine) loadStream(ctx context.Context, config []byte, tag string, sizes map[v1.Hash]int64, stream builder.LayerStreamer) error {
	c, err := e.client(ctx)
	if err != nil {
		return err
	}
	r, w := io.Pipe()
	written := make(chan error, 1)
	go func() {
		err := writeStream(ctx, w, config, tag, sizes, stream)
		w.CloseWithError(err)
		written <- err
	}()
	resp, err := c.ImageLoad(ctx, r)
	if err == nil {
		err = messages(resp.Body, nil)
		resp.Body.Close()
	}
	r.CloseWithError(errStopped)
	if werr := <-written; err == nil && !errors.Is(werr, errStopped) {
		return werr
	}
	return err
}

func writeStream(ctx context.Context, w io.Writer, config []byte, tag string, sizes map[v1.Hash]int64, stream builder.LayerStreamer) error {
	file, err := parseConfig(config)
	if err != nil {
		return err
	}
	out := tar.NewWriter(w)
	item := manifestItem{Config: "config.json", RepoTags: []string{tag}}
	for _, id := range file.RootFS.DiffIDs {
		item.Layers = append(item.Layers, id.Hex+".tar")
	}
	manifest, err := json.Marshal([]manifestItem{item})
	if err != nil {
		return err
	}
	for name, data := range map[string][]byte{"manifest.json": manifest, item.Config: config} {
		if err := writeFile(out, name, int64(len(data)), bytes.NewReader(data)); err != nil {
			return err
		}
	}
	all := func(v1.Hash) bool { return true }
	err = stream.StreamLayers(ctx, all, func(id v1.Hash, tar io.Reader) error {
		return writeFile(out, id.Hex+".tar", sizes[id], tar)
	})
	if err != nil {
		return err
	}
	return out.Close()
}
