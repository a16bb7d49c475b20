//go:build linux

package wire

// Setup is the first message to a process that is to be the init of a root.
type Setup struct {
	Dir      string // working directory that the paths below are relative to
	Lower    []string
	Upper    string
	Work     string
	Root     string // where the root is mounted; itself the root if there is no Upper
	Userns   bool   // in a user namespace: devices are bound, overlay keeps its marks in user.*
	OneID    bool   // only one user and one group id are mapped
	Hostname string
	ReadOnly bool
	Tmpfs    []Tmpfs
	Binds    []Bind
	Files    []File
	// Capabilities are what root has besides the usual ones.
	Capabilities []uint
	Network      *Network `json:",omitempty"`
}

// Network is a network of the root's own.
type Network struct {
	Interface     string
	Address, Mask [4]byte
	Address6      [][16]byte `json:",omitempty"`
	MTU           int32
}

// Tmpfs is a directory of the root that lies in memory.
type Tmpfs struct {
	Path string
	Mode uint32
}

// Bind is a file or directory of this machine that appears in the root.
type Bind struct {
	From, To string
	ReadOnly bool
	Make     bool // To is made if it is missing
}

// File is a file that appears in the root for as long as the process lives,
// if there is a file or a link to one to mount it on.
type File struct {
	Path string
	Data []byte
}

// Request begins a session.
type Request struct {
	Op   Op
	Exec *Exec    `json:",omitempty"`
	Tree *Tree    `json:",omitempty"`
	Root string   `json:",omitempty"` // what Path is below; "/" if empty
	Path string   `json:",omitempty"`
	Sock [3]int   // domain, type and protocol of OpSocket
	Dirs []string `json:",omitempty"`
	Lazy bool     `json:",omitempty"`
}

// Op is what a session does.
type Op string

// The operations. Files are descriptors sent with the request; streams are
// what package tree writes.
const (
	OpExec     Op = "exec"     // Exec; files: stdin, stdout, stderr, script if any -> Reply (started), Reply (ended)
	OpPut      Op = "put"      // Root, Path, Tree; a stream follows -> Reply
	OpGet      Op = "get"      // Path -> Reply, a stream follows
	OpWalk     Op = "walk"     // Dirs, Tree -> Reply, a stream follows
	OpRemove   Op = "remove"   // Path -> Reply
	OpRename   Op = "rename"   // Dirs: from, to -> Reply
	OpSize     Op = "size"     // Path -> Reply
	OpNetwork  Op = "network"  // -> Reply with the root's own network
	OpHostname Op = "hostname" // Path: the name -> Reply
	OpSocket   Op = "socket"   // Socket -> Reply with the descriptor
	OpMount    Op = "mount"    // Path: where; file: what, a mount; or Dirs[0]: what, a directory of the root -> Reply
	OpUnmount  Op = "unmount"  // Path, Lazy -> Reply
	OpSpawn    Op = "spawn"    // file: control connection -> Reply (started), Reply (ended)
)

// Tree says how a tree is read or written.
type Tree struct {
	Layer     bool // whiteouts are translated between the names of a layer and the marks of overlayfs
	UserXattr bool
	Squash    bool
	Below     []string
	Lenient   bool // what the user namespace cannot make is left out: owners, devices
	KeepLinks bool // a link to a directory stays where the tree has a directory
}

// Exec is a command. Strings are bytes, because arguments need not be UTF-8.
type Exec struct {
	Argv, Env   [][]byte
	Dir         string
	DirOptional bool // "/" if Dir does not exist
	User        string
	Script      bool // a fourth file is the script, open as descriptor 3
	TTY         bool // the terminal comes back with the first reply
	Rows, Cols  uint16
}

// Reply ends a session, or a part of one.
type Reply struct {
	Err      string `json:",omitempty"`
	NotFound bool   `json:",omitempty"`
	Pid      int    `json:",omitempty"`
	Code     int    `json:",omitempty"`
	Signal   int    `json:",omitempty"`
	Size     int64  `json:",omitempty"`
}

// Kill is sent while a command runs: all its processes end, or, if there is a
// signal, its first process gets that.
type Kill struct{ Signal int }
