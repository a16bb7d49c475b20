package ecs_test

import (
	"crypto/sha256"
	"encoding/binary"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"golang.org/x/net/websocket"

	"bake/internal/sandbox/ecs"
)

// input is a message of the session-manager-plugin.
func input(sequence uint64, payloadType uint32, payload string) []byte {
	b := binary.BigEndian.AppendUint32(nil, 116)
	b = append(b, "input_stream_data               "...)
	b = binary.BigEndian.AppendUint32(b, 1)
	b = binary.BigEndian.AppendUint64(b, 0)
	b = binary.BigEndian.AppendUint64(b, sequence)
	b = append(b, make([]byte, 8+16)...)
	sum := sha256.Sum256([]byte(payload))
	b = append(b, sum[:]...)
	b = binary.BigEndian.AppendUint32(b, payloadType)
	b = binary.BigEndian.AppendUint32(b, uint32(len(payload)))
	return append(b, payload...)
}

func TestExecuteCommandReachesAContainerThatRuns(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ecs.Deps{})
	w.cluster()
	td := w.define("web", w.push("v1", "sleep", "600"), func(in *sdk.RegisterTaskDefinitionInput) {
		in.TaskRoleArn = aws.String("arn:aws:iam::123456789012:role/task")
		in.ContainerDefinitions[0].Environment = env("A", "of the container")
	})
	closed := w.run(td, nil)
	w.running(closed)
	ask := &sdk.ExecuteCommandInput{Cluster: aws.String("prod"), Task: &closed, Command: aws.String(`sh -c "echo is $A; tty; exit"`), Interactive: true}
	if _, err := w.ecs.ExecuteCommand(t.Context(), ask); err == nil || !strings.Contains(err.Error(), "execute command was not enabled") {
		t.Errorf("in a task that was not started for it: %v", err)
	}
	open := w.run(td, func(in *sdk.RunTaskInput) { in.EnableExecuteCommand = true })
	w.running(open)
	ask.Task = &open
	out, err := w.ecs.ExecuteCommand(t.Context(), ask)
	w.check(err)
	if got := w.task(open).Containers[0].ManagedAgents; len(got) != 1 || got[0].Name != types.ManagedAgentNameExecuteCommandAgent || *got[0].LastStatus != "RUNNING" {
		t.Errorf("managed agents: %+v", got)
	}
	ws, err := websocket.Dial(*out.Session.StreamUrl, "", "http://127.0.0.1/")
	w.check(err)
	defer ws.Close()
	w.check(websocket.JSON.Send(ws, map[string]string{"MessageSchemaVersion": "1.0", "RequestId": "r", "TokenValue": *out.Session.TokenValue, "ClientId": "c", "ClientVersion": "1.2"}))
	w.check(websocket.Message.Send(ws, input(0, 6, `{"ClientVersion":"1.2"}`)))
	w.check(websocket.Message.Send(ws, input(1, 3, `{"cols":80,"rows":24}`)))
	var said strings.Builder
	for {
		var data []byte
		w.check(websocket.Message.Receive(ws, &data))
		kind := strings.TrimSpace(string(data[4:36]))
		if kind == "channel_closed" {
			break
		}
		if kind == "output_stream_data" && binary.BigEndian.Uint32(data[112:]) == 1 {
			said.Write(data[120:])
		}
	}
	if got := said.String(); !strings.Contains(got, "is of the container\r\n/dev/pts/") {
		t.Errorf("the terminal showed %q", got)
	}
}
