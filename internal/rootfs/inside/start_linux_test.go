package inside

import (
	"bytes"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"bake/internal/rootfs/wire"
)

// A build that is cancelled while a container starts closes its end before the
// init has answered.
func TestAnInitThatNobodyWantsAnyMoreSaysNothing(t *testing.T) {
	conn, far, err := wire.Pair()
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	if err := conn.Send(wire.Setup{Dir: "/nowhere", Root: "/nowhere"}); err != nil {
		t.Fatal(err)
	}
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	init := exec.CommandContext(t.Context(), "/proc/self/exe")
	init.Args = []string{initName}
	init.ExtraFiles, init.Stderr = []*os.File{far}, &said
	init.SysProcAttr = &syscall.SysProcAttr{Cloneflags: namespaces}
	if os.Geteuid() != 0 {
		init.SysProcAttr.Cloneflags = 0 // what needs it is refused before it changes anything
	}
	if err := init.Run(); err != nil || said.Len() > 0 {
		t.Errorf("it ended with %v and said %q, want nothing of both", err, said.String())
	}
}
