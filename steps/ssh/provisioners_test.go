package ssh_test

import (
	"testing"
	"time"

	"bake/builder"
	"bake/internal/sshtest"
	"bake/provisioners/provtest"
	"bake/steps/ssh"
)

func TestEveryKindOfStepWorks(t *testing.T) {
	provtest.Suite(t, func(t *testing.T) builder.Communicator {
		s := sshtest.Start(t, sshtest.Options{Private: true})
		m, err := ssh.Connect(t.Context(), ssh.Config{
			Hop: ssh.Hop{Host: s.Host, Port: s.Port, User: "root", Auth: ssh.Auth{Keys: []ssh.Key{{File: s.KeyFile}}},
				HostKeys: ssh.HostKeys{KnownHosts: []string{s.KnownHosts}}},
			Patience: 20 * time.Second,
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { m.Close() })
		return m
	})
}
