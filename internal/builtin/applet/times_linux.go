package applet

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// unchangedTime in place of nanoseconds leaves a time as it is.
const unchangedTime = unix.UTIME_OMIT

// timesOf is when a file was read and written last.
func timesOf(st *syscall.Stat_t) []unix.Timespec {
	return []unix.Timespec{unix.NsecToTimespec(st.Atim.Nano()), unix.NsecToTimespec(st.Mtim.Nano())}
}
