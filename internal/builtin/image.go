package builtin

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"bake/builder"
)

// version is part of the digest: it goes up when the root filesystem around
// the program changes.
const version = 1

// Image returns the built-in base for a platform, and a digest that stands for
// its content and is known without reading the program through. Reading the
// image does that, once. It fails with *UnusableError if there is no static
// program for the platform.
func Image(ctx context.Context, platform builder.Platform) (v1.Image, builder.Digest, error) {
	if err := ctx.Err(); err != nil {
		return nil, "", err
	}
	b, err := program(platform)
	if err != nil {
		return nil, "", err
	}
	digest, err := b.digest()
	if err != nil {
		return nil, "", err
	}
	img, err := image(b)
	return img, digest, err
}

// digest names the content. The linker's build id is a hash of the program; one
// that was built without is hashed here.
func (b binary) digest() (builder.Digest, error) {
	h := sha256.New()
	fmt.Fprintf(h, "bake built-in base %d %s %d %x\n", version, b.platform, b.size, b.buildID)
	if len(b.buildID) == 0 {
		f, err := os.Open(b.path)
		if err != nil {
			return "", err
		}
		defer f.Close()
		if _, err := io.Copy(h, f); err != nil {
			return "", fmt.Errorf("hashing %s: %w", b.name(), err)
		}
	}
	return builder.Digest("sha256:" + hex.EncodeToString(h.Sum(nil))), nil
}

// image is lazy: mutate asks the layer for its digest when it is asked itself.
func image(b binary) (v1.Image, error) {
	base := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	base, err := mutate.ConfigFile(base, &v1.ConfigFile{
		OS: b.platform.OS, Architecture: b.platform.Arch, Variant: b.platform.Variant,
		Config: v1.Config{
			Env: []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
			Cmd: []string{"/bin/sh"},
		},
		RootFS: v1.RootFS{Type: "layers"},
	})
	if err != nil {
		return nil, err
	}
	return mutate.Append(base, mutate.Addendum{
		Layer:   &layer{b: b},
		History: v1.History{CreatedBy: "bake built-in base"},
	})
}
