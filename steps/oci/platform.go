package oci

import (
	"context"

	"bake/builder"
)

// CanRun returns a *PlatformError if this machine cannot run programs of the
// platform, neither by itself nor through an emulator.
func (e *Engine) CanRun(_ context.Context, p builder.Platform) error { return canRun(p) }
