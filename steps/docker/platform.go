package docker

import (
	"context"
	"fmt"
	"os"
	"strings"

	"bake/builder"
)

// CanRun returns an error if the engine's machine cannot run programs of the
// platform. Which emulators another machine has, the engine does not tell: it
// is taken to have them.
func (e *Engine) CanRun(ctx context.Context, p builder.Platform) error {
	if _, err := e.client(ctx); err != nil {
		return err
	}
	info, err := e.info()
	if err != nil {
		return fmt.Errorf("asking the Docker engine what it can run: %w", err)
	}
	kernel := map[string]string{"amd64": "x86_64", "arm64": "aarch64", "386": "i386", "arm": "arm"}[p.Arch]
	if kernel == "" {
		kernel = p.Arch
	}
	native := info.Architecture == kernel || strings.HasPrefix(info.Architecture, kernel+"v") ||
		info.Architecture == "x86_64" && p.Arch == "386" || info.Architecture == "aarch64" && p.Arch == "arm"
	if p.OS == info.OSType && native || !strings.HasPrefix(e.where(), "unix://") {
		return nil
	}
	if b, err := os.ReadFile("/proc/sys/fs/binfmt_misc/qemu-" + kernel); err == nil && strings.HasPrefix(string(b), "enabled") {
		return nil
	}
	return &platformError{want: p, have: info.OSType + "/" + info.Architecture}
}

// platformError is an engine that cannot run programs of a platform.
type platformError struct {
	want builder.Platform
	have string
}

func (e *platformError) Error() string {
	return fmt.Sprintf("platform %s: the Docker engine (%s) cannot run its programs", e.want, e.have)
}

// Hint says what would let it.
func (e *platformError) Hint() string {
	return "register an emulator with binfmt_misc (Debian package qemu-user-static)"
}
