package ami_test

import (
	"os"
	"testing"
)

// TestMain keeps the SDK from asking this machine who it is.
func TestMain(m *testing.M) {
	os.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	os.Exit(m.Run())
}
