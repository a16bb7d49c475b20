package ecs_test

import (
	"flag"
	"os"
	"runtime"
	"strconv"
	"testing"
)

// TestMain keeps the SDK from asking this machine who it is, and runs more tests
// at once than there are processors: they mostly wait for tasks to be steady.
func TestMain(m *testing.M) {
	os.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	if err := flag.Set("test.parallel", strconv.Itoa(4*runtime.GOMAXPROCS(0))); err != nil { // the command line overrides it
		panic(err)
	}
	os.Exit(m.Run())
}
