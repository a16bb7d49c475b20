package applet

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// unchangedTime in place of nanoseconds leaves a time as it is: UTIME_OMIT of
// sys/stat.h.
const unchangedTime = -2

// timesOf is when a file was read and written last.
func timesOf(st *syscall.Stat_t) []unix.Timespec {
	return []unix.Timespec{unix.NsecToTimespec(st.Atimespec.Nano()), unix.NsecToTimespec(st.Mtimespec.Nano())}
}
