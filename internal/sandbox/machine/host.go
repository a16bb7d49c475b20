package machine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/gofrs/flock"
	"golang.org/x/sync/singleflight"

	"bake/internal/builtin"
	"bake/internal/rootfs"
	"bake/internal/rootfs/tree"
	"bake/internal/sandbox/network"
)

type treeFunc = tree.Func

// Options say where machines live.
type Options struct {
	// Dir is the folder of disks; it is made if it is missing. One process uses it at a time.
	Dir string
	// Grace is how long the processes of a machine may take to end when it is
	// stopped (default: 2 s).
	Grace time.Duration
	// SharedNetwork: machines use this machine's network, as they do where it
	// does not let us make others. Then only SSH is at a machine's address for
	// sure, and Spec.Allow is not asked.
	SharedNetwork bool
	// Log is told what happens to machines; it may be nil.
	Log func(format string, args ...any)
}

// A Host holds disks and runs machines. It is safe for concurrent use.
type Host struct {
	options Options
	program string // what machines run as their first program
	rootfs  *rootfs.Host
	store   *store
	lock    *flock.Flock
	imports singleflight.Group
	network *network.Switch

	mu        sync.Mutex
	importing int                 // imports under way: their layers have no record yet
	unswept   bool                // something was deleted meanwhile
	running   map[string]*Machine // by disk
	mounted   map[string]bool     // disks besides roots that a machine has mounted
	closed    bool
	shared    bool // machines use this machine's network: it does not let us make others
}

// A BusyError is a disk that a running machine uses, or a folder that another process uses.
type BusyError struct{ What string }

func (e *BusyError) Error() string { return e.What + " is in use" }

// Open makes or opens the folder of disks. What a process that was killed left
// half-made is removed.
func Open(o Options) (*Host, error) {
	if o.Grace <= 0 {
		o.Grace = 2 * time.Second
	}
	if o.Log == nil {
		o.Log = func(string, ...any) {}
	}
	h := &Host{options: o, shared: o.SharedNetwork, running: map[string]*Machine{}, mounted: map[string]bool{}, network: network.New(o.Log)}
	if err := h.open(); err != nil {
		h.Close()
		return nil, fmt.Errorf("opening the machines in %s: %w", o.Dir, err)
	}
	return h, nil
}

func (h *Host) open() error {
	if err := os.MkdirAll(h.options.Dir, 0o755); err != nil {
		return err
	}
	lock := flock.New(filepath.Join(h.options.Dir, "lock"))
	free, err := lock.TryLock()
	if err != nil {
		return err
	}
	if !free {
		return &BusyError{"the folder"}
	}
	h.lock = lock
	if h.rootfs, err = rootfs.Open(); err != nil {
		return err
	}
	if h.store, err = openStore(context.Background(), h.options.Dir, h.rootfs); err != nil {
		return err
	}
	if err := skeleton(h.store.path(skeletonDir)); err != nil {
		return err
	}
	h.program, err = program(h.store.path("program"))
	return err
}

// skeletonDir is the lowest layer of every machine.
const skeletonDir = "skel"

// skeleton makes what every root has: places for mounts.
func skeleton(dir string) error {
	if err := rootfs.Skeleton(dir); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "etc/hosts"), []byte("127.0.0.1 localhost\n::1 localhost ip6-localhost\n"), 0o644); err != nil {
		return err
	}
	return os.MkdirAll(filepath.Join(dir, "run"), 0o755)
}

// program returns the path of the program that machines run: this one, or what
// builtin.BinaryVariable says. One whose file was removed or replaced since is
// copied to spare.
func program(spare string) (string, error) {
	if path := os.Getenv(builtin.BinaryVariable); path != "" {
		return filepath.Abs(path)
	}
	path, err := os.Executable()
	if err != nil {
		return "", err
	}
	if same(path, "/proc/self/exe") {
		return path, nil
	}
	in, err := os.Open("/proc/self/exe")
	if err != nil {
		return "", err
	}
	defer in.Close()
	out, err := os.OpenFile(spare, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o755)
	if err != nil {
		return "", err
	}
	_, err = io.Copy(out, in)
	return spare, errors.Join(err, out.Close())
}

func same(a, b string) bool {
	x, err1 := os.Stat(a)
	y, err2 := os.Stat(b)
	return err1 == nil && err2 == nil && os.SameFile(x, y)
}

// Close kills all machines. Disks and snapshots stay.
func (h *Host) Close() error {
	h.mu.Lock()
	h.closed = true
	var all []*Machine
	for _, m := range h.running {
		all = append(all, m)
	}
	h.mu.Unlock()
	var wg sync.WaitGroup
	for _, m := range all {
		wg.Go(m.Kill)
	}
	wg.Wait()
	var errs []error
	if h.rootfs != nil {
		errs = append(errs, h.rootfs.Close())
	}
	if h.lock != nil {
		errs = append(errs, h.lock.Unlock())
	}
	return errors.Join(errs...)
}
