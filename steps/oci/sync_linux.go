package oci

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// sync returns when all that was written to the store's file system is on its disk.
func (s *store) sync() error {
	f, err := os.Open(s.dir)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.Syncfs(int(f.Fd())); err != nil {
		return fmt.Errorf("syncing the store: %w", err)
	}
	return nil
}
