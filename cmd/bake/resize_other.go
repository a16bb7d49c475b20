//go:build !unix

package main

import "os"

// watchSize tells the other side of a terminal its size; that it changes is not
// told here.
func watchSize(in *os.File, resize func(rows, cols int) error) (stop func()) {
	fit(in, resize)
	return func() {}
}
