//go:build unix

package main

import (
	"os"
	"os/signal"
	"syscall"
)

// watchSize tells the other side of a terminal its size, now and whenever it
// changes, until stop is called.
func watchSize(in *os.File, resize func(rows, cols int) error) (stop func()) {
	changed := make(chan os.Signal, 1)
	signal.Notify(changed, syscall.SIGWINCH)
	fit(in, resize)
	go func() {
		for range changed {
			fit(in, resize)
		}
	}()
	return func() {
		signal.Stop(changed)
		close(changed)
	}
}
