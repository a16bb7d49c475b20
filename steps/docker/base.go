package docker

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/image"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"bake/builder"
)

// OpenBase returns the image that a build starts from; it may have to fetch it.
type openBase = func(ctx context.Context) (v1.Image, error)

// A base is what containers of a build are made from.
type base struct {
	image    string // id of the plain image: see plain
	original string // id of the image that the template names
}

// base finds or prepares what the machine starts from. Images with stable
// names remember it between runs: the plain image, and a note of the
// original's config.
func (e *Engine) base(ctx context.Context, sc *builder.Scope, from builder.Opening, open openBase, ref string) (base, error) {
	name := baseName(from)
	defer e.lockBase(name)()
	if b, err := e.preparedBase(ctx, name); err == nil || !errors.Is(err, builder.ErrNotFound) {
		return b, err
	}
	id, config, err := e.original(ctx, sc, from, open, ref)
	if err != nil {
		return base{}, err
	}
	plainConfig, err := plain(config, id)
	if err != nil {
		return base{}, fmt.Errorf("config of the base image: %w", err)
	}
	note, err := noteOf(id, config, nil)
	if err != nil {
		return base{}, err
	}
	err = e.loadConfig(ctx, loading{config: plainConfig, tag: cacheRepository + ":base-" + name}, note)
	if err == nil {
		b, err := e.preparedBase(ctx, name)
		if err == nil {
			return b, nil
		}
	}
	if ctx.Err() != nil {
		return base{}, context.Cause(ctx)
	}
	return base{image: id, original: id}, nil // an engine that takes no config without layers: do without
}

// cacheRepository names the images that bake keeps for itself.
const cacheRepository = "bake-cache"

func baseName(from builder.Opening) string {
	start := string(from.Pin.Digest)
	if from.Base != nil && from.Base.Image != nil {
		start = from.Base.Image.ID
	}
	return fmt.Sprintf("%x", sha256.Sum256(fmt.Appendf(nil, "1 %s %s", start, from.Platform)))[:32]
}

func (e *Engine) lockBase(name string) (unlock func()) {
	e.mu.Lock()
	lock := e.bases[name]
	if lock == nil {
		lock = new(sync.Mutex)
		e.bases[name] = lock
	}
	e.mu.Unlock()
	lock.Lock()
	return lock.Unlock
}

func (e *Engine) preparedBase(ctx context.Context, name string) (base, error) {
	image, err := e.inspect(ctx, cacheRepository+":base-"+name)
	if err != nil {
		return base{}, err
	}
	original := image.Config.Labels[labelBase]
	config, err := e.imageConfig(ctx, original, nil)
	if err != nil || !sameLayers(config, image) {
		return base{}, builder.ErrNotFound // half removed, or not ours: prepare it again
	}
	return base{image: image.ID, original: original}, nil
}

func sameLayers(config []byte, img image.InspectResponse) bool {
	file, err := parseConfig(config)
	if err != nil || len(file.RootFS.DiffIDs) != len(img.RootFS.Layers) {
		return false
	}
	for i, id := range file.RootFS.DiffIDs {
		if id.String() != img.RootFS.Layers[i] {
			return false
		}
	}
	return true
}

// inspect returns ErrNotFound if the engine has no such image.
func (e *Engine) inspect(ctx context.Context, name string) (image.InspectResponse, error) {
	c, err := e.client(ctx)
	if err != nil {
		return image.InspectResponse{}, err
	}
	img, err := c.ImageInspect(ctx, name)
	if errdefs.IsNotFound(err) {
		return img, fmt.Errorf("image %s: %w", name, builder.ErrNotFound)
	}
	return img, err
}

// original makes sure that the engine holds the image that the build starts
// from, and returns its id and its config file. What the engine has is not
// fetched; what it can pull it pulls itself; everything else is streamed into it.
func (e *Engine) original(ctx context.Context, sc *builder.Scope, from builder.Opening, open openBase, ref string) (string, []byte, error) {
	if from.Base != nil && from.Base.Image != nil && from.Base.Image.Engine == engineName {
		id := platformImage(*from.Base.Image, from.Platform).ID
		config, err := e.imageConfig(ctx, id, nil)
		return id, config, err
	}
	if ref != "" {
		id, err := e.referenced(ctx, sc, ref, from.Platform)
		if err == nil {
			config, err := e.imageConfig(ctx, id, open)
			return id, config, err
		}
		if ctx.Err() != nil {
			return "", nil, err
		}
		sc.Log("the Docker engine cannot pull it (%v): loading it instead", err)
	}
	img, err := open(ctx)
	if err != nil {
		return "", nil, err
	}
	return e.loadImage(ctx, sc, img, from, ref)
}

func platformImage(img builder.Image, p builder.Platform) builder.Image {
	for _, m := range img.Manifests {
		if m.Platform == p {
			return m
		}
	}
	return img
}

// referenced returns the id of the image with a digest reference.
func (e *Engine) referenced(ctx context.Context, sc *builder.Scope, ref string, p builder.Platform) (string, error) {
	img, err := e.inspect(ctx, ref)
	if err == nil && fits(img, p) {
		return img.ID, nil
	}
	if err != nil && !errors.Is(err, builder.ErrNotFound) {
		return "", err
	}
	if err := e.pull(ctx, sc, ref, p); err != nil {
		return "", err
	}
	img, err = e.inspect(ctx, ref)
	if err != nil {
		return "", err
	}
	if !fits(img, p) {
		return "", fmt.Errorf("image %s is for %s/%s, not %s", ref, img.Os, img.Architecture, p)
	}
	return img.ID, nil
}

func fits(img image.InspectResponse, p builder.Platform) bool {
	return img.Os == p.OS && img.Architecture == p.Arch && (img.Variant == "" || p.Variant == "" || img.Variant == p.Variant)
}

// plain returns the config of image id without what would change how a build's
// containers behave: entrypoint, user, volumes, whose content no layer would get, and so on.
func plain(config []byte, id string) ([]byte, error) {
	file, err := parseConfig(config)
	if err != nil {
		return nil, err
	}
	return json.Marshal(v1.ConfigFile{
		Architecture: file.Architecture, OS: file.OS, Variant: file.Variant, Created: file.Created,
		RootFS: file.RootFS,
		Config: v1.Config{Env: file.Config.Env, WorkingDir: file.Config.WorkingDir, Labels: map[string]string{labelBase: id}},
	})
}

// loadImage puts an image from elsewhere into the engine: only its config if
// the engine has the layers already.
func (e *Engine) loadImage(ctx context.Context, sc *builder.Scope, img v1.Image, from builder.Opening, ref string) (string, []byte, error) {
	config, err := baseConfig(img, from.Platform)
	if err != nil {
		return "", nil, err
	}
	id := digestOf(config)
	if _, err := e.inspect(ctx, id); err == nil {
		return id, config, nil
	}
	compressed := ref != "" || from.Base != nil // the others are files on this machine
	if err := e.put(ctx, sc, img, config, compressed); err != nil {
		return "", nil, fmt.Errorf("loading the base image into the Docker engine: %w", err)
	}
	return id, config, nil
}

// put makes an image exist in the engine: only its config if the engine has
// the layers. compressed says that the layers are known in that form.
func (e *Engine) put(ctx context.Context, sc *builder.Scope, img v1.Image, config []byte, compressed bool) error {
	if e.loadConfig(ctx, loading{config: config}) == nil {
		if _, err := e.inspect(ctx, digestOf(config)); err == nil {
			return nil
		}
	}
	layers, err := img.Layers()
	if err != nil {
		return err
	}
	if len(layers) == 1 && !compressed {
		if err := e.importLayer(ctx, sc, layers[0]); err != nil {
			return err
		}
		return e.loadConfig(ctx, loading{config: config})
	}
	files := make([]layerFile, len(layers))
	for i, layer := range layers {
		if files[i], err = layerContent(layer, compressed); err != nil {
			return err
		}
		files[i] = watched(ctx, sc, files[i], i)
	}
	return e.load(ctx, loading{config: config, layers: files})
}

// importLayer gives the engine one layer as the image of its own that import
// makes: unlike a docker archive that needs no size ahead of the content.
func (e *Engine) importLayer(ctx context.Context, sc *builder.Scope, layer v1.Layer) error {
	c, err := e.client(ctx)
	if err != nil {
		return err
	}
	content, err := watched(ctx, sc, layerFile{open: layer.Uncompressed}, 0).open()
	if err != nil {
		return err
	}
	defer content.Close()
	resp, err := c.ImageImport(ctx, image.ImportSource{Source: content, SourceName: "-"}, "", image.ImportOptions{})
	if err != nil {
		return err
	}
	defer resp.Close()
	return messages(resp, nil)
}

// baseConfig returns the image's config; an image from scratch gets the platform.
func baseConfig(img v1.Image, p builder.Platform) ([]byte, error) {
	file, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	if file.OS != "" && file.Architecture != "" {
		return img.RawConfigFile()
	}
	file = file.DeepCopy()
	file.OS, file.Architecture, file.Variant = p.OS, p.Arch, p.Variant
	if file.RootFS.Type == "" {
		file.RootFS.Type = "layers"
	}
	if file.RootFS.DiffIDs == nil {
		file.RootFS.DiffIDs = []v1.Hash{}
	}
	return json.Marshal(file)
}

// layerContent returns a layer as it goes into a docker archive, whose entries
// say their size first. The compressed size of a layer on this machine may not
// be known: it is read twice instead of being compressed.
func layerContent(layer v1.Layer, compressed bool) (layerFile, error) {
	mediaType, err := layer.MediaType()
	if err != nil {
		return layerFile{}, err
	}
	// 20.10 takes gzip; zstd only since 23.
	if compressed && !strings.Contains(string(mediaType), "zstd") {
		size, err := layer.Size()
		return layerFile{size: size, open: layer.Compressed}, err
	}
	r, err := layer.Uncompressed()
	if err != nil {
		return layerFile{}, err
	}
	defer r.Close()
	size, err := io.Copy(io.Discard, r)
	return layerFile{size: size, open: layer.Uncompressed}, err
}

// watched returns file with its progress told.
func watched(ctx context.Context, sc *builder.Scope, file layerFile, n int) layerFile {
	return layerFile{size: file.size, open: func() (io.ReadCloser, error) {
		r, err := file.open()
		if err != nil {
			return nil, err
		}
		progress := builder.Progress{ID: fmt.Sprintf("layer %d", n+1), Verb: "loading", Total: file.size, Unit: "B"}
		return &counted{ReadCloser: r, ctx: ctx, sc: sc, progress: progress}, nil
	}}
}

// counted tells how much of a layer was read.
type counted struct {
	io.ReadCloser
	ctx      context.Context // of the one transfer that this reader serves
	sc       *builder.Scope
	progress builder.Progress
}

func (c *counted) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := c.ReadCloser.Read(p)
	c.progress.Done += int64(n)
	c.progress.Ended = err != nil
	if c.sc != nil {
		c.sc.Progress(c.progress)
	}
	return n, err
}
