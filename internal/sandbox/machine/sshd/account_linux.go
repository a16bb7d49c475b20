package sshd

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// An account is a user of the machine, as /etc/passwd and /etc/group say now.
type account struct {
	name, home, shell string
	uid, gid          uint32
	groups            []uint32
}

func lookUp(name string) (account, error) {
	for _, f := range records("/etc/passwd", 7) {
		uid, err1 := strconv.ParseUint(f[2], 10, 32)
		gid, err2 := strconv.ParseUint(f[3], 10, 32)
		if f[0] != name || err1 != nil || err2 != nil {
			continue
		}
		a := account{name: name, home: f[5], shell: f[6], uid: uint32(uid), gid: uint32(gid)}
		if a.shell == "" {
			a.shell = "/bin/sh"
		}
		if a.home == "" {
			a.home = "/"
		}
		a.groups = groupsOf(name)
		return a, nil
	}
	return account{}, fmt.Errorf("there is no user %q", name)
}

func groupsOf(name string) []uint32 {
	var all []uint32
	for _, f := range records("/etc/group", 4) {
		gid, err := strconv.ParseUint(f[2], 10, 32)
		if err == nil && slices.Contains(strings.Split(f[3], ","), name) {
			all = append(all, uint32(gid))
		}
	}
	return all
}

// records returns the lines of a file that have at least n fields.
func records(path string, n int) [][]string {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	var all [][]string
	for line := range strings.Lines(string(data)) {
		if f := strings.Split(strings.TrimRight(line, "\n"), ":"); len(f) >= n {
			all = append(all, f)
		}
	}
	return all
}

// credential is nil if the account is that of this process.
func (a account) credential() *syscall.Credential {
	if int(a.uid) == os.Geteuid() && int(a.gid) == os.Getegid() {
		return nil
	}
	return &syscall.Credential{Uid: a.uid, Gid: a.gid, Groups: a.groups}
}

// dir is where the account's commands begin.
func (a account) dir() string {
	if st, err := os.Stat(a.home); err != nil || !st.IsDir() {
		return "/"
	}
	return a.home
}
