package guest

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"bake/internal/lazyregexp"
)

// startServices starts what is enabled, as systemd or init would: units that
// multi-user.target wants, and the scripts of runlevel 2.
func (m *machine) startServices() {
	m.services.m = m
	if hasSystemd() {
		// What packages and provisioners look for before they call systemctl.
		if err := os.MkdirAll("/run/systemd/system", 0o755); err != nil {
			m.problem("services: %v", err)
		}
		for _, name := range wanted() {
			if err := m.services.start(name); err != nil {
				m.problem("%v", err)
			}
		}
	} else if exists("/etc/rc2.d") {
		// So that provisioners know that init scripts are in charge.
		if err := syscall.Mkfifo("/run/initctl", 0o600); err != nil {
			m.problem("services: %v", err)
		}
	}
	m.startScripts()
}

func hasSystemd() bool { return exists("/usr/bin/systemctl") || exists("/bin/systemctl") }

// wanted lists the services that start with the machine.
func wanted() []string {
	var names []string
	for _, dir := range unitDirs() {
		for _, target := range []string{"sysinit.target", "basic.target", "multi-user.target", "graphical.target", "default.target", "network-online.target"} {
			found, _ := filepath.Glob(filepath.Join(dir, target+".wants", "*.service")) // the pattern is well-formed
			for _, f := range found {
				if name := filepath.Base(f); !slices.Contains(names, name) && !skipped(name) {
					names = append(names, name)
				}
			}
		}
	}
	return names
}

// hardware are services that are about what a machine here has not, or that
// this program is itself.
var hardware = lazyregexp.New(`^(ssh|sshd|ssh@.*|cloud-.*|systemd-.*|getty@.*|serial-getty@.*|console-getty|container-getty@.*|` +
	`networking|network|NetworkManager.*|wicked.*|ifup@.*|udev.*|plymouth.*|kmod.*|modprobe@.*|hwclock.*|keyboard-setup.*|console-setup.*|setvtrgb|` +
	`apparmor|auditd|lvm2.*|blk-availability|mdadm.*|multipath.*|iscsi.*|open-iscsi|open-vm-tools|vgauth|fstrim|e2scrub.*|grub.*|` +
	`dmesg|rc-local|rc\.local|sudo|x11-common|procps|chrony.*|ntp.*|pollinate|snapd.*|lxd-.*|apport.*|thermald|irqbalance|acpid|amazon-ssm-agent|` +
	`ec2-.*|unattended-upgrades|apt-.*|man-db|motd-news|ua-.*|ubuntu-.*|rmnologin|bootlogs|killprocs|single|halt|reboot|sendsigs|umount.*)(\.sh)?(\.service)?$`)

func skipped(name string) bool { return hardware.MatchString(name) }

// startScripts runs the scripts of runlevel 2 that are not units.
func (m *machine) startScripts() {
	scripts, _ := filepath.Glob("/etc/rc2.d/S[0-9][0-9]*") // the pattern is well-formed
	if len(scripts) == 0 {
		scripts, _ = filepath.Glob("/etc/rc.d/rc3.d/S[0-9][0-9]*")
	}
	slices.Sort(scripts)
	for _, s := range scripts {
		name := filepath.Base(s)[3:]
		if skipped(name) || !executable(s) {
			continue
		}
		if u, err := loadUnit(name); hasSystemd() && (err != nil || u.sysv == "") {
			continue // masked, or a unit, which has been started if it is enabled
		}
		cmd := exec.Command(s, "start")
		cmd.Env = []string{"RUNLEVEL=2", "PREVLEVEL=N", "runlevel=2", "previous=N"}
		if err := m.run(cmd); err != nil {
			m.problem("starting %s: %v", name, err)
		}
	}
}

// verbOf is the first word of a command line that is no option.
func verbOf(args []string) (string, []string) {
	var rest []string
	verb := ""
	for i := 0; i < len(args); i++ {
		switch a := args[i]; {
		case slices.Contains([]string{"-p", "--property", "-t", "--type", "-n", "--lines", "-o", "--output", "-s", "--signal"}, a):
			i++
		case strings.HasPrefix(a, "-"):
		case verb == "":
			verb = a
		default:
			rest = append(rest, a)
		}
	}
	return verb, rest
}

// managed reports whether a call of systemctl is about services that run, or
// about the machine: what is in files, the image's own systemctl does.
func managed(args []string) bool {
	verb, _ := verbOf(args)
	if slices.Contains([]string{"enable", "disable"}, verb) && slices.Contains(args, "--now") {
		return true
	}
	return verb == "" && len(args) == 0 || verbs()[verb] != nil
}
