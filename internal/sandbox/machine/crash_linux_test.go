package machine_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"bake/internal/sandbox/machine"
	"bake/internal/sandbox/machinetest"
)

// TestAfterAKillNothingIsLeftAndTheMachineStartsAgain starts this test as a
// child that runs a machine, and kills it.
func TestAfterAKillNothingIsLeftAndTheMachineStartsAgain(t *testing.T) {
	const victim = "BAKE_TEST_VICTIM"
	base := machine.Base{Image: machinetest.Builtin(t)}
	if dir := os.Getenv(victim); dir != "" {
		l := newLabIn(t, dir, base)
		l.id, l.key = os.Getenv("BAKE_TEST_ID"), os.Getenv("BAKE_TEST_KEY")
		m := l.start(l.spec("i-1"))
		l.sh(l.connect(m), "echo kept >/f")
		os.Stdout.WriteString("up\n")
		select {}
	}
	l := newLab(t, base)
	dir := t.TempDir()
	cmd := exec.Command("/proc/self/exe", "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), victim+"="+dir, "BAKE_TEST_ID="+l.id, "BAKE_TEST_KEY="+l.key)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	buf := make([]byte, 1024)
	for !strings.Contains(said.String(), "up\n") {
		n, err := out.Read(buf)
		said.Write(buf[:n])
		if err != nil {
			t.Fatalf("the child ended: %s", said.String())
		}
	}
	if len(belowOf(t, cmd.Process.Pid)) == 0 {
		t.Fatal("the machine does not run")
	}
	children := belowOf(t, cmd.Process.Pid)
	networks := map[string]bool{} // the machine's own: those of other tests come and go
	for _, pid := range children {
		if ns, err := os.Readlink("/proc/" + pid + "/ns/net"); err == nil {
			networks[ns] = true
		}
	}
	if own, err := os.Readlink("/proc/self/ns/net"); err != nil {
		t.Fatal(err)
	} else if delete(networks, own); len(networks) == 0 {
		t.Fatal("the machine has no network of its own")
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	await(t, "the machine's processes to end", func() bool {
		for _, pid := range children {
			if _, err := os.Stat("/proc/" + pid); err == nil {
				return false
			}
		}
		return true
	})
	await(t, "the machine's network to go", func() bool {
		links, err := filepath.Glob("/proc/[0-9]*/ns/net")
		if err != nil {
			t.Fatal(err)
		}
		for _, link := range links {
			if ns, err := os.Readlink(link); err == nil && networks[ns] {
				return false
			}
		}
		return true
	})
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil || strings.Contains(string(mounts), dir) {
		t.Errorf("mounts are left: %v\n%s", err, mounts)
	}
	if err := l.host.Close(); err != nil {
		t.Fatal(err)
	}
	l.dir = dir
	l.open()
	m := l.boot(l.spec("i-1"))
	if got := l.sh(l.connect(m), "cat /f"); got != "kept" {
		t.Errorf("the disk has %q", got)
	}
	m.Kill()
	if err := l.host.DeleteDisk(t.Context(), "vol-i-1"); err != nil {
		t.Fatal(err)
	}
}

// belowOf lists the processes that descend from one.
func belowOf(t *testing.T, pid int) []string {
	t.Helper()
	var all []string
	lists, err := filepath.Glob("/proc/" + strconv.Itoa(pid) + "/task/*/children")
	if err != nil {
		t.Fatal(err)
	}
	for _, list := range lists {
		data, _ := os.ReadFile(list) // a thread may have ended
		for child := range strings.FieldsSeq(string(data)) {
			n, err := strconv.Atoi(child)
			if err != nil {
				t.Fatal(err)
			}
			all = append(append(all, child), belowOf(t, n)...)
		}
	}
	return all
}

func TestAFolderIsOneProcesssAndADiskOneMachines(t *testing.T) {
	l := newLab(t, machine.Base{Image: machinetest.Builtin(t)})
	if h, err := machine.Open(machine.Options{Dir: l.dir}); err == nil {
		h.Close()
		t.Error("the folder was opened twice")
	}
	spec := l.spec("i-1")
	m := l.start(spec)
	began := time.Now()
	other := spec
	other.ID, other.Address = "i-2", address()
	if _, err := l.host.Start(t.Context(), other); err == nil {
		t.Error("two machines run on one disk")
	}
	if time.Since(began) > time.Second {
		t.Error("that took long")
	}
	m.Kill()
	if err := m.Stop(t.Context()); err != nil { // of one that does not run
		t.Error(err)
	}
	if err := m.Reboot(t.Context()); err == nil {
		t.Error("a machine that was killed reboots")
	}
}

func TestAStopEndsWhatDoesNotWantToEnd(t *testing.T) {
	l := newLab(t, machine.Base{Image: machinetest.Builtin(t)})
	m := l.start(l.spec("i-1"))
	l.keep(l.connect(m), "trap '' TERM HUP; while :; do sleep 1; done")
	began := time.Now()
	if err := m.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > 6*time.Second {
		t.Errorf("it took %v", took)
	}
}
