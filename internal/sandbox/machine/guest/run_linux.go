package guest

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// A machine is the inside of one, from boot to shutdown.
type machine struct {
	Boot
	console io.Writer

	mu   sync.Mutex // of the messages
	out  *json.Encoder
	down chan string // Message.Down that somebody asked for

	schedule schedule
	cloud    cloud
	storage  storage
	services manager
	sshd     *exec.Cmd // the image's OpenSSH, nil if bake serves SSH
}

// run is the life of the machine's first program.
func run() error {
	in := json.NewDecoder(bufio.NewReader(os.Stdin))
	m := &machine{console: os.Stderr, out: json.NewEncoder(os.Stdout), down: make(chan string, 1)}
	if err := in.Decode(&m.Boot); err != nil {
		return fmt.Errorf("reading what machine this is: %w", err)
	}
	syscall.Umask(0o022)
	m.tell(Message{Up: true})
	orders := make(chan Order)
	go func() {
		defer close(orders)
		for {
			var o Order
			if in.Decode(&o) != nil {
				return
			}
			if o.Volumes != nil {
				m.attach(*o.Volumes)
			}
			if o.Reply != nil {
				m.replied(*o.Reply)
			}
			if o.Key != nil {
				if err := trust(*o.Key); err != nil {
					m.say("[%s] letting %s in: %v", m.InstanceID, o.Key.User, err)
				}
			}
			if o.Stop {
				orders <- o
			}
		}
	}()
	go m.bringUp()
	return m.await(orders)
}

// await returns when the machine is down.
func (m *machine) await(orders <-chan Order) error {
	for {
		select {
		case o, ok := <-orders:
			if !ok {
				return nil // the host's side is gone, and soon everything here
			}
			if o.Stop {
				m.takeDown()
				return nil
			}
		case how := <-m.down:
			m.takeDown()
			m.tell(Message{Down: how})
			return nil
		}
	}
}

func (m *machine) tell(msg Message) {
	m.mu.Lock()
	defer m.mu.Unlock()
	_ = m.out.Encode(msg) // the host's side is gone if this fails
}

// say writes a line to the console.
func (m *machine) say(format string, args ...any) {
	fmt.Fprintf(m.console, format+"\r\n", args...)
}

// takeDown ends all processes: first they are asked to.
func (m *machine) takeDown() {
	m.say("[%s] System is going down.", m.InstanceID)
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGHUP, syscall.SIGCONT} {
		_ = syscall.Kill(-1, sig) // every process but pid 1 and this one
	}
	deadline := time.Now().Add(time.Duration(m.Grace) * time.Millisecond)
	for time.Now().Before(deadline) && othersRun() {
		time.Sleep(5 * time.Millisecond) // the kernel tells nobody of the end of another's child
	}
	_ = syscall.Kill(-1, syscall.SIGKILL)
	m.say("[%s] Power down.", m.InstanceID)
}

// othersRun reports whether there are processes besides pid 1 and this one.
func othersRun() bool {
	names, err := os.ReadDir("/proc")
	if err != nil {
		return false
	}
	self := fmt.Sprint(os.Getpid())
	for _, n := range names {
		name := n.Name()
		if name[0] < '1' || name[0] > '9' || name == "1" || name == self {
			continue
		}
		data, err := os.ReadFile("/proc/" + name + "/stat")
		if err == nil && !zombie(data) {
			return true
		}
	}
	return false
}

// zombie reads the state of a process (proc(5)): it stands after the name.
func zombie(stat []byte) bool {
	for i := len(stat) - 1; i >= 0; i-- {
		if stat[i] == ')' {
			return i+2 < len(stat) && (stat[i+2] == 'Z' || stat[i+2] == 'X')
		}
	}
	return true
}
