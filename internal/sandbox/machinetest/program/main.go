// Program is what machines run, alone: the built-in base's program and the
// first program of a machine.
package main

import (
	"fmt"
	"os"

	"bake/internal/builtin"
	"bake/internal/sandbox/machine/guest"
)

func main() {
	if code, ok := builtin.Main(os.Args); ok {
		os.Exit(code)
	}
	fmt.Fprintf(os.Stderr, "run it as %s, or as one of the built-in base's utilities\n", guest.ProgramName)
	os.Exit(70)
}
