//go:build unix

package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

// whileRead returns a context that ends, as if by Ctrl-C, when nobody reads
// this program's output any more: `bake web.yaml | head`, a pager that was
// left. The signal's own way, to die at once, would leave the run's machines.
func whileRead(parent context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(parent)
	broken := make(chan os.Signal, 1)
	signal.Notify(broken, syscall.SIGPIPE)
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-broken:
				if isUnread() { // and not some connection
					cancel(errInterrupted)
				}
			}
		}
	}()
	return ctx, func() {
		signal.Stop(broken)
		cancel(nil)
	}
}

// isUnread reports whether stdout or stderr is a pipe whose reader has gone.
func isUnread() bool {
	fds := []unix.PollFd{{Fd: 1, Events: unix.POLLOUT}, {Fd: 2, Events: unix.POLLOUT}}
	n, err := unix.Poll(fds, 0)
	const gone = unix.POLLERR | unix.POLLHUP
	return err == nil && n > 0 && (fds[0].Revents|fds[1].Revents)&gone != 0
}
