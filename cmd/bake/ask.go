package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"golang.org/x/term"

	"bake/builder/report"
)

// An asker puts questions to the user, one at a time, while the display is off
// the terminal.
type asker struct {
	terminal *os.File
	out      io.Writer
	one      sync.Mutex

	mu      sync.Mutex
	display report.Sink     // of the run; nil: there is none
	over    <-chan struct{} // a question ends with its run; nil: there is none
}

// newAsker returns one that asks on stdin; nil if that is no terminal.
func newAsker(stdin io.Reader, out io.Writer) *asker {
	in, ok := stdin.(*os.File)
	if !ok || !isTerminal(in) {
		return nil
	}
	return &asker{terminal: in, out: out}
}

// during says which run questions belong to from now on.
func (q *asker) during(over <-chan struct{}, display report.Sink) {
	if q == nil {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.over, q.display = over, display
}

// secret asks for something that is not shown as it is typed.
func (q *asker) secret(ctx context.Context, question string) (string, error) {
	was, err := term.GetState(int(q.terminal.Fd()))
	if err != nil {
		return "", err
	}
	defer term.Restore(int(q.terminal.Fd()), was) // also when Ctrl-C comes while it is typed
	return q.ask(ctx, question+": ", func() (string, error) {
		defer fmt.Fprintln(q.out)
		typed, err := term.ReadPassword(int(q.terminal.Fd()))
		return string(typed), err
	})
}

// line asks for one that is shown.
func (q *asker) line(ctx context.Context, question string) (string, error) {
	return q.ask(ctx, question, func() (string, error) { return bufio.NewReader(q.terminal).ReadString('\n') })
}

// ask waits for an answer until ctx or the run is over.
func (q *asker) ask(ctx context.Context, question string, read func() (string, error)) (string, error) {
	q.one.Lock()
	defer q.one.Unlock()
	q.mu.Lock()
	over, display := q.over, q.display
	q.mu.Unlock()
	if display != nil {
		defer report.Pause(display)()
	}
	type answer struct {
		text string
		err  error
	}
	answered := make(chan answer, 1)
	go func() {
		fmt.Fprint(q.out, question)
		text, err := read()
		answered <- answer{strings.TrimSpace(text), err}
	}()
	select {
	case <-ctx.Done():
		return "", context.Cause(ctx)
	case <-over:
		return "", context.Canceled
	case a := <-answered:
		return a.text, a.err
	}
}
