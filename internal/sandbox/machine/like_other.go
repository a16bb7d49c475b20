//go:build !linux

package machine

import (
	"io/fs"
	"os"
)

// like gives a folder the mode of another. Without Linux there are no machines
// whose owners would count.
func like(dir string, st fs.FileInfo) error { return os.Chmod(dir, st.Mode()) }
