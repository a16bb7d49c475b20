//go:build !linux

package tree
