//go:build !linux

package oci

import "bake/internal/rootfs"

// sync is never reached: the engine needs Linux.
func (s *store) sync() error { return rootfs.ErrUnsupported }
