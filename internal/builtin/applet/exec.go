package applet

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
)

// Program is where the image has the one binary that all utilities are.
const Program = "/bin/bake"

// defaultPath is searched when PATH is not set.
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// Exec runs a program with the call's streams, environment and directory, in
// this process if it is a utility of the table, and returns its exit status:
// 127 if there is no such program, 126 if it cannot be run.
func (c *Call) Exec(ctx context.Context, argv []string) int {
	path, err := c.lookPath(argv[0])
	if err != nil {
		fmt.Fprintf(c.Stderr, "%s: %s\n", argv[0], reason(err))
		if errors.Is(err, fs.ErrNotExist) {
			return 127
		}
		return 126
	}
	if f := c.inProcess(path); f != nil {
		call := *c
		call.Name, call.Args, call.failed = filepath.Base(argv[0]), argv[1:], false
		return f.Run(ctx, &call)
	}
	return c.start(ctx, path, argv)
}

// inProcess returns the utility that path is, nil if it is another program.
func (c *Call) inProcess(path string) Func {
	f := c.Table[filepath.Base(path)]
	if f == nil {
		return nil
	}
	target, err := os.Readlink(path)
	if err != nil || filepath.Base(target) != filepath.Base(Program) {
		return nil
	}
	return f
}

func (c *Call) start(ctx context.Context, path string, argv []string) int {
	cmd := exec.CommandContext(ctx, path)
	cmd.Args, cmd.Env, cmd.Dir = argv, c.Env, c.Dir
	cmd.Stdin, cmd.Stdout, cmd.Stderr = c.Stdin, c.Stdout, c.Stderr
	err := cmd.Start()
	if errors.Is(err, syscall.ENOEXEC) {
		// POSIX: a file that the kernel does not know is a shell script.
		return c.start(ctx, Program, append([]string{"sh", path}, argv[1:]...))
	}
	if err != nil {
		fmt.Fprintf(c.Stderr, "%s: %s\n", argv[0], reason(err))
		return 126
	}
	if c.Forward {
		defer forward(cmd.Process)()
	}
	err = cmd.Wait()
	exit, ok := errors.AsType[*exec.ExitError](err)
	if !ok && err != nil {
		fmt.Fprintf(c.Stderr, "%s: %v\n", argv[0], err)
		return 126
	}
	if ok {
		if ws, isWait := exit.Sys().(syscall.WaitStatus); isWait && ws.Signaled() {
			return 128 + int(ws.Signal())
		}
		return exit.ExitCode()
	}
	return 0
}

// Outlive starts a program as a process of its own, also if it is a utility,
// with the call's streams, environment and directory, and leaves it to itself:
// it hears of no hangup. The exit status is that of the start.
func (c *Call) Outlive(argv []string) int {
	path, err := c.lookPath(argv[0])
	if err != nil {
		fmt.Fprintf(c.Stderr, "%s: %s\n", argv[0], reason(err))
		return 127
	}
	signal.Ignore(syscall.SIGHUP) // which it inherits
	cmd := exec.Command(path)
	cmd.Args, cmd.Env, cmd.Dir = argv, c.Env, c.Dir
	cmd.Stdin, cmd.Stdout, cmd.Stderr = c.Stdin, c.Stdout, c.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		fmt.Fprintf(c.Stderr, "%s: %s\n", argv[0], reason(err))
		return 126
	}
	return 0
}

// forward passes the signals that end or steer a program on to it, until the
// function it returns is called.
func forward(p *os.Process) (stop func()) {
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2)
	done := make(chan struct{})
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		for {
			select {
			case s := <-signals:
				// The program may have ended just now.
				p.Signal(s)
			case <-done:
				return
			}
		}
	}()
	return func() {
		signal.Stop(signals)
		close(done)
		<-finished
	}
}

// lookPath finds a program as execvp does, with the call's PATH and directory.
func (c *Call) lookPath(name string) (string, error) {
	if strings.Contains(name, "/") {
		return c.Path(name), executable(c.Path(name))
	}
	path, ok := c.lookupEnv("PATH")
	if !ok {
		path = defaultPath
	}
	found := fs.ErrNotExist
	for _, dir := range filepath.SplitList(path) {
		if dir == "" {
			dir = "."
		}
		file := filepath.Join(c.Path(dir), name)
		err := executable(file)
		if err == nil {
			return file, nil
		}
		if errors.Is(err, fs.ErrPermission) {
			found = fs.ErrPermission
		}
	}
	return "", found
}

func executable(path string) error {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return err
	case info.IsDir() || info.Mode()&0o111 == 0:
		return fs.ErrPermission
	}
	return nil
}

// reason is the shell's word for why a program did not start.
func reason(err error) string {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "not found"
	case errors.Is(err, fs.ErrPermission):
		return "Permission denied"
	}
	return message(err)
}
