package container

import "syscall"

// changed is when a file's inode last changed, in nanoseconds: it cannot be
// set back.
func changed(st *syscall.Stat_t) int64 { return st.Ctim.Nano() }
