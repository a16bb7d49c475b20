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

// The tools of GNU and of busybox, dash, bash and ash differ in what they print.
func TestEveryKindWorksWithOtherTools(t *testing.T) {
	for _, shell := range []string{"dash", "bash"} {
		t.Run(shell, func(t *testing.T) {
			provtest.Suite(t, func(t *testing.T) builder.Communicator {
				return chroottest.Busybox(t).Shell(t, shell).Programs(t, "xargs", "stat", "sha256sum", "readlink", "rm", "env")
			})
		})
	}
}
