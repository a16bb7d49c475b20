package inside

import (
	"errors"
	"io/fs"
	"os"
	"os/signal"
	"syscall"

	"bake/internal/rootfs/tree"
	"bake/internal/rootfs/wire"
)

// A server answers the sessions of one process of ours.
type server struct {
	procs *procs
	oneID bool
	lan   *network
	root  bool // it is pid 1 of a root, and everything in its pid namespace is a command's
}

// serveRoot is the life of a root's init.
func serveRoot(control *wire.Conn) error {
	// What does not depend on the root is done while nobody waits for it.
	// A process of the root may send us any signal; only the kernel and bake end us.
	ignoreSignals()
	syscall.Umask(0o022)
	prepare := make(chan func() error, 1)
	srv := &server{procs: newProcs(func() error { return (<-prepare)() }), root: true}
	var s wire.Setup
	given, err := control.Recv(&s)
	if err != nil {
		return err
	}
	lan, device, err := newNetwork(s.Network)
	if len(given) == 1 { // another container's
		lan = &network{given[0]}
	}
	srv.lan = lan
	prepare <- func() error {
		if err := lan.enter(); err != nil {
			return err
		}
		return limit(s.Capabilities)
	}
	if err == nil {
		err = setUp(&s)
	}
	var files []*os.File
	if device != nil {
		files = append(files, device)
		defer device.Close()
	}
	if serr := control.Send(reply(err), files...); err != nil || serr != nil {
		return serr
	}
	srv.oneID = s.OneID
	return srv.serve(control)
}

func setUp(s *wire.Setup) error {
	if s.Hostname != "" {
		if err := syscall.Sethostname([]byte(s.Hostname)); err != nil {
			return err
		}
	}
	return enter(s)
}

// ignoreSignals receives signals and does nothing. They are not set to be
// ignored, because programs would inherit that.
func ignoreSignals() {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGALRM, syscall.SIGPWR, syscall.SIGSTKFLT, syscall.SIGXCPU, syscall.SIGXFSZ, syscall.SIGSYS, syscall.SIGABRT)
	go func() {
		for range c {
		}
	}()
}

// serveHelper is the life of the process that owns a user namespace.
func serveHelper(control *wire.Conn) error {
	if err := control.Send(reply(nil)); err != nil {
		return err
	}
	syscall.Umask(0o022)
	srv := &server{procs: newProcs(func() error { return nil })}
	return srv.serve(control)
}

// serve starts a session for each connection that comes over control. It
// returns when bake closes it or dies; this process then ends, and with it
// the whole pid namespace if it is an init.
func (s *server) serve(control *wire.Conn) error {
	for {
		fds, err := control.Recv(&struct{}{})
		if err != nil {
			return err
		}
		for _, fd := range fds {
			conn, err := wire.New(fd)
			if err != nil {
				return err
			}
			go s.session(conn)
		}
	}
}

func (s *server) session(conn *wire.Conn) {
	defer conn.Close()
	var req wire.Request
	fds, err := conn.Recv(&req)
	if err != nil {
		return
	}
	files := make([]*os.File, len(fds))
	for i, fd := range fds {
		files[i] = os.NewFile(uintptr(fd), "received")
		defer files[i].Close()
	}
	switch req.Op {
	case wire.OpExec:
		s.exec(conn, req.Exec, files)
	case wire.OpPut:
		conn.Send(reply(put(conn, &req)))
	case wire.OpGet:
		get(conn, req.Path)
	case wire.OpWalk:
		walk(conn, &req)
	case wire.OpRemove:
		conn.Send(reply(os.RemoveAll(req.Path)))
	case wire.OpRename:
		conn.Send(reply(os.Rename(req.Dirs[0], req.Dirs[1])))
	case wire.OpSize:
		size, err := tree.Size(req.Path)
		r := reply(err)
		r.Size = size
		conn.Send(r)
	case wire.OpNetwork:
		s.shareNetwork(conn)
	case wire.OpHostname:
		conn.Send(reply(syscall.Sethostname([]byte(req.Path))))
	case wire.OpMount:
		conn.Send(reply(mount(&req, files)))
	case wire.OpUnmount:
		conn.Send(reply(unmount(&req)))
	case wire.OpSocket:
		s.socket(conn, req.Sock)
	case wire.OpSpawn:
		s.spawn(conn, files)
	default:
		conn.Send(wire.Reply{Err: "unknown operation " + string(req.Op)})
	}
}

func reply(err error) wire.Reply {
	if err == nil {
		return wire.Reply{}
	}
	return wire.Reply{Err: err.Error(), NotFound: errors.Is(err, fs.ErrNotExist)}
}

func put(conn *wire.Conn, req *wire.Request) error {
	root := req.Root
	if root == "" {
		root = "/"
	}
	a, err := tree.NewApplier(root, req.Path, tree.Options(*req.Tree))
	if err != nil {
		return err
	}
	err = tree.Read(conn, a.Apply)
	return errors.Join(err, a.Close())
}

func get(conn *wire.Conn, path string) {
	_, err := os.Lstat(path)
	if conn.Send(reply(err)) != nil || err != nil {
		return
	}
	w := tree.NewWriter(conn)
	w.Close(tree.WalkPath(path, tree.Options{}, w.Write))
}

func walk(conn *wire.Conn, req *wire.Request) {
	if conn.Send(wire.Reply{}) != nil {
		return
	}
	w := tree.NewWriter(conn)
	w.Close(tree.Walk(req.Dirs, tree.Options(*req.Tree), w.Write))
}

// spawn starts the init of a root inside this user namespace.
func (s *server) spawn(conn *wire.Conn, files []*os.File) {
	if len(files) != 1 {
		conn.Send(wire.Reply{Err: "spawn takes one descriptor"})
		return
	}
	p, err := s.procs.start(func() (int, error) { return StartInit(files[0]) })
	files[0].Close()
	if err != nil {
		conn.Send(reply(err))
		return
	}
	if conn.Send(wire.Reply{Pid: p.pid}) == nil {
		<-p.done
		conn.Send(p.reply())
	}
}
