package inside

import (
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"bake/internal/rootfs/wire"
)

// procs starts programs and reaps every child of this process, its own and
// those that it inherits as pid 1.
type procs struct {
	forks   chan func()
	forking sync.Mutex // held while a program starts, and while everything is killed

	mu     sync.Mutex
	change *sync.Cond
	byPID  map[int]*proc
	idle   bool // there is no child at all
}

// A proc is a program that was started.
type proc struct {
	pid    int
	status syscall.WaitStatus
	done   chan struct{} // closed when status is set
}

// reply says how the program ended.
func (p *proc) reply() wire.Reply {
	if p.status.Signaled() {
		return wire.Reply{Code: 128 + int(p.status.Signal()), Signal: int(p.status.Signal())}
	}
	return wire.Reply{Code: p.status.ExitStatus()}
}

// newProcs starts the thread that forks, on which prepare is called first:
// what it does to the thread, all programs inherit.
func newProcs(prepare func() error) *procs {
	ps := &procs{forks: make(chan func()), byPID: map[int]*proc{}, idle: true}
	ps.change = sync.NewCond(&ps.mu)
	go func() {
		// Never unlocked: programs that asked to die with their parent die with this thread.
		runtime.LockOSThread()
		err := prepare()
		for fork := range ps.forks {
			if err != nil {
				os.Stderr.WriteString("bake: " + err.Error() + "\n")
				os.Exit(1)
			}
			fork()
		}
	}()
	go ps.reap()
	return ps
}

// start runs fork, which starts a program, on the thread for it.
func (ps *procs) start(fork func() (int, error)) (*proc, error) {
	ps.forking.Lock()
	defer ps.forking.Unlock()
	ps.mu.Lock()
	defer ps.mu.Unlock()
	p := &proc{done: make(chan struct{})}
	result := make(chan error)
	ps.forks <- func() {
		var err error
		p.pid, err = fork()
		result <- err
	}
	if err := <-result; err != nil {
		return nil, err
	}
	ps.byPID[p.pid] = p
	ps.idle = false
	ps.change.Broadcast()
	return p, nil
}

// onThread runs f on the thread that forks, in the network that programs have.
func (ps *procs) onThread(f func()) {
	done := make(chan struct{})
	ps.forks <- func() {
		f()
		close(done)
	}
	<-done
}

func (ps *procs) reap() {
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, 0, nil)
		ps.mu.Lock()
		switch {
		case err == syscall.ECHILD && len(ps.byPID) == 0:
			ps.idle = true
			ps.change.Broadcast()
			for ps.idle {
				ps.change.Wait()
			}
		case err == nil && (status.Exited() || status.Signaled()):
			if p := ps.byPID[pid]; p != nil {
				delete(ps.byPID, pid)
				p.status = status
				close(p.done)
			}
		}
		ps.mu.Unlock()
	}
}

// signal sends a signal to a program that runs.
func (ps *procs) signal(p *proc, n syscall.Signal) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if ps.byPID[p.pid] == p { // else the pid may be another's by now
		syscall.Kill(p.pid, n)
	}
}

// kill ends a program and all that it started, and returns when they are gone.
// If it is the only one running, that is every process of the pid namespace,
// wherever it hid. Beside others it is the processes of its session and its
// descendants: one that left both is ended with the root.
func (ps *procs) kill(p *proc) {
	ps.mu.Lock()
	alone := len(ps.byPID) == 0 || len(ps.byPID) == 1 && ps.byPID[p.pid] != nil
	ps.mu.Unlock()
	if alone {
		ps.killAll()
		return
	}
	for {
		family := familyOf(p.pid)
		if len(family) == 0 {
			return
		}
		for _, pid := range family {
			syscall.Kill(pid, syscall.SIGKILL)
		}
		runtime.Gosched()
	}
}

func (ps *procs) killAll() {
	ps.forking.Lock()
	defer ps.forking.Unlock()
	syscall.Kill(-1, syscall.SIGKILL)
	ps.mu.Lock()
	defer ps.mu.Unlock()
	for !ps.idle {
		ps.change.Wait()
	}
}

// familyOf lists the living processes whose session is pid's or that descend from it.
func familyOf(pid int) []int {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	parent, member := map[int]int{}, map[int]bool{pid: true}
	for _, e := range entries {
		n, err := strconv.Atoi(e.Name())
		if err != nil || n == os.Getpid() {
			continue
		}
		state, ppid, sid := stat(n)
		if state == "" || state == "Z" || state == "X" {
			continue
		}
		parent[n] = ppid
		if sid == pid {
			member[n] = true
		}
	}
	for grown := true; grown; {
		grown = false
		for n, up := range parent {
			if !member[n] && member[up] {
				member[n], grown = true, true
			}
		}
	}
	var family []int
	for n := range parent {
		if member[n] {
			family = append(family, n)
		}
	}
	return family
}

// stat reads a process's state, parent and session (proc(5)).
func stat(pid int) (state string, ppid, sid int) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return "", 0, 0
	}
	_, rest, _ := strings.Cut(string(b[strings.LastIndexByte(string(b), ')')+1:]), " ")
	f := strings.Fields(rest)
	if len(f) < 4 {
		return "", 0, 0
	}
	ppid, _ = strconv.Atoi(f[1])
	sid, _ = strconv.Atoi(f[3])
	return f[0], ppid, sid
}
