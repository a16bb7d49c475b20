package provisioners_test

import (
	"testing"

	"bake/builder"
	"bake/internal/chroottest"
	"bake/provisioners/provtest"
)

func TestEveryKindWorksOnABusyboxMachine(t *testing.T) {
	provtest.Suite(t, func(t *testing.T) builder.Communicator { return chroottest.Busybox(t) })
}

func TestEveryKindWorksWithOtherShells(t *testing.T) {
	for _, shell := range []string{"dash", "bash"} {
		t.Run(shell, func(t *testing.T) {
			provtest.Suite(t, func(t *testing.T) builder.Communicator { return chroottest.Busybox(t).Shell(t, shell) })
		})
	}
}
