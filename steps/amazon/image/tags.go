package image

import (
	"crypto/sha256"
	"encoding/base32"
	"maps"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// TagTags notes which of a resource's tags the template has set: a short hash
// of each key, one after the other. A tag that is taken out of the template is
// removed by it, and tags that others set are left alone. Keys themselves would
// not fit: a value has 256 characters.
const TagTags = "bake:tags"

// The limits of tags (EC2 user guide, "Tag restrictions"). Twelve of the fifty
// are bake's.
const (
	tagKeyMax   = 128
	tagValueMax = 256
	tagsMax     = 38
	noteLen     = 5
)

func noteOf(key string) string {
	sum := sha256.Sum256([]byte(key))
	return strings.ToLower(base32.StdEncoding.EncodeToString(sum[:]))[:noteLen]
}

// withNote adds the note to the template's tags. It also holds more keys.
func withNote(tags map[string]string, more ...string) map[string]string {
	out := maps.Clone(tags)
	if out == nil {
		out = map[string]string{}
	}
	var note strings.Builder
	for _, k := range slices.Sorted(maps.Keys(tags)) {
		note.WriteString(noteOf(k))
	}
	for _, k := range more {
		note.WriteString(noteOf(k))
	}
	if note.Len() > 0 {
		out[TagTags] = note.String()
	}
	return out
}

// noted reports whether the note says that the template has set the tag.
func noted(note, key string) bool {
	want := noteOf(key)
	for i := 0; i+noteLen <= len(note); i += noteLen {
		if note[i:i+noteLen] == want {
			return true
		}
	}
	return false
}

// tagList is the form that the API takes, in order.
func tagList(tags map[string]string) []types.Tag {
	var out []types.Tag
	for _, k := range slices.Sorted(maps.Keys(tags)) {
		out = append(out, types.Tag{Key: aws.String(k), Value: aws.String(tags[k])})
	}
	return out
}
