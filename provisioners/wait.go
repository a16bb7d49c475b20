package provisioners

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"bake/builder"
	"bake/internal/shell"
	"bake/templates"
)

// Wait waits until something is so on the machine, or for a time.
type Wait struct {
	Duration time.Duration `yaml:"duration" bake:"main" doc:"How long to wait, whatever happens: 5s."`
	Port     int           `yaml:"port" min:"1" max:"65535" doc:"Wait until something listens on this TCP port of the machine."`
	File     string        `yaml:"file" doc:"Wait until this path exists on the machine."`
	Command  string        `yaml:"command" doc:"Wait until this sh command succeeds on the machine."`
	Timeout  time.Duration `yaml:"timeout" default:"1m" min:"1ms" doc:"How long at most to wait for the port, file or command."`
	Interval time.Duration `yaml:"interval" default:"1s" min:"10ms" doc:"How long to pause between two looks."`
}

// Validate checks what the tags cannot say.
func (w *Wait) Validate(b templates.Block) templates.Diagnostics {
	given := 0
	for _, key := range []string{"duration", "port", "file", "command"} {
		if b.Has(key) {
			given++
		}
	}
	ds := absolute(b, "file", w.File)
	// The short form has no keys.
	if given > 1 || given == 0 && w.Duration == 0 && !b.Unresolved() {
		ds = append(ds, b.Errorf("exactly one of duration, port, file and command must be given"))
	}
	return ds
}

// A TimeoutError is something that did not come about in time.
type TimeoutError struct {
	What  string
	After time.Duration
	Last  string // what the last look said; may be empty
}

func (e *TimeoutError) Error() string {
	return fmt.Sprintf("waiting for %s: not after %v%s", e.What, e.After, e.Last)
}

// Provision waits.
func (w *Wait) Provision(ctx context.Context, _ *builder.Scope, comm builder.Communicator) (builder.Outcome, error) {
	if w.Duration > 0 {
		return builder.Outcome{Unchanged: true}, sleep(ctx, w.Duration)
	}
	what, script := w.condition()
	begin := time.Now()
	for {
		said, err := look(ctx, comm, script)
		if err == nil {
			return builder.Outcome{Unchanged: true, Note: fmt.Sprintf("after %v", time.Since(begin).Round(time.Millisecond))}, nil
		}
		if _, ok := errors.AsType[*builder.ExitError](err); !ok {
			return builder.Outcome{}, err
		}
		if time.Since(begin)+w.Interval > w.Timeout {
			return builder.Outcome{}, &TimeoutError{What: what, After: w.Timeout, Last: said}
		}
		if err := sleep(ctx, w.Interval); err != nil {
			return builder.Outcome{}, err
		}
	}
}

// condition returns what is waited for and the script that succeeds once it is so.
func (w *Wait) condition() (what, script string) {
	switch {
	case w.Port != 0:
		// The kernel's table needs no tool: state 0A is LISTEN.
		return fmt.Sprintf("port %d", w.Port), fmt.Sprintf(`for table in /proc/net/tcp /proc/net/tcp6; do
  [ -r $table ] || continue
  while read -r n local remote state rest; do
    case $local,$state in *:%04X,0A) exit 0;; esac
  done <$table
done
exit 1
`, w.Port)
	case w.File != "":
		return w.File, fmt.Sprintf("[ -e %s ]\n", shell.Quote(w.File))
	}
	return "the command", w.Command + "\n"
}

func look(ctx context.Context, comm builder.Communicator, script string) (said string, err error) {
	var last tail
	err = comm.Run(ctx, builder.Command{Script: script, Stdout: io.Discard, Stderr: &last})
	return lastLine(string(last)), err
}

// A tail keeps the end of what is written to it.
type tail []byte

const tailSize = 4096

func (t *tail) Write(p []byte) (int, error) {
	*t = append(*t, p...)
	if over := len(*t) - tailSize; over > 0 {
		*t = append((*t)[:0], (*t)[over:]...)
	}
	return len(p), nil
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
