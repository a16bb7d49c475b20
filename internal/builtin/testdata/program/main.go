// Program is the built-in base's program alone, for the tests.
package main

import (
	"os"

	"bake/internal/builtin"
)

func main() {
	if code, ok := builtin.Main(os.Args); ok {
		os.Exit(code)
	}
	os.Exit(70)
}
