package rootfs

import (
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"bake/internal/rootfs/inside"
)

// identify decides who containers run as: root where that may make namespaces
// and mounts; else a user namespace, with as many ids as the machine grants.
func identify() (Identity, inside.Mapping) {
	uid, gid := os.Geteuid(), os.Getegid()
	if uid == 0 && capable(unix.CAP_SYS_ADMIN) {
		return Identity{}, inside.Mapping{}
	}
	if uid == 0 && capable(unix.CAP_SETUID) && capable(unix.CAP_SETGID) {
		// Root without the right to mount, as in an ordinary container: all its ids, as they are.
		if uids, gids := ownIDs("/proc/self/uid_map"), ownIDs("/proc/self/gid_map"); uids != nil && gids != nil {
			return Identity{Rootless: true}, inside.Mapping{UIDs: uids, GIDs: gids, Setgroups: true}
		}
	}
	uids, gids := granted("/etc/subuid", uid, uid), granted("/etc/subgid", uid, gid)
	if uids != nil && gids != nil && installed("newuidmap") && installed("newgidmap") {
		return Identity{Rootless: true}, inside.Mapping{UIDs: uids, GIDs: gids, Later: true, Setgroups: true}
	}
	one := func(id int) []syscall.SysProcIDMap { return []syscall.SysProcIDMap{{HostID: id, Size: 1}} }
	return Identity{Rootless: true, OneID: true}, inside.Mapping{UIDs: one(uid), GIDs: one(gid)}
}

func installed(name string) bool {
	_, err := exec.LookPath(name)
	return err == nil
}

func capable(c uint) bool {
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&hdr, &data[0]); err != nil {
		return false
	}
	return data[c/32].Effective>>(c%32)&1 == 1
}

// ownIDs maps every id this process has to itself.
func ownIDs(path string) []syscall.SysProcIDMap {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	var all []syscall.SysProcIDMap
	for line := range strings.Lines(string(data)) {
		var id, outside, size int
		if _, err := fmt.Sscan(line, &id, &outside, &size); err == nil {
			all = append(all, syscall.SysProcIDMap{ContainerID: id, HostID: id, Size: size})
		}
	}
	return all
}

// granted reads the ranges that subuid(5) or subgid(5) gives to the user: own
// becomes 0 inside, the ranges follow from 1 on.
func granted(path string, uid, own int) []syscall.SysProcIDMap {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	name := strconv.Itoa(uid)
	if u, err := user.LookupId(name); err == nil {
		name = u.Username
	}
	all := []syscall.SysProcIDMap{{HostID: own, Size: 1}}
	next := 1
	for line := range strings.Lines(string(data)) {
		f := strings.Split(strings.TrimSpace(line), ":")
		if len(f) != 3 || f[0] != name && f[0] != strconv.Itoa(uid) {
			continue
		}
		start, err1 := strconv.Atoi(f[1])
		size, err2 := strconv.Atoi(f[2])
		if err1 != nil || err2 != nil || size < 1 {
			continue
		}
		all = append(all, syscall.SysProcIDMap{ContainerID: next, HostID: start, Size: size})
		next += size
	}
	if len(all) == 1 {
		return nil
	}
	return all
}

// mapIDs asks the setuid programs newuidmap and newgidmap to map pid's ids.
func mapIDs(pid int, m inside.Mapping) error {
	for tool, ids := range map[string][]syscall.SysProcIDMap{"newuidmap": m.UIDs, "newgidmap": m.GIDs} {
		args := []string{strconv.Itoa(pid)}
		for _, r := range ids {
			args = append(args, strconv.Itoa(r.ContainerID), strconv.Itoa(r.HostID), strconv.Itoa(r.Size))
		}
		if out, err := exec.Command(tool, args...).CombinedOutput(); err != nil {
			return &NotPossibleError{fmt.Errorf("%s: %w: %s", tool, err, strings.TrimSpace(string(out))),
				"newuidmap and newgidmap must be setuid root (Debian package uidmap), and /etc/subuid and /etc/subgid must have a range of this user"}
		}
	}
	return nil
}
