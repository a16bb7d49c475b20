// Package need says what a test needs from the machine it runs on. A test
// skips, with the reason, where that is missing; with BAKE_REQUIRE_ALL=1 it
// fails instead, so that CI cannot pass by leaving tests out.
package need

import (
	"os"
	"os/exec"
	"testing"
)

// Tool returns the path of a program that the test runs.
func Tool(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		Missing(t, "%s is not installed", name)
	}
	return path
}

// Root skips the test for anybody but root.
func Root(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		Missing(t, "needs root")
	}
}

// Missing ends a test that cannot run here.
func Missing(t testing.TB, format string, args ...any) {
	t.Helper()
	if os.Getenv("BAKE_REQUIRE_ALL") == "1" {
		t.Fatalf("required here: "+format, args...)
	}
	t.Skipf(format, args...)
}
