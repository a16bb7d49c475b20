// Command private-dockerd runs a private Docker engine for scripts and
// benchmarks. It prints the engine's host (for DOCKER_HOST) and keeps it until
// it gets a signal or its standard input ends; then nothing of it is left.
//
//	go run ./internal/dockertest/cmd/private-dockerd
//	private-dockerd COMMAND ARG...   runs COMMAND with DOCKER_HOST set, then stops
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"bake/internal/dockertest"
)

func main() {
	code, err := run(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "private-dockerd:", err)
		os.Exit(1)
	}
	os.Exit(code)
}

func run(args []string) (code int, err error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	dir, err := os.MkdirTemp("", "bake-dockerd-")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(dir)
	d, err := dockertest.Launch(dir)
	if err != nil {
		return 1, err
	}
	defer func() {
		if stopErr := d.Stop(); err == nil {
			err = stopErr
		}
	}()
	if len(args) > 0 {
		return command(ctx, d.Host, args)
	}
	fmt.Println(d.Host)
	ended := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		close(ended)
	}()
	select {
	case <-ctx.Done():
	case <-ended:
	}
	return 0, nil
}

func command(ctx context.Context, host string, args []string) (int, error) {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Env = append(os.Environ(), "DOCKER_HOST="+host)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	err := cmd.Run()
	if cmd.ProcessState != nil {
		return cmd.ProcessState.ExitCode(), nil
	}
	return 1, err
}
