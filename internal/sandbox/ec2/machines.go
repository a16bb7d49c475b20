package ec2

import (
	"context"
	"net/netip"
)

// Machines are what instances run on: disks, their snapshots, and machines started from disks.
type Machines interface {
	// NewDisk makes a disk with what is in the snapshot; empty if that is "".
	NewDisk(ctx context.Context, disk, snapshot string) error
	// Snapshot freezes what the disk holds; the disk may be a running machine's.
	Snapshot(ctx context.Context, disk, snapshot string) error
	DeleteDisk(ctx context.Context, disk string) error
	DeleteSnapshot(ctx context.Context, snapshot string) error
	// Import makes a snapshot of a base: a tar of a root filesystem, a folder, or "" for the built-in one.
	Import(ctx context.Context, snapshot, base string) error
	Start(ctx context.Context, l Launch) (Machine, error)
}

// A Launch is a machine to start.
type Launch struct {
	ID             string // of the instance
	Disk           string
	Hostname       string
	Address        netip.Addr // the machine's own, 127.x.y.z
	Region         string
	Login          string // the user that the keys are for
	AuthorizedKeys []string
	UserData       []byte
	FirstBoot      bool
	// Allow says whether a connection from an address may come in.
	Allow func(from netip.Addr, protocol string, port uint16) bool
	// Ended is called when the guest powers itself off or reboots.
	Ended func(rebooting bool)
}

// A Machine is one that runs.
type Machine interface {
	Stop(ctx context.Context) error
	Reboot(ctx context.Context) error
	Kill()
	Console() []byte
}

// A guest is the machine of an instance, and what is being done with it.
type guest struct {
	machine Machine
	busy    bool // starting, stopping or being saved: the instance's state waits for it
	cancel  context.CancelFunc
}
