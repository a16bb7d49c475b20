package ssh

import (
	"testing"

	"bake/builder/buildertest"
	"bake/internal/sshtest"
)

func TestCommunicatorKeepsItsContract(t *testing.T) {
	s := sshtest.Start(t, sshtest.Options{})
	m := connect(t, config(s))
	output(t, m, rootCommand("mkdir -p /run/suite"))
	buildertest.Communicator(t, m, "/run/suite")
}

func TestCommunicatorKeepsItsContractWithSudo(t *testing.T) {
	s := sshtest.Start(t, sshtest.Options{Accounts: []sshtest.Account{{Name: "deploy", Password: "s3cret", Sudo: "password"}}})
	c := config(s)
	c.User, c.Become = "deploy", Become{User: "root", Password: "s3cret"}
	m := connect(t, c)
	output(t, m, rootCommand("mkdir -p /run/suite"))
	buildertest.Communicator(t, m, "/run/suite")
}
