package machine_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"bake/builder"
	"bake/internal/need"
	"bake/internal/sandbox/machine"
	"bake/internal/sandbox/machinetest"
	"bake/steps/ssh"
)

const gib = 1 << 30

// TestAVolumeIsFormattedMountedAndItsSnapshotHasTheFile is what a template with
// volumes does in its steps.
func TestAVolumeIsFormattedMountedAndItsSnapshotHasTheFile(t *testing.T) {
	need.Root(t)
	l := newLab(t, machine.Base{Image: machinetest.Builtin(t)})
	spec := l.spec("a")
	spec.NVMe, spec.Volumes = true, []machine.Volume{{Disk: "vol-0d", Device: "/dev/sdf", Size: 2 * gib}}
	l.disk("vol-0d", "")
	m := l.start(spec)
	l.says(m, `test -b /dev/sdf && readlink /dev/sdf /dev/xvdf; ls /dev/disk/by-id; lsblk -no SIZE,FSTYPE /dev/xvdf; blkid /dev/sdf || echo $?`,
		"/dev/nvme1n1\n/dev/nvme1n1\nnvme-Amazon_Elastic_Block_Store_vol0d\n2G\n2\n")
	l.fails(m, "mkdir /data; mount /dev/sdf /data", "wrong fs type")
	l.says(m, `mkfs -t ext4 -L data -U 11111111-2222-4333-8444-555555555555 /dev/xvdf >/dev/null && mount /dev/sdf /data && echo kept >/data/file && blkid -o value -s UUID /dev/nvme1n1
echo UUID=11111111-2222-4333-8444-555555555555 /data ext4 defaults,nofail 0 2 >>/etc/fstab; mkdir /again; mount -o ro LABEL=data /again; cat /again/file; umount /again`,
		"11111111-2222-4333-8444-555555555555\nkept\n")
	l.fails(m, "mkfs.ext4 /dev/sdf", "is mounted")
	l.fails(m, "cd /data; umount /data", "busy")
	l.snapshot("vol-0d", "snap-live") // it is mounted
	l.says(m, "umount /dev/sdf; ls /data", "")
	l.snapshot("vol-0d", "snap-data")
	l.fails(m, "umount /data", "")
	l.snapshot(spec.Disk, "snap-root")
	l.stop(m)

	// A machine of both snapshots mounts the second by what the first's fstab says.
	for _, from := range []string{"snap-data", "snap-live"} {
		next := l.spec("b-" + from)
		next.Volumes = []machine.Volume{{Disk: "vol-" + from, Device: "/dev/sdf", Size: 2 * gib}}
		l.disk("vol-"+from, from)
		l.disk(next.Disk, "snap-root")
		m = l.boot(next)
		l.says(m, "cat /data/file; test -b /dev/xvdf; echo more >/data/more; lsblk -o NAME,MOUNTPOINT", "kept\nNAME MOUNTPOINT\nxvdf /data\n")
		l.stop(m)
	}
	l.snapshot("vol-snap-data", "snap-more") // after the machine's end
	l.disk("vol-more", "snap-more")
	last := l.spec("c")
	last.Volumes = []machine.Volume{{Disk: "vol-more", Device: "/dev/sdf"}}
	m = l.start(last)
	l.says(m, "mkdir /x; mount /dev/sdf /x; cat /x/file /x/more", "kept\nmore\n")
}

func TestVolumesComeAndGoWhileAMachineRuns(t *testing.T) {
	need.Root(t)
	l := newLab(t, machine.Base{Image: machinetest.Builtin(t)})
	m := l.start(l.spec("a"))
	v := machine.Volume{Disk: "vol-1", Device: "/dev/sdg", Size: gib}
	l.disk(v.Disk, "")
	if err := m.Attach(v); err != nil {
		t.Fatal(err)
	}
	l.says(m, "while [ ! -b /dev/sdg ]; do sleep 0.01; done; mkfs.xfs /dev/sdg >/dev/null; mkdir /data; mount /dev/sdg /data; echo x >/data/f; cd /data; sleep 60 >/dev/null 2>&1 & true", "")
	if busy, ok := errors.AsType[*machine.BusyError](l.host.DeleteDisk(t.Context(), v.Disk)); !ok {
		t.Errorf("a mounted disk was deleted: %v", busy)
	}
	if err := l.host.NewDisk(t.Context(), "vol-other", l.base); err != nil {
		t.Fatal(err)
	}
	other := l.spec("other")
	other.Volumes = []machine.Volume{v}
	second := l.boot(other)
	l.fails(second, "mkdir /data; mount /dev/sdg /data", "in use")
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := m.Detach(short, v.Disk, false); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("detaching what is mounted: %v, want that it waits", err)
	}
	if err := m.Detach(t.Context(), v.Disk, true); err != nil {
		t.Fatal(err)
	}
	l.says(m, "while [ -e /dev/sdg ]; do sleep 0.01; done; ls /data; ls /dev | grep xvdg || echo none", "none\n")
	l.says(second, "mount /dev/sdg /data; cat /data/f", "x\n")
	released := make(chan error)
	go func() { released <- second.Detach(t.Context(), v.Disk, false) }()
	l.says(second, "umount /data", "")
	if err := <-released; err != nil {
		t.Error(err)
	}
	if err := l.host.DeleteDisk(t.Context(), v.Disk); err != nil {
		t.Error(err)
	}
}

// The commands for volumes stand before the image's own, which still do the rest.
func TestWhatIsNotAboutAVolumeTheImagesOwnProgramDoes(t *testing.T) {
	need.Root(t)
	l := newLab(t, machine.Base{Fixed: machinetest.Debian(t)})
	spec := l.spec("a")
	spec.Login = "root"
	m := l.start(spec)
	l.says(m, "command -v lsblk; lsblk --version | cut -d' ' -f1; blkid --version | cut -d' ' -f1", "/usr/local/sbin/lsblk\nlsblk\nblkid\n")
	l.fails(m, "mount -t tmpfs none /mnt", "the image has no mount of its own") // Debian's smallest has not
	l.fails(m, "command -v file", "")
	l.fails(m, "mount UUID=11111111-2222-4333-8444-555555555555 /mnt", "can't find UUID=")
}

func (l *lab) disk(id, snapshot string) {
	l.t.Helper()
	if err := l.host.NewDisk(l.t.Context(), id, snapshot); err != nil {
		l.t.Fatal(err)
	}
}

func (l *lab) snapshot(disk, id string) {
	l.t.Helper()
	if err := l.host.Snapshot(l.t.Context(), disk, id); err != nil {
		l.t.Fatal(err)
	}
}

func (l *lab) stop(m *machine.Machine) {
	l.t.Helper()
	if err := m.Stop(l.t.Context()); err != nil {
		l.t.Fatal(err)
	}
}

// says runs a script over SSH and compares its output.
func (l *lab) says(m *machine.Machine, script, want string) {
	l.t.Helper()
	if got, err := l.try(m, script); err != nil || got != want {
		l.t.Errorf("%s\nsaid %q (%v), want %q\nconsole: %s", script, got, err, want, m.Console())
	}
}

// fails runs a script that must fail and say something.
func (l *lab) fails(m *machine.Machine, script, want string) {
	l.t.Helper()
	if got, err := l.try(m, script); err == nil || !strings.Contains(got, want) {
		l.t.Errorf("%s\nsaid %q (%v), want a failure with %q", script, got, err, want)
	}
}

// try runs a script over SSH and returns what it writes to both streams.
func (l *lab) try(m *machine.Machine, script string) (string, error) {
	l.t.Helper()
	c, err := ssh.Connect(l.t.Context(), l.config(m, m.Login()))
	if err != nil {
		l.t.Fatal(err)
	}
	defer c.Close()
	var out bytes.Buffer
	err = c.Run(l.t.Context(), builder.Command{Script: script, Stdout: &out, Stderr: &out})
	return out.String(), err
}
