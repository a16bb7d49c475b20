package docker

import (
	"os"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"bake/builder"
	"bake/builder/buildertest"
)

func TestCommunicatorConforms(t *testing.T) {
	e := engine(t)
	sc, m := machine(t, e, busybox(t, v1.Config{Env: []string{"PATH=/bin"}}), builder.Opening{})
	buildertest.Communicator(t, dialled(t, e, sc, m), "/tmp")
}

func TestSourceConforms(t *testing.T) {
	every := 37 // a crash point takes three runs of three builds, which is seconds
	if os.Getenv("BAKE_REQUIRE_ALL") == "1" {
		every = 17
	}
	buildertest.Source(t, func(t *testing.T) buildertest.World {
		w := world(t)
		w.Every = every
		return w
	})
}
