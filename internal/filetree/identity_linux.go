package filetree

import (
	"io/fs"
	"syscall"
)

// identityOf is what stat said of a file; false if it said too little.
func identityOf(info fs.FileInfo) (identity, bool) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return identity{}, false
	}
	return identity{dev: uint64(st.Dev), inode: st.Ino, size: uint64(st.Size), modified: st.Mtim.Nano(), changed: st.Ctim.Nano()}, true
}
