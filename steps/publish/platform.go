package publish

import (
	"runtime"

	"bake/builder"
)

// hostPlatform is what containers on this machine run by default.
func hostPlatform() builder.Platform { return builder.Platform{OS: "linux", Arch: runtime.GOARCH} }
