package sh

import (
	"context"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"bake/internal/builtin/applet"
	"bake/internal/shell"
)

// replacing stands before a command that exec asked for: signals go on to it.
// No file can have this name.
const replacing = "\x00exec"

// traps are the actions for signals. The interpreter itself knows those for
// EXIT and ERR only, and calls back before each command: there the others run.
type traps struct {
	mu      sync.Mutex
	actions map[syscall.Signal]string
	pending []syscall.Signal
	signals chan os.Signal
	fds     *descriptors
}

func newTraps(fds *descriptors) *traps {
	return &traps{fds: fds, actions: map[syscall.Signal]string{}, signals: make(chan os.Signal, 16)}
}

// call may replace a command before it runs.
func (t *traps) call(_ context.Context, args []string) ([]string, error) {
	switch {
	case args[0] == descriptor || args[0] == outliving:
		return args, nil
	case args[0] == "." || args[0] == "source":
		t.fds.sourcing.Store(true)
	case args[0] == "eval":
		args = []string{"eval", rewriteText(strings.Join(args[1:], " "))}
	case args[0] == "trap" && len(args) > 1:
		return t.trap(args[1:]), nil
	case args[0] == "exec" && len(args) > 1 && !strings.HasPrefix(args[1], "-"):
		return append([]string{"exec", replacing}, args[1:]...), nil
	case args[0] == "cd":
		args = changing(args)
	case args[0] == "kill" || args[0] == "umask":
		// The interpreter knows these words but not what they do.
		args = append([]string{"/bin/" + args[0]}, args[1:]...)
	}
	if action := t.next(); action != "" {
		return []string{"eval", action + "\n" + shell.Join(args...)}, nil
	}
	return args, nil
}

// changing is a cd without what the interpreter's own takes for a second folder:
// "--", and -L, which it does anyway.
func changing(args []string) []string {
	for i, arg := range args[1:] {
		switch arg {
		case "-L":
			continue
		case "--":
			i++
		}
		return append([]string{"cd"}, args[1+i:]...)
	}
	return args[:1]
}

// next returns the actions for signals that have come since it was asked last.
func (t *traps) next() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	for {
		select {
		case s := <-t.signals:
			t.pending = append(t.pending, s.(syscall.Signal))
			continue
		default:
		}
		break
	}
	var actions []string
	for _, s := range t.pending {
		if a := t.actions[s]; a != "" {
			actions = append(actions, a)
		}
	}
	t.pending = nil
	return strings.Join(actions, "\n")
}

// trap takes the signals out of a trap command and returns what is left for
// the interpreter.
func (t *traps) trap(args []string) []string {
	if args[0] == "--" {
		args = args[1:]
	}
	action, names := "-", args
	if _, isSignal := applet.Signal(args[0]); len(args) > 1 || !isSignal && args[0] != "EXIT" {
		action, names = args[0], args[1:]
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	var rest []string
	for _, name := range names {
		sig, ok := applet.Signal(name)
		switch {
		case name == "0":
			rest = append(rest, "EXIT")
		case !ok:
			rest = append(rest, name)
		case action == "-":
			delete(t.actions, sig)
			signal.Reset(sig)
		case action == "":
			delete(t.actions, sig)
			signal.Ignore(sig)
		default:
			t.actions[sig] = action
			signal.Notify(t.signals, sig)
		}
	}
	if len(rest) == 0 {
		return []string{"true"}
	}
	return append([]string{"trap", rewriteText(action)}, rest...)
}

// kill sends a signal; one to the shell itself that has an action is as good
// as received, so that the action runs before the next command, and one that
// ends the shell ends it here.
func (t *traps) kill(pid int, sig syscall.Signal) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if pid == os.Getpid() && t.actions[sig] != "" {
		t.pending = append(t.pending, sig)
		return nil
	}
	err := syscall.Kill(pid, sig)
	if err == nil && pid == os.Getpid() && pid != 1 && deadly(sig) && !signal.Ignored(sig) {
		// The runtime takes a moment to die of it; no command may run in between.
		time.Sleep(time.Second)
	}
	return err
}

// deadly reports whether a signal ends a process of Go's that did not ask for it.
func deadly(sig syscall.Signal) bool {
	return sig == syscall.SIGTERM || sig == syscall.SIGINT || sig == syscall.SIGHUP || sig == syscall.SIGKILL
}
