package ecr_test

import (
	"flag"
	"os"
	"testing"
)

// TestMain runs more tests at once than there are processors: what hundreds of
// faults take is mostly waiting before the next try.
func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", "12"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}
