//go:build !linux

// Package wire carries messages and file descriptors between bake and its
// process inside a root; it is empty where there are no such processes.
package wire
