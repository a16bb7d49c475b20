//go:build !linux

package rootfs

import (
	"context"
	"os"
	"strconv"

	"bake/internal/rootfs/tree"
)

// A Host is this machine's ability to run containers, which it does not have.
type Host struct{}

// Open returns ErrUnsupported.
func Open() (*Host, error) { return nil, ErrUnsupported }

// Close does nothing.
func (h *Host) Close() error { return nil }

// Identity returns the zero Identity.
func (h *Host) Identity() Identity { return Identity{} }

// Start returns ErrUnsupported.
func (h *Host) Start(ctx context.Context, c Config) (*Container, error) { return nil, ErrUnsupported }

// Apply returns ErrUnsupported.
func (h *Host) Apply(ctx context.Context, dir string, o Options, feed Feed) error {
	return ErrUnsupported
}

// Walk returns ErrUnsupported.
func (h *Host) Walk(ctx context.Context, dirs []string, o Options, fn tree.Func) error {
	return ErrUnsupported
}

// Remove returns ErrUnsupported.
func (h *Host) Remove(ctx context.Context, path string) error { return ErrUnsupported }

// Rename returns ErrUnsupported.
func (h *Host) Rename(ctx context.Context, from, to string) error { return ErrUnsupported }

// Size returns ErrUnsupported.
func (h *Host) Size(ctx context.Context, dir string) (int64, error) { return 0, ErrUnsupported }

// Skeleton returns ErrUnsupported.
func Skeleton(dir string) error { return ErrUnsupported }

// NetworkFiles returns nothing.
func NetworkFiles(hostname string) []ExtraFile { return nil }

// A Container cannot be had here.
type Container struct{}

// Pid returns 0.
func (c *Container) Pid() int { return 0 }

// Device returns nil.
func (c *Container) Device() *os.File { return nil }

// Socket returns ErrUnsupported.
func (c *Container) Socket(ctx context.Context, domain, kind, protocol int) (*os.File, error) {
	return nil, ErrUnsupported
}

// SetHostname returns ErrUnsupported.
func (c *Container) SetHostname(ctx context.Context, name string) error { return ErrUnsupported }

// An Overlay cannot be had here.
type Overlay struct {
	Base              string
	Lower             []string
	Upper, Work, Spot string
	ReadOnly          bool
}

// ErrNoMounts is ErrUnsupported.
var ErrNoMounts = ErrUnsupported

// Mount returns ErrUnsupported.
func (c *Container) Mount(ctx context.Context, o Overlay, target string) error { return ErrUnsupported }

// Bind returns ErrUnsupported.
func (c *Container) Bind(ctx context.Context, from, to string) error { return ErrUnsupported }

// Unmount returns ErrUnsupported.
func (c *Container) Unmount(ctx context.Context, target string, lazily bool) error {
	return ErrUnsupported
}

// Done returns nil.
func (c *Container) Done() <-chan struct{} { return nil }

// Run returns ErrUnsupported.
func (c *Container) Run(ctx context.Context, p Process) error { return ErrUnsupported }

// Put returns ErrUnsupported.
func (c *Container) Put(ctx context.Context, dst string, o Options, feed Feed) error {
	return ErrUnsupported
}

// Get returns ErrUnsupported.
func (c *Container) Get(ctx context.Context, src string, fn tree.Func) error { return ErrUnsupported }

// Close does nothing.
func (c *Container) Close() error { return nil }

// SignalName returns the number.
func SignalName(n int) string { return strconv.Itoa(n) }
