package oci_test

import (
	"testing"

	"bake/builder"
	"bake/provisioners/provtest"
	"bake/steps/oci"
)

func TestEveryKindOfStep(t *testing.T) {
	e := newEngine(t, oci.Options{})
	provtest.Suite(t, func(t *testing.T) builder.Communicator {
		_, comm, _ := machine(t, e, busybox(t))
		return comm
	})
}
