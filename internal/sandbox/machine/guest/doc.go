// Package guest is what bake's own binary does inside a machine of the
// sandbox: it brings it up as a boot and cloud-init would, serves SSH or starts
// the machine's own server, and takes it down. It is started by the host's side
// (package machine) below pid 1 of the root, with Boot as the first message on
// its standard input; it tells what happens as Messages on its standard output;
// its standard error is the machine's console.
//
// Like package bake/internal/rootfs/inside it takes the process over in an init
// function: the program inside a machine may be a test's.
package guest

import "time"

// ProgramName is what the program is called by as a machine's first program,
// and Program where it lies in every machine.
const (
	ProgramName = "bake-machine"
	Program     = RunDir + "/" + ProgramName
	// RunDir is in memory and part of no image.
	RunDir = "/run/bake"
)

// VolumeCommands are the commands for volumes that every machine has, before
// those of its image.
func VolumeCommands() []string {
	return []string{"mount", "umount", "mkfs", "mke2fs", "mkfs.ext2", "mkfs.ext3", "mkfs.ext4", "mkfs.xfs", "mkfs.btrfs", "blkid", "lsblk"}
}

// VolumeTools are those that a machine has if its image has them: what they are
// for otherwise, nothing stands in for.
func VolumeTools() []string { return []string{"file", "wipefs", "resize2fs", "xfs_growfs"} }

// sftpName is what the program is called by to serve files to a user.
const sftpName = "bake-sftp"

// Boot says what machine this is. It is the first message.
type Boot struct {
	InstanceID     string
	Hostname       string
	Region         string
	Address        string   // of the machine's own interface; empty without one
	Login          string   // who logs in; empty: the image's own way
	AuthorizedKeys []string // of Login
	UserData       []byte
	Listen         string // where SSH is served, ":22"; with a host if the network is shared with others
	Resolver       string // /etc/resolv.conf, where the image's leads nowhere
	OneID          bool   // there is only one user and one group id
	Notes          []string
	Volumes        []Volume // besides the root
	NVMe           bool     // they appear as /dev/nvme1n1..., with links
	// Grace is how long, in milliseconds, processes may take to end.
	Grace int
}

// An Order is what the host's side wants, after Boot.
type Order struct {
	Stop bool // end everything, then this process
	// Volumes are those that the machine has now, if they have changed.
	Volumes *[]Volume `json:",omitempty"`
	// Reply answers an Ask; the volumes in the same message are as it left them.
	Reply *Reply `json:",omitempty"`
	// Key lets somebody log in for a while, as EC2 Instance Connect does; only
	// bake's own SSH server looks at it.
	Key *Key `json:",omitempty"`
}

// A Key is a line of authorized_keys that counts until a time.
type Key struct {
	User, Line string
	Until      time.Time
}

// A Volume is one that the machine has besides its root.
type Volume struct {
	ID     string
	Device string // what it was attached as: "/dev/sdf"
	Size   int64  // bytes
	// Type, UUID and Label are of the file system on it; all empty: it has none.
	Type, UUID, Label string
	Mounts            []string // where it is mounted, in the order in which that was done
}

// An Ask is what the machine wants done to a volume.
type Ask struct {
	ID       int
	Do       string // Mount, Unmount or Format
	Volume   string
	Target   string
	ReadOnly bool
	Lazy     bool
	// Of the file system that Format makes; an empty Type makes none.
	Type, UUID, Label string
}

// What Ask.Do says.
const (
	Mount   = "mount"
	Unmount = "unmount"
	Format  = "format"
)

// A Reply says how an Ask went.
type Reply struct {
	ID  int
	Err string
}

// A Message is what the host's side is told.
type Message struct {
	// Up: this process runs.
	Up bool `json:",omitempty"`
	// Serving: SSH is served.
	Serving bool `json:",omitempty"`
	// Done: everything that is to be done at a boot is done, user data too.
	Done bool `json:",omitempty"`
	// Down: somebody inside wants the machine "poweroff" or "reboot"; this
	// process ends next.
	Down string `json:",omitempty"`
	// Hostname: the machine is to be called so.
	Hostname string `json:",omitempty"`
	// Ask: something is to be done to a volume; an Order answers.
	Ask *Ask `json:",omitempty"`
	// Login is who may log in with the keys; told with Serving.
	Login string `json:",omitempty"`
}

// What Message.Down says.
const (
	PowerOff = "poweroff"
	Reboot   = "reboot"
)
