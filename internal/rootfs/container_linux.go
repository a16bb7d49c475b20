package rootfs

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"bake/internal/rootfs/inside"
	"bake/internal/rootfs/tree"
	"bake/internal/rootfs/wire"
)

// A Container is a root file system with a running init. Safe for concurrent use.
type Container struct {
	peer  peer
	pid   int
	close sync.Once
	// device is the other side of its network interface, or nil.
	device *os.File
	done   chan struct{}
}

// Start boots a container. Its processes and mounts are gone when Close
// returns, or when this process is.
func (h *Host) Start(ctx context.Context, c Config) (*Container, error) {
	ct, err := h.init()
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { ct.peer.conn.Close() })
	err = ct.sendSetup(ctx, c, h.id)
	if err == nil {
		var fds []int
		if _, fds, err = recv(ct.peer.conn); len(fds) > 0 {
			syscall.SetNonblock(fds[0], true) // so that Close ends a Read that waits
			ct.device = os.NewFile(uintptr(fds[0]), "network device")
		}
	}
	if !stop() || err != nil {
		ct.Close()
		return nil, fmt.Errorf("starting a container: %w", orCause(ctx, err))
	}
	return ct, nil
}

// sendSetup tells the init what its root is, with the network that it shares.
func (c *Container) sendSetup(ctx context.Context, cfg Config, id Identity) error {
	if cfg.Beside == nil {
		return c.peer.conn.Send(setup(cfg, id))
	}
	network, err := cfg.Beside.fetch(ctx, wire.Request{Op: wire.OpNetwork}, "network")
	if err != nil {
		return err
	}
	defer network.Close()
	return c.peer.conn.Send(setup(cfg, id), network)
}

// startInit starts the init process and the goroutine that waits for its end.
func (h *Host) startInit(ct *Container, far *os.File) error {
	if !h.id.Rootless {
		pid, err := h.fork(func() (int, error) { return inside.StartInit(far) })
		if err != nil {
			return notPossible(err)
		}
		ct.pid = pid
		go func() {
			waitFor(pid)
			close(ct.done)
		}()
		return nil
	}
	helper, err := h.userns()
	if err != nil {
		return err
	}
	conn, err := helper.session(wire.Request{Op: wire.OpSpawn}, far)
	if err != nil {
		return err
	}
	r, _, err := recv(conn)
	if err != nil {
		conn.Close()
		return err
	}
	ct.pid = r.Pid
	go func() {
		recv(conn) // the end of the process, or of the helper and so of the process
		conn.Close()
		close(ct.done)
	}()
	return nil
}

func setup(c Config, id Identity) wire.Setup {
	s := wire.Setup{Dir: c.Base, Lower: c.Lower, Upper: c.Upper, Work: c.Work, Root: c.Root, Hostname: c.Hostname, ReadOnly: c.ReadOnly, Userns: id.Rootless, OneID: id.OneID}
	if s.Dir == "" {
		s.Dir = "/"
	}
	s.Capabilities = c.Capabilities
	if n := c.Network; n != nil {
		s.Network = &wire.Network{Interface: n.Interface, Address: n.Address.Addr().As4(), MTU: int32(n.MTU),
			Mask: [4]byte(net.CIDRMask(n.Address.Bits(), 32))}
		for _, a := range n.Address6 {
			s.Network.Address6 = append(s.Network.Address6, a.As16())
		}
	}
	for _, t := range c.Tmpfs {
		s.Tmpfs = append(s.Tmpfs, wire.Tmpfs(t))
	}
	for _, b := range c.Binds {
		s.Binds = append(s.Binds, wire.Bind(b))
	}
	for _, f := range c.Files {
		s.Files = append(s.Files, wire.File(f))
	}
	return s
}

// Pid is the init's process id on this machine; /proc/PID/root is the container's root.
func (c *Container) Pid() int { return c.pid }

// Device is the other side of the network interface of a container with a
// Network: who reads from it gets the packets that the container sends, one at a time, and
// what is written to it the container receives. It is nil if this machine has
// no TUN devices, or the user may not make them. Close closes it.
func (c *Container) Device() *os.File { return c.device }

// Socket makes a socket (socket(2)) in the container's network.
func (c *Container) Socket(ctx context.Context, domain, kind, protocol int) (*os.File, error) {
	return c.fetch(ctx, wire.Request{Op: wire.OpSocket, Sock: [3]int{domain, kind, protocol}}, "socket")
}

// fetch asks the container's init for a descriptor.
func (c *Container) fetch(ctx context.Context, req wire.Request, what string) (*os.File, error) {
	conn, err := c.peer.session(req)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	_, fds, err := recv(conn)
	if err != nil {
		return nil, orCause(ctx, err)
	}
	if len(fds) != 1 {
		return nil, errors.New("the container's first process sent no " + what)
	}
	return os.NewFile(uintptr(fds[0]), what), nil
}

// SetHostname changes the name that the container has.
func (c *Container) SetHostname(ctx context.Context, name string) error {
	_, err := c.peer.ask(ctx, wire.Request{Op: wire.OpHostname, Path: name})
	return err
}

// Done is closed when the container has ended.
func (c *Container) Done() <-chan struct{} { return c.done }

// Close ends every process of the container and returns when they are gone.
func (c *Container) Close() error {
	c.close.Do(func() {
		c.peer.conn.Close()
		if c.device != nil {
			c.device.Close()
		}
	})
	<-c.done
	return nil
}

// Put makes the files that feed brings below the directory dst of the
// container, which is made if need be. When it returns nil all are there and whole.
func (c *Container) Put(ctx context.Context, dst string, o Options, feed Feed) error {
	opts := wire.Tree(o)
	return c.peer.send(ctx, wire.Request{Op: wire.OpPut, Path: dst, Tree: &opts}, feed)
}

// Get calls fn with the file or tree at src; names begin with src's last
// element. The error is fs.ErrNotExist if there is none.
func (c *Container) Get(ctx context.Context, src string, fn tree.Func) error {
	return c.peer.receive(ctx, wire.Request{Op: wire.OpGet, Path: src}, fn)
}

// Skeleton makes dir the lowest layer of a container: the directories and files
// that things are mounted on, for images that lack them. They are not part of
// what the container changes.
func Skeleton(dir string) error {
	for _, name := range []string{"proc", "sys", "dev", "tmp", "etc"} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o755); err != nil {
			return err
		}
	}
	for _, name := range []string{"etc/resolv.conf", "etc/hosts"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o644); err != nil {
			return err
		}
	}
	if err := syscall.Chmod(dir, 0o755); err != nil {
		return err
	}
	return os.Chmod(filepath.Join(dir, "tmp"), 0o777|os.ModeSticky)
}

// NetworkFiles are /etc/resolv.conf and /etc/hosts as they should be in a
// container that uses this machine's network under another host name.
func NetworkFiles(hostname string) []ExtraFile {
	var files []ExtraFile
	for _, path := range []string{"/etc/resolv.conf", "/etc/hosts"} {
		data, err := os.ReadFile(path)
		if err != nil {
			continue // this machine does without
		}
		if path == "/etc/hosts" && hostname != "" {
			data = fmt.Appendf(data, "\n127.0.1.1\t%s\n", hostname)
		}
		files = append(files, ExtraFile{path, data})
	}
	return files
}
