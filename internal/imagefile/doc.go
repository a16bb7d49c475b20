// Package imagefile reads and writes container images as files: OCI layouts,
// OCI archives, docker archives and tars of a whole root filesystem. What it
// writes depends on the image alone, streams, and appears under its name only
// when it is whole.
package imagefile
