package machine_test

import (
	"testing"
	"time"

	"bake/builder"
	"bake/builder/buildertest"
	"bake/internal/sandbox/machine"
)

func TestAMachineRebootsFromInsideAndOutside(t *testing.T) {
	bases(t, func(t *testing.T, base machine.Base) {
		l := newLab(t, base)
		ended := make(chan bool, 10)
		spec := l.spec("i-1")
		spec.Ended = func(rebooting bool) { ended <- rebooting }
		m := l.start(spec)
		config := l.config(m, m.Login())
		if m.Login() != "root" {
			config.Become.User = "root"
		}
		c := l.connectWith(config)
		l.sh(c, "echo kept >/f; echo gone >/tmp/f; echo gone >/run/f")
		before := l.sh(c, "cat /proc/sys/kernel/random/boot_id")
		keys := hostKeys(m)
		if err := c.Reboot(t.Context(), buildertest.Scope(t, builder.Catalog{}, t.TempDir()), "", time.Minute); err != nil { // proves it with the boot id
			t.Fatalf("%v\n%s", err, m.Console())
		}
		if rebooting := <-ended; !rebooting {
			t.Error("a reboot was told as an end")
		}
		if got := l.sh(c, "cat /f; ls /tmp /run/f 2>/dev/null | grep -v : || true"); got != "kept" {
			t.Errorf("after the reboot: %q", got)
		}
		if err := m.RebootWith(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		l.serving(m)
		if after := l.sh(c, "cat /proc/sys/kernel/random/boot_id"); after == before {
			t.Error("the boot id did not change")
		}
		if len(ended) > 0 {
			t.Error("a reboot that the host asked for was told")
		}
		if got := hostKeys(m); len(got) == 0 || got[0] != keys[0] {
			t.Error("the host keys changed")
		}
	})
}

func TestAMachinePowersOffFromInside(t *testing.T) {
	bases(t, func(t *testing.T, base machine.Base) {
		for _, command := range []string{"shutdown -h now", "poweroff", "/sbin/shutdown -P +0", "halt", "shutdown -P +60; shutdown -c; shutdown -h 0"} {
			t.Run(command, func(t *testing.T) {
				l := newLab(t, base)
				ended := make(chan bool, 1)
				spec := l.spec("i-1")
				spec.Ended = func(rebooting bool) { ended <- rebooting }
				m := l.start(spec)
				config := l.config(m, m.Login())
				if m.Login() != "root" {
					config.Become.User = "root"
				}
				c := l.connectWith(config)
				if m.Login() == "root" && command[0] == '/' {
					command = command[len("/sbin/"):] // /sbin leads to /bin there, which is the program's
				}
				_ = c.Run(t.Context(), builder.Command{Script: command}) // the connection may break
				select {
				case rebooting := <-ended:
					if rebooting {
						t.Error("it reboots")
					}
				case <-time.After(20 * time.Second):
					t.Fatalf("it is still up\n%s", m.Console())
				}
				<-m.Gone()
				if err := l.host.DeleteDisk(t.Context(), spec.Disk); err != nil {
					t.Error(err)
				}
			})
		}
	})
}
