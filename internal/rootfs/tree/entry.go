// Package tree moves file trees: it walks directories, writes what it finds as
// a stream of entries, and makes files of such a stream below a directory that
// nothing in the stream leads out of. It knows the marks of overlayfs and the
// whiteouts of image layers. It uses the standard library's small packages
// only, because the process inside a root runs it too (see package inside).
package tree

import (
	"errors"
	"io"
	"io/fs"
	"strings"
)

// Names of whiteouts in image layers (OCI image specification, layer.md).
const (
	whiteoutPrefix = ".wh."
	whiteoutOpaque = ".wh..wh..opq"
)

// An Entry is one file of a tree.
type Entry struct {
	Path   string      // slash-separated and relative; "." is the tree's top
	Mode   fs.FileMode // type, permissions, setuid, setgid, sticky
	UID    int
	GID    int
	Size   int64  // of the content that follows; regular files only
	Link   string // target of a symlink, or path of the entry this is a hard link to
	Hard   bool
	Sec    int64 // modification time
	Nsec   int64
	Major  uint32 // of devices
	Minor  uint32
	Xattrs map[string]string
}

// Options say how trees are walked and applied.
type Options struct {
	// Layer: directories are overlayfs layers; entries have the whiteouts of image layers.
	Layer bool
	// UserXattr: overlayfs keeps its marks in user.overlay.*, as it does in a user namespace.
	UserXattr bool
	// Squash: several layers become one that lies on the directories Below.
	// Whiteouts of what is not there are left out: overlayfs would list them in
	// a directory that is not merged with another.
	Squash bool
	Below  []string
	// Lenient: owners, attributes and devices that a user namespace does not let
	// us make are left out instead of being an error.
	Lenient bool
	// KeepLinks: a link to a directory stays where the stream has a directory,
	// as /lib does when files are copied to /.
	KeepLinks bool
}

// errUnsafe is wrapped by errors about names that no honest tree has.
var errUnsafe = errors.New("unsafe name")

// A Func is called with each entry; r is the content of a regular file and
// must be read to its end before the function returns, unless it fails.
type Func func(e *Entry, r io.Reader) error

// clean returns the path without "./", doubled and trailing slashes; a ".."
// that is a whole element is refused rather than worked out.
func clean(p string) (string, error) {
	parts := strings.Split(p, "/")
	kept := parts[:0]
	for _, part := range parts {
		switch part {
		case "", ".":
		case "..":
			return "", errUnsafe
		default:
			kept = append(kept, part)
		}
	}
	if len(kept) == 0 {
		return ".", nil
	}
	return strings.Join(kept, "/"), nil
}

func split(p string) (dir, name string) {
	if i := strings.LastIndexByte(p, '/'); i >= 0 {
		return p[:i], p[i+1:]
	}
	return ".", p
}

func join(dir, name string) string {
	if dir == "." || dir == "" {
		return name
	}
	return dir + "/" + name
}
