//go:build !linux

// Package sys holds the Linux system calls that package syscall lacks; it is
// empty elsewhere.
package sys
