package inside

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
)

// An identity is who a command runs as.
type identity struct {
	uid, gid uint32
	groups   []uint32
	home     string
}

// lookUp reads "name", "uid", "name:group" or "uid:gid" by the root's own
// passwd and group files, as Docker does: a number need not be in them, and a
// group that is named takes the place of all the user's other groups.
func lookUp(spec string) (identity, error) {
	user, group, hasGroup := strings.Cut(spec, ":")
	if user == "" {
		user = "0"
	}
	who := identity{home: "/"}
	name := ""
	number, numeric := parseID(user)
	found := false
	for _, f := range records("/etc/passwd", 6) {
		uid, ok := parseID(f[2])
		if !ok || f[0] != user && !(numeric && uid == number) {
			continue
		}
		gid, ok := parseID(f[3])
		if !ok {
			continue
		}
		name, who.uid, who.gid, found = f[0], uid, gid, true
		if f[5] != "" {
			who.home = f[5]
		}
		break
	}
	switch {
	case found:
	case numeric:
		who.uid = number
		if number == 0 {
			name, who.home = "root", "/root"
		}
	default:
		return who, fmt.Errorf("user %q is not in the image's /etc/passwd", user)
	}
	if hasGroup {
		gid, err := lookUpGroup(group)
		who.gid = gid
		return who, err
	}
	who.groups = groupsOf(name)
	return who, nil
}

func lookUpGroup(group string) (uint32, error) {
	for _, f := range records("/etc/group", 3) {
		if gid, ok := parseID(f[2]); ok && f[0] == group {
			return gid, nil
		}
	}
	if gid, ok := parseID(group); ok {
		return gid, nil
	}
	return 0, fmt.Errorf("group %q is not in the image's /etc/group", group)
}

func groupsOf(user string) []uint32 {
	var all []uint32
	for _, f := range records("/etc/group", 4) {
		if gid, ok := parseID(f[2]); ok && user != "" && slices.Contains(strings.Split(f[3], ","), user) {
			all = append(all, gid)
		}
	}
	return all
}

func parseID(s string) (uint32, bool) {
	n, err := strconv.ParseUint(s, 10, 31)
	return uint32(n), err == nil
}

// records returns the lines of a file that have at least n fields.
func records(path string, n int) [][]string {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	var all [][]string
	for line := range strings.Lines(string(data)) {
		f := strings.Split(strings.TrimSpace(line), ":")
		if len(f) >= n {
			all = append(all, f)
		}
	}
	return all
}
