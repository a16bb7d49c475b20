package sh

import "golang.org/x/sys/unix"

// memoryFile returns a descriptor of a file that is nowhere but in memory.
func memoryFile(name string) (int, error) { return unix.MemfdCreate(name, unix.MFD_CLOEXEC) }

// replace makes the descriptor n the same as fd; programs do not inherit it.
func replace(fd, n int) error { return unix.Dup3(fd, n, unix.O_CLOEXEC) }
