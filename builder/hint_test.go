package builder_test

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"

	"bake/builder"
)

type hinted struct{ hint string }

func (hinted) Error() string  { return "x" }
func (h hinted) Hint() string { return h.hint }

func TestAnErrorsOwnHintComesBeforeTheSystems(t *testing.T) {
	noSpace := &fs.PathError{Op: "write", Path: "/x", Err: syscall.ENOSPC}
	for _, c := range []struct {
		name, want string
		err        error
	}{
		{"its own", "do this", fmt.Errorf("a: %w", hinted{"do this"})},
		{"its own is empty", "a disk of this machine is full", errors.Join(hinted{}, noSpace)},
		{"a full disk", "bake clean --cache", fmt.Errorf("a: %w", noSpace)},
		{"no such host", "is nowhere.example the right name", &net.DNSError{Name: "nowhere.example", IsNotFound: true}},
		{"connection refused", "nothing listens", &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}},
		{"permission", "mode of /x", &fs.PathError{Op: "open", Path: "/x", Err: syscall.EACCES}},
		{"read-only", "mode of /x", &fs.PathError{Op: "open", Path: "/x", Err: syscall.EROFS}},
		{"nothing to say", "", errors.New("x")},
		{"no error", "", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := builder.Hint(c.err); !strings.Contains(got, c.want) || (c.want == "") != (got == "") {
				t.Errorf("hint %q, want %q", got, c.want)
			}
		})
	}
}
