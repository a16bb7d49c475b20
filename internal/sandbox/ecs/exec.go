package ecs

import (
	"context"
	"fmt"

	"mvdan.cc/sh/v3/shell"

	"bake/internal/rootfs"
	"bake/internal/sandbox/api"
	"bake/internal/sandbox/ecs/wire"
	"bake/internal/sandbox/session"
)

func (c *T) executeCommand(call *api.Call, r *region, in *wire.ExecuteCommandInput) (*wire.ExecuteCommandOutput, error) {
	cl, err := r.cluster(in.Cluster)
	if err != nil {
		return nil, err
	}
	t := c.findTask(cl, in.Task)
	if t == nil {
		return nil, badParameter("The referenced task was not found.")
	}
	if !in.Interactive {
		return nil, badParameter("Interactive is the only mode supported currently.")
	}
	if t.phase() != phaseRunning || !t.EnableExecuteCommand {
		return nil, badParameter("The execute command failed because execute command was not enabled when the task was run or the execute command agent isn't running. Wait and try again or run a new task with execute command enabled and try again.")
	}
	b, err := t.choose(in.Container)
	if err != nil {
		return nil, err
	}
	// What follows a "$" is not for ECS to replace.
	argv, err := shell.Fields(in.Command, func(name string) string { return "$" + name })
	if err != nil || len(argv) == 0 {
		return nil, badParameter("Invalid command: '%s'.", in.Command)
	}
	if c.sessions == nil {
		if c.sessions, err = session.Listen(c.ctx); err != nil {
			return nil, fmt.Errorf("listening for sessions: %w", err)
		}
	}
	id := "ecs-execute-command-" + newID()[:17]
	url, token := c.sessions.Open(id, in.Command, b.terminal(argv))
	shown := b.shown()
	return &wire.ExecuteCommandOutput{ClusterArn: cl.ClusterArn, TaskArn: t.TaskArn, ContainerArn: shown.ContainerArn, ContainerName: shown.Name, Interactive: true,
		Session: &wire.Session{SessionId: id, StreamUrl: url, TokenValue: token}}, nil
}

// choose finds the container that a command is for; without a name there must
// be only one.
func (t *task) choose(name string) (*box, error) {
	if name == "" && len(t.boxes) > 1 {
		return nil, badParameter("Container name must be specified as there are more than one container in the task")
	}
	for _, b := range t.boxes {
		if name == "" || b.def.Name == name {
			if b.shown().LastStatus != statusRunning {
				return nil, api.Errorf("TargetNotConnectedException", "The execute command failed due to an internal error. Try again later.")
			}
			return b, nil
		}
	}
	return nil, badParameter("The specified container '%s' is not in the task.", name)
}

// terminal runs a command in the container on a session's terminal.
func (b *box) terminal(argv []string) session.Command {
	return func(ctx context.Context, term session.Terminal) error {
		b.mu.Lock()
		c := b.current
		b.mu.Unlock()
		if c == nil {
			return fmt.Errorf("container %s does not run", b.def.Name)
		}
		_, err := c.Exec(ctx, rootfs.Process{Argv: argv, TTY: true, Stdin: term.Stdin, Stdout: term.Stdout, Rows: term.Rows, Cols: term.Cols})
		return err
	}
}
