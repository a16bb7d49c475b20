package dockertest

import (
	"net"
	"os"
	"strings"
	"testing"

	"bake/internal/need"
)

func TestPrivateDaemonLeavesNothing(t *testing.T) {
	needs(t)
	dir := t.TempDir()
	d, err := Launch(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := answers(d.Host); err != nil {
		t.Errorf("it does not answer: %v", err)
	}
	if len(d.processes()) == 0 {
		t.Error("no process of it is found: the check below would prove nothing")
	}
	bridge := d.bridge
	if err := d.Stop(); err != nil {
		t.Fatal(err)
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("files left: %v", left)
	}
	if pids := d.processes(); len(pids) > 0 {
		t.Errorf("processes left: %v", pids)
	}
	mounts, _ := os.ReadFile("/proc/self/mountinfo")
	if strings.Contains(string(mounts), dir) {
		t.Errorf("mounts left below %s", dir)
	}
	if bridge != "" {
		if _, err := net.InterfaceByName(bridge); err == nil {
			t.Errorf("bridge %s left", bridge)
		}
	}
}

func TestSharedEngineStartsOnce(t *testing.T) {
	need.Root(t)
	var s Shared
	first, second := s.Start(t), s.Start(t)
	if first != second {
		t.Errorf("two engines: %s and %s", first, second)
	}
	if err := s.Stop(); err != nil {
		t.Error(err)
	}
}
