package machine

import (
	"io/fs"
	"os"
	"syscall"
)

// like gives a folder the owner and mode of another. Without privileges it
// stays its maker's, who is root inside.
func like(dir string, st fs.FileInfo) error {
	if sys, ok := st.Sys().(*syscall.Stat_t); ok && os.Geteuid() == 0 {
		if err := os.Lchown(dir, int(sys.Uid), int(sys.Gid)); err != nil {
			return err
		}
	}
	return os.Chmod(dir, st.Mode())
}
