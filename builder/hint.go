package builder

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"syscall"
)

// Hint says what the user can do about err: what the error itself says
// (a method Hint() string somewhere in its chain), else what goes for troubles
// of the machine that bake runs on. Empty if there is nothing to say.
func Hint(err error) string {
	if h, ok := errors.AsType[interface {
		error
		Hint() string
	}](err); ok && h.Hint() != "" {
		return h.Hint()
	}
	return systemHint(err)
}

// systemHint is about what any call of the operating system may answer.
func systemHint(err error) string {
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		return fmt.Sprintf("is %s the right name, and is this machine online?", dns.Name)
	}
	if path, ok := errors.AsType[*fs.PathError](err); ok && (errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS)) {
		return fmt.Sprintf("the user who runs bake may not do that: look at the owner and the mode of %s", path.Path)
	}
	switch {
	case errors.Is(err, syscall.ENOSPC):
		return "a disk of this machine is full: `bake clean --cache --size 5GiB` makes room in bake's cache"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "nothing listens there: is the address right, and does the service run?"
	case errors.Is(err, syscall.EMFILE):
		return "too many files are open: raise the limit (`ulimit -n 4096`), or build less at once (--parallel 1)"
	}
	return ""
}
