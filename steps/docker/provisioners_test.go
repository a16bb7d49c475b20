package docker

import (
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"bake/builder"
	"bake/provisioners/provtest"
)

func TestEveryKindOfStep(t *testing.T) {
	e := engine(t)
	img := busybox(t, v1.Config{Env: []string{"PATH=/bin"}})
	provtest.Suite(t, func(t *testing.T) builder.Communicator {
		sc, m := machine(t, e, img, builder.Opening{})
		return dialled(t, e, sc, m)
	})
}
