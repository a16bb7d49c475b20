package amazon

import (
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// Fresh is an image that this process has just made, as AWS described it: nobody
// else has heard of it yet, so that it need not be asked what has become of it.
type Fresh struct {
	Image     types.Image
	Snapshots []types.Snapshot
}

// KeepFresh remembers an image that was just made, or what was just changed of it.
func (c *Cloud) KeepFresh(f Fresh) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.images[*f.Image.ImageId] = f
}

// TakeFresh returns what is known of an image that this process has just made.
// It does so once: whoever takes it changes the image, or makes others of it.
func (c *Cloud) TakeFresh(id string) (Fresh, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f, ok := c.images[id]
	delete(c.images, id)
	return f, ok
}

// TagFresh remembers that an image and its snapshots have just been given tags.
func (c *Cloud) TagFresh(id string, tags []types.Tag) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f, ok := c.images[id]
	if !ok {
		return
	}
	f.Image.Tags = retagged(f.Image.Tags, tags)
	f.Snapshots = slices.Clone(f.Snapshots)
	for i, s := range f.Snapshots {
		f.Snapshots[i].Tags = retagged(s.Tags, tags)
	}
	c.images[id] = f
}

func retagged(have, more []types.Tag) []types.Tag {
	left := slices.DeleteFunc(slices.Clone(have), func(h types.Tag) bool {
		return slices.ContainsFunc(more, func(m types.Tag) bool { return aws.ToString(m.Key) == aws.ToString(h.Key) })
	})
	return append(left, more...)
}

// NoteEnded remembers that this process has terminated an instance, which no
// instance comes back from.
func (c *Cloud) NoteEnded(instance string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended[instance] = true
}

// HasEnded reports whether NoteEnded was told of the instance.
func (c *Cloud) HasEnded(instance string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ended[instance]
}
