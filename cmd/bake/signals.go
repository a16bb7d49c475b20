package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// interruptible returns a context that the first signal ends, with
// errInterrupted as its cause; at the second one it calls stop at once, which
// ends the program.
func interruptible(parent context.Context, stop func()) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(parent)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	over := make(chan struct{})
	go heed(signals, over, time.Now, func() { cancel(errInterrupted) }, stop)
	return ctx, func() {
		signal.Stop(signals)
		close(over)
		cancel(nil)
	}
}

// echo is how long after a signal another one is the same: timeout(1), sudo
// and shells pass a signal on that the terminal or they themselves have sent
// to the whole process group.
const echo = 250 * time.Millisecond

// heed calls first at the first signal and second at the next one that is not
// its echo, and returns then or when over is closed.
func heed(signals <-chan os.Signal, over <-chan struct{}, now func() time.Time, first, second func()) {
	var began time.Time
	for {
		select {
		case <-over:
			return
		case <-signals:
		}
		switch {
		case began.IsZero():
			began = now()
			first()
		case now().Sub(began) >= echo:
			second()
			return
		}
	}
}
