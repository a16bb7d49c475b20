package oci_test

import (
	"os"
	"testing"

	"bake/builder"
	"bake/provisioners/provtest"
	"bake/steps/oci"
)

func TestEveryKindOfStep(t *testing.T) {
	if os.Getenv("BAKE_TEST_ONE_ID") != "" {
		return // with one id mapped no file can be given to another owner
	}
	e := newEngine(t, oci.Options{})
	provtest.Suite(t, func(t *testing.T) builder.Communicator {
		_, comm, _ := machine(t, e, busybox(t))
		return comm
	})
}
