package builtin

import (
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"

	"bake/builder"
)

// BinaryVariable names the environment variable with the path of a static bake
// to use in place of the running one: for a bake that is linked dynamically,
// and for another platform.
const BinaryVariable = "BAKE_BUILTIN_BINARY"

// running is this process's program, also after the file was replaced by a newer one.
const running = "/proc/self/exe"

// An UnusableError says why a program cannot be the built-in base.
type UnusableError struct {
	Binary string
	Reason string
	hint   string
}

func (e *UnusableError) Error() string {
	return fmt.Sprintf("using %s as the built-in base: %s", e.Binary, e.Reason)
}

// Hint says what to do about it.
func (e *UnusableError) Hint() string { return e.hint }

// A binary is a program that was looked at.
type binary struct {
	path     string
	platform builder.Platform
	buildID  []byte // of Go's linker, a hash of the whole program; may be empty
	size     int64
}

// program returns the static program for a platform.
func program(want builder.Platform) (binary, error) {
	path := os.Getenv(BinaryVariable)
	if path == "" {
		path = running
	}
	if path == running && runtime.GOOS != "linux" {
		return binary{}, &UnusableError{"this bake", "it is a program for " + runtime.GOOS + ", the image is for linux",
			"set " + BinaryVariable + " to a bake built with CGO_ENABLED=0 GOOS=linux"}
	}
	b, err := inspect(path)
	if err != nil {
		return b, err
	}
	if want.OS != b.platform.OS || want.Arch != b.platform.Arch {
		return b, &UnusableError{b.name(), fmt.Sprintf("it is a program for %s, the image is for %s", b.platform, want),
			fmt.Sprintf("set %s to a bake built with CGO_ENABLED=0 GOOS=%s GOARCH=%s", BinaryVariable, want.OS, want.Arch)}
	}
	return b, nil
}

// name is what people call the program.
func (b binary) name() string {
	if b.path == running {
		return "this bake"
	}
	return b.path
}

// inspect reads what the ELF headers say, not the whole file.
func inspect(path string) (binary, error) {
	b := binary{path: path}
	f, err := os.Open(path)
	if err != nil {
		return b, fmt.Errorf("opening the built-in base's program: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return b, err
	}
	b.size = info.Size()
	e, err := elf.NewFile(f)
	if err != nil {
		return b, &UnusableError{b.name(), "it is no program for linux",
			"set " + BinaryVariable + " to a bake built with CGO_ENABLED=0 GOOS=linux"}
	}
	b.platform = builder.Platform{OS: "linux", Arch: goArch(e.Machine)}
	for _, p := range e.Progs {
		if p.Type == elf.PT_INTERP {
			return b, &UnusableError{b.name(), "it is linked dynamically, so that it does not run alone",
				fmt.Sprintf("build bake with CGO_ENABLED=0, or set %s to one that was", BinaryVariable)}
		}
	}
	if s := e.Section(".note.go.buildid"); s != nil {
		if b.buildID, err = s.Data(); err != nil && !errors.Is(err, io.EOF) {
			return b, fmt.Errorf("reading the build id of %s: %w", b.name(), err)
		}
	}
	return b, nil
}

// goArch is Go's word for a processor, its number if Go has none.
func goArch(m elf.Machine) string {
	names := map[elf.Machine]string{elf.EM_X86_64: "amd64", elf.EM_AARCH64: "arm64", elf.EM_386: "386",
		elf.EM_ARM: "arm", elf.EM_RISCV: "riscv64", elf.EM_PPC64: "ppc64le", elf.EM_S390: "s390x"}
	if name, ok := names[m]; ok {
		return name
	}
	return m.String()
}
