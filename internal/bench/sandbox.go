package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
)

const benchRegion = "eu-west-1"

// sandbox starts bake's local AWS in a process of its own, until the lab is
// closed, and returns its address.
func (l *lab) sandbox(ctx context.Context, flags ...string) (string, error) {
	if err := l.homes(); err != nil {
		return "", err
	}
	cmd := l.cmd(l.bake, append([]string{"sandbox", "-o", "json"}, flags...)...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return "", err
	}
	if err := cmd.Start(); err != nil {
		return "", err
	}
	l.closers = append(l.closers, func() error {
		if err := cmd.Process.Signal(os.Interrupt); err != nil {
			return err
		}
		return cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadBytes('\n')
	var told struct {
		Endpoint string `json:"endpoint"`
	}
	if err == nil {
		err = json.Unmarshal(line, &told)
	}
	if err != nil {
		return "", fmt.Errorf("starting the sandbox: %w", err)
	}
	return told.Endpoint, ctx.Err()
}

// sandboxKeys are credentials that the sandbox takes, for clients other than bake.
func sandboxKeys() []string {
	return []string{"AWS_ACCESS_KEY_ID=sandbox", "AWS_SECRET_ACCESS_KEY=sandbox", "AWS_EC2_METADATA_DISABLED=true"}
}
