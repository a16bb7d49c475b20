package guest

import (
	"fmt"
	"os"
	"slices"
	"strings"
)

// Exit codes of mount(8).
const (
	mountUsage  = 1
	mountFailed = 32
)

// pass says that a command is not about the machine's volumes: the image's own
// program is to do it.
func pass() answer { return answer{Pass: true} }

func refuse(code int, format string, args ...any) answer {
	return answer{Err: fmt.Sprintf(format, args...) + "\n", Code: code}
}

// A mounting is what mount(8) was asked for.
type mounting struct {
	spec, target, kind string
	readOnly, all      bool
	foreign            bool // of a sort that volumes have no part in
}

// parseMount reads the options of mount(8) that matter.
func parseMount(args []string) mounting {
	var q mounting
	var names []string
	for i := 0; i < len(args); i++ {
		a := args[i]
		value := func() string {
			if i+1 < len(args) {
				i++
				return args[i]
			}
			return ""
		}
		switch {
		case a == "-a" || a == "--all":
			q.all = true
		case a == "-r" || a == "--read-only":
			q.readOnly = true
		case a == "-t" || a == "--types":
			q.kind = value()
		case a == "-U" || a == "--uuid":
			names = append(names, "UUID="+value())
		case a == "-L" || a == "--label":
			names = append(names, "LABEL="+value())
		case a == "-o" || a == "--options":
			q.options(value())
		case strings.HasPrefix(a, "-o"):
			q.options(a[2:])
		case strings.HasPrefix(a, "--bind"), strings.HasPrefix(a, "--rbind"), strings.HasPrefix(a, "--move"), strings.HasPrefix(a, "--make"), a == "-B", a == "-R", a == "-M":
			q.foreign = true
		case strings.HasPrefix(a, "-"):
		default:
			names = append(names, a)
		}
	}
	if len(names) > 0 {
		q.spec = names[0]
	}
	if len(names) > 1 {
		q.target = names[1]
	}
	return q
}

func (q *mounting) options(text string) {
	for _, o := range strings.Split(text, ",") {
		switch o {
		case "ro":
			q.readOnly = true
		case "bind", "rbind", "move", "remount", "loop":
			q.foreign = true
		}
	}
}

// mount is mount(8) for volumes.
func (m *machine) mount(cmd command) answer {
	q := parseMount(cmd.Args)
	if q.foreign || q.spec == "" && !q.all {
		return pass()
	}
	if q.all {
		if cmd.uid != 0 {
			return pass()
		}
		return m.mountAll()
	}
	if q.target == "" {
		e, ok := m.fstabEntry(q.spec, cmd.Dir)
		if !ok {
			return pass()
		}
		q.spec, q.target, q.readOnly = e.spec, e.target, q.readOnly || e.has("ro")
	}
	v, ok, named := m.storage.find(q.spec, cmd.Dir)
	switch {
	case !ok && named:
		return refuse(mountUsage, "mount: %s: can't find %s.", q.target, q.spec)
	case !ok:
		return pass()
	case cmd.uid != 0:
		return refuse(mountUsage, "mount: %s: must be superuser to use mount.", q.target)
	}
	return m.mountVolume(v, absolute(q.target, cmd.Dir), q)
}

func (m *machine) mountVolume(v Volume, target string, q mounting) answer {
	if st, err := os.Stat(target); err != nil {
		return refuse(mountFailed, "mount: %s: mount point does not exist.", target)
	} else if !st.IsDir() {
		return refuse(mountFailed, "mount: %s: mount point is not a directory.", target)
	}
	if v.Type == "" || q.kind != "" && q.kind != "auto" && q.kind != v.Type {
		return refuse(mountFailed, "mount: %s: wrong fs type, bad option, bad superblock on %s, missing codepage or helper program, or other error.", target, m.storage.path(v))
	}
	if slices.Contains(v.Mounts, target) {
		return refuse(mountFailed, "mount: %s: %s already mounted on %s.", target, m.storage.path(v), target)
	}
	if err := m.request(Ask{Do: Mount, Volume: v.ID, Target: target, ReadOnly: q.readOnly}); err != nil {
		return refuse(mountFailed, "mount: %s: %v", target, err)
	}
	return answer{}
}

// mountAll mounts what fstab(5) says of volumes. What is not there may be
// missing if it is nofail.
func (m *machine) mountAll() answer {
	var bad answer
	for _, e := range fstab() {
		v, ok, named := m.storage.find(e.spec, "/")
		if !named || e.has("noauto") || e.target == "none" || e.target == "/" || slices.Contains(v.Mounts, e.target) {
			continue
		}
		a := refuse(mountUsage, "mount: %s: can't find %s.", e.target, e.spec)
		if ok {
			a = m.mountVolume(v, e.target, mounting{kind: e.kind, readOnly: e.has("ro")})
		}
		if a.Code != 0 && !e.has("nofail") {
			bad.Err, bad.Code = bad.Err+a.Err, a.Code
		}
	}
	return bad
}

// umount is umount(8) for volumes.
func (m *machine) umount(cmd command) answer {
	var names []string
	lazily := false
	for _, a := range cmd.Args {
		switch {
		case a == "-l" || a == "--lazy":
			lazily = true
		case strings.HasPrefix(a, "-"):
		default:
			names = append(names, a)
		}
	}
	var targets []string
	for _, name := range names {
		path := absolute(name, cmd.Dir)
		if _, ok := m.storage.mountedAt(path); ok {
			targets = append(targets, path)
			continue
		}
		v, ok, _ := m.storage.find(name, cmd.Dir)
		switch {
		case !ok:
			return pass()
		case len(v.Mounts) == 0:
			return refuse(mountFailed, "umount: %s: not mounted.", name)
		}
		targets = append(targets, v.Mounts[len(v.Mounts)-1])
	}
	if len(targets) == 0 {
		return pass()
	}
	for _, at := range targets {
		if cmd.uid != 0 {
			return refuse(mountFailed, "umount: %s: must be superuser to unmount.", at)
		}
		v, _ := m.storage.mountedAt(at)
		if err := m.request(Ask{Do: Unmount, Volume: v.ID, Target: at, Lazy: lazily}); err != nil {
			return refuse(mountFailed, "umount: %s: %v", at, err)
		}
	}
	return answer{}
}

// An entry is a line of fstab(5).
type entry struct {
	spec, target, kind string
	options            []string
}

func (e entry) has(option string) bool { return slices.Contains(e.options, option) }

func fstab() []entry {
	data, err := os.ReadFile("/etc/fstab")
	if err != nil {
		return nil
	}
	var all []entry
	for line := range strings.Lines(string(data)) {
		f := strings.Fields(line)
		if len(f) < 3 || strings.HasPrefix(f[0], "#") {
			continue
		}
		e := entry{spec: f[0], target: f[1], kind: f[2]}
		if len(f) > 3 {
			e.options = strings.Split(f[3], ",")
		}
		all = append(all, e)
	}
	return all
}

// fstabEntry finds the line of a volume, by what it mounts or where.
func (m *machine) fstabEntry(name, dir string) (entry, bool) {
	for _, e := range fstab() {
		if _, _, named := m.storage.find(e.spec, "/"); named && (e.spec == name || e.target == absolute(name, dir)) {
			return e, true
		}
	}
	return entry{}, false
}

// mountAtBoot mounts what fstab says. On AWS what is missing and not nofail
// keeps the machine from coming up; here it is said on the console.
func (m *machine) mountAtBoot() error {
	if a := m.mountAll(); a.Code != 0 {
		return fmt.Errorf("%s", strings.TrimSpace(a.Err))
	}
	return nil
}
