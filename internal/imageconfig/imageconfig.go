// Package imageconfig writes the config file of a finished image, in the same
// bytes whichever engine made the layers.
package imageconfig

import (
	"bytes"
	"encoding/json"
	"fmt"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"bake/builder"
)

// Final returns the config file of an image: base, the base image's config,
// with the layers diffIDs, of which the last len(steps) were made by those
// steps, and the template's changes; nothing of how or when it was made but
// f.Created.
func Final(base []byte, diffIDs, steps []string, f builder.Freezing) ([]byte, error) {
	file, err := v1.ParseConfigFile(bytes.NewReader(base))
	if err != nil {
		return nil, fmt.Errorf("the base image's config: %w", err)
	}
	if len(diffIDs) != len(file.RootFS.DiffIDs)+len(steps) {
		return nil, fmt.Errorf("the image has %d layers, not %d of its base and %d of its own", len(diffIDs), len(file.RootFS.DiffIDs), len(steps))
	}
	file.Created = v1.Time{Time: f.Created.UTC()}
	//lint:ignore SA1019 a base image may still have the field
	file.Author, file.Container, file.DockerVersion = "", "", ""
	file.RootFS = v1.RootFS{Type: "layers", DiffIDs: make([]v1.Hash, len(diffIDs))}
	for i, id := range diffIDs {
		if file.RootFS.DiffIDs[i], err = v1.NewHash(id); err != nil {
			return nil, err
		}
	}
	for _, step := range steps {
		file.History = append(file.History, v1.History{Created: file.Created, CreatedBy: step, Comment: "bake"})
	}
	if !f.Config.IsZero() {
		if err := configure(&file.Config, f.Config); err != nil {
			return nil, err
		}
	}
	return json.Marshal(file)
}
