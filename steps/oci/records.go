package oci

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"

	"bake/builder"
)

// The kinds of records.
const (
	kindLayer    = "layers"    // diff id -> layerRecord
	kindPack     = "packs"     // layer directory -> packRecord, the last one
	kindSnapshot = "snapshots" // snapshot id -> snapshotRecord
	kindStep     = "steps"     // hash of predecessor and key -> the newest snapshotRecord
	kindImage    = "images"    // config digest -> imageRecord
	kindBase     = "bases"     // hash of pin and platform -> config digest
	kindMerge    = "merges"    // hash of layer directories -> mergeRecord
	kindSize     = "sizes"     // layer directory -> bytes on the disk
	kindArtifact = "artifacts" // build key -> builder.Artifact, once the tests have passed
)

// A layerRecord is a layer that is known by its content: a base's, or a packed
// one of ours.
type layerRecord struct {
	DiffID    string `json:"diff_id"`
	Blob      string `json:"blob"` // digest of the compressed content
	BlobSize  int64  `json:"blob_size"`
	MediaType string `json:"media_type"`
	Size      int64  `json:"size"` // of the tar
	// Dir is the layer unpacked. The blob is what lasts; the directory can be
	// made of it again.
	Dir string `json:"dir,omitempty"`
	// Boot is the boot in which Dir was made, if it was not synced to the disk:
	// in a later boot it may have lost what it held.
	Boot string `json:"boot,omitempty"`
}

// A packRecord is what a step's layer was packed to.
type packRecord struct {
	DiffID string `json:"diff_id"`
	// Created is the time to which newer files were set back.
	Created int64 `json:"created"`
	// Newest is the newest time of a file in the layer, unchanged.
	Newest int64 `json:"newest"`
}

// fits reports whether packing now for created would give the same.
func (p packRecord) fits(created int64, exact bool) bool {
	switch {
	case p.Created == created, p.Newest <= min(p.Created, created):
		return true
	}
	return !exact && p.Created <= created
}

// A mergeRecord is a directory that many layers were merged to.
type mergeRecord struct {
	Dir  string `json:"dir"`
	Boot string `json:"boot"` // see layerRecord
}

// A snapshotRecord is a layer that a step left, and what it stands on.
type snapshotRecord struct {
	ID      string         `json:"id"`
	Parent  string         `json:"parent"` // snapshot, or "" for the base
	Base    string         `json:"base"`   // config digest of the image below all
	Dir     string         `json:"dir"`
	Key     builder.Digest `json:"key"`
	Step    string         `json:"step"`
	Created time.Time      `json:"created"`
	Boot    string         `json:"boot,omitempty"` // see layerRecord
}

// An imageRecord is an image all of whose content is in the store.
type imageRecord struct {
	Config   []byte        `json:"config"`
	Manifest []byte        `json:"manifest"`
	Layers   []layerRecord `json:"layers"` // base first, without their directories
}

// stepName names what follows parent under key, so that the same step on
// another predecessor is another one.
func stepName(base, parent string, key builder.Digest) string {
	return address("step", base, parent, string(key))
}

func address(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(h, "%q ", p)
	}
	return hex.EncodeToString(h.Sum(nil))
}
