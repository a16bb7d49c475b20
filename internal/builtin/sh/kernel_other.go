//go:build !linux

package sh

import "errors"

// The shell is that of the built-in base, which is a Linux image: elsewhere it
// is linked and never run.

func memoryFile(string) (int, error) { return -1, errors.ErrUnsupported }

func replace(int, int) error { return errors.ErrUnsupported }
