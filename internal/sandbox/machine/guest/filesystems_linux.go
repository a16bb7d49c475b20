package guest

import (
	"crypto/rand"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// mkfs is mkfs(8), and mke2fs, mkfs.ext4, mkfs.xfs..., for volumes: it needs
// nothing of the image, which may have no such program.
func (m *machine) mkfs(cmd command) answer {
	a := Ask{Do: Format, Type: "ext2", UUID: newUUID()}
	if _, kind, ok := strings.Cut(cmd.Name, "."); ok {
		a.Type = kind
	}
	var v Volume
	found, force := false, false
	for i := 0; i < len(cmd.Args); i++ {
		arg := cmd.Args[i]
		value := func() string {
			if i+1 < len(cmd.Args) {
				i++
				return cmd.Args[i]
			}
			return ""
		}
		switch {
		case arg == "-t" || arg == "--type":
			a.Type = value()
		case arg == "-j":
			a.Type = "ext3"
		case arg == "-L" || arg == "-n":
			a.Label = value()
		case arg == "-U":
			a.UUID = value()
		case arg == "-F" || arg == "-f":
			force = true
		case strings.HasPrefix(arg, "-"):
		default:
			if w, ok, _ := m.storage.find(arg, cmd.Dir); ok {
				v, found = w, true
			}
		}
	}
	path := m.storage.path(v)
	switch {
	case !found:
		return pass()
	case cmd.uid != 0:
		return refuse(1, "%s: %s: Permission denied", cmd.Name, path)
	case len(v.Mounts) > 0:
		return refuse(1, "%s: %s is mounted; will not make a filesystem here!", cmd.Name, path)
	case a.Type == "xfs" && v.Type != "" && !force:
		return refuse(1, "mkfs.xfs: %s appears to contain an existing filesystem (%s).\nmkfs.xfs: Use the -f option to force overwrite.", path, v.Type)
	}
	a.Volume = v.ID
	if err := m.request(a); err != nil {
		return refuse(1, "%s: %s: %v", cmd.Name, path, err)
	}
	return answer{Out: fmt.Sprintf("%s: %s on %s, UUID %s\n", cmd.Name, a.Type, path, a.UUID)}
}

// wipefs is wipefs(8) -a for volumes.
func (m *machine) wipefs(cmd command) answer {
	wipe := slices.Contains(cmd.Args, "-a") || slices.Contains(cmd.Args, "--all") || slices.Contains(cmd.Args, "-af")
	for _, arg := range cmd.Args {
		v, ok, _ := m.storage.find(arg, cmd.Dir)
		switch {
		case !ok:
			continue
		case cmd.uid != 0:
			return refuse(1, "wipefs: error: %s: probing initialization failed: Permission denied", arg)
		case len(v.Mounts) > 0:
			return refuse(1, "wipefs: error: %s: probing initialization failed: Device or resource busy", arg)
		case !wipe:
			return answer{Out: v.Type + "\n"}
		}
		if err := m.request(Ask{Do: Format, Volume: v.ID}); err != nil {
			return refuse(1, "wipefs: error: %s: %v", arg, err)
		}
		return answer{}
	}
	return pass()
}

// resize is resize2fs(8) and xfs_growfs(8): a file system here has all the room there is.
func (m *machine) resize(cmd command) answer {
	for _, arg := range cmd.Args {
		if _, ok := m.storage.mountedAt(absolute(arg, cmd.Dir)); ok {
			return answer{Out: cmd.Name + ": it has all of the volume already\n"}
		}
		if v, ok, _ := m.storage.find(arg, cmd.Dir); ok {
			if v.Type == "" {
				return refuse(1, "%s: Bad magic number in super-block while trying to open %s", cmd.Name, arg)
			}
			return answer{Out: cmd.Name + ": it has all of the volume already\n"}
		}
	}
	return pass()
}

// blkid is blkid(8) for volumes.
func (m *machine) blkid(cmd command) answer {
	var names []string
	format, tag := "full", ""
	for i := 0; i < len(cmd.Args); i++ {
		arg := cmd.Args[i]
		switch {
		case arg == "-V" || arg == "--version" || arg == "-h" || arg == "--help":
			return pass()
		case (arg == "-o" || arg == "-s" || arg == "-c" || arg == "-L" || arg == "-U" || arg == "-t") && i+1 < len(cmd.Args):
			i++
			switch arg {
			case "-o":
				format = cmd.Args[i]
			case "-s":
				tag = cmd.Args[i]
			case "-L", "-U", "-t":
				spec := map[string]string{"-L": "LABEL=", "-U": "UUID=", "-t": ""}[arg] + cmd.Args[i]
				v, ok, _ := m.storage.find(spec, cmd.Dir)
				if !ok {
					return answer{Code: 2}
				}
				return answer{Out: m.storage.path(v) + "\n"}
			}
		case strings.HasPrefix(arg, "-"):
		default:
			names = append(names, arg)
		}
	}
	all := m.storage.all()
	if len(names) > 0 {
		all = nil
		for _, name := range names {
			v, ok, _ := m.storage.find(name, cmd.Dir)
			if !ok {
				return pass()
			}
			all = append(all, v)
		}
	}
	var out strings.Builder
	for _, v := range all {
		if v.Type != "" {
			out.WriteString(describeFilesystem(m.storage.path(v), v, format, tag))
		}
	}
	if out.Len() == 0 {
		return answer{Code: 2}
	}
	return answer{Out: out.String()}
}

// describeFilesystem is blkid's line about one, in a format and with one tag if one is given.
func describeFilesystem(path string, v Volume, format, tag string) string {
	var fields [][2]string
	for _, f := range [][2]string{{"LABEL", v.Label}, {"UUID", v.UUID}, {"TYPE", v.Type}} {
		if f[1] != "" && (tag == "" || tag == f[0]) {
			fields = append(fields, f)
		}
	}
	var out strings.Builder
	switch format {
	case "value":
		for _, f := range fields {
			out.WriteString(f[1] + "\n")
		}
	case "device":
		out.WriteString(path + "\n")
	case "export":
		out.WriteString("DEVNAME=" + path + "\n")
		for _, f := range fields {
			out.WriteString(f[0] + "=" + f[1] + "\n")
		}
	default:
		out.WriteString(path + ":")
		for _, f := range fields {
			fmt.Fprintf(&out, " %s=%q", f[0], f[1])
		}
		out.WriteString("\n")
	}
	return out.String()
}

// file is file(1) -s, by which people tell whether a volume was formatted.
func (m *machine) file(cmd command) answer {
	brief := false
	for _, arg := range cmd.Args {
		switch {
		case strings.HasPrefix(arg, "-") && !strings.HasPrefix(arg, "--"):
			brief = brief || strings.Contains(arg, "b")
		case arg == "--brief":
			brief = true
		}
	}
	var out strings.Builder
	for _, arg := range cmd.Args {
		v, ok, _ := m.storage.find(arg, cmd.Dir)
		if !ok {
			continue
		}
		what := "data"
		switch {
		case v.Type == "xfs":
			what = "SGI XFS filesystem data (blksz 4096, inosz 512, v2 dirs)"
		case v.Type != "":
			what = fmt.Sprintf("Linux rev 1.0 %s filesystem data, UUID=%s (extents) (64bit) (large files) (huge files)", v.Type, v.UUID)
		}
		if !brief {
			what = arg + ": " + what
		}
		out.WriteString(what + "\n")
	}
	if out.Len() == 0 {
		return pass()
	}
	return answer{Out: out.String()}
}

// lsblk is lsblk(8): the volumes of this machine, where the image's own program
// would show the disks of the machine that this one runs on.
func (m *machine) lsblk(cmd command) answer {
	columns, header, raw := []string{"NAME", "MAJ:MIN", "RM", "SIZE", "RO", "TYPE", "MOUNTPOINTS"}, true, false
	var names []string
	for i := 0; i < len(cmd.Args); i++ {
		arg := cmd.Args[i]
		switch {
		case arg == "-J" || arg == "--json" || arg == "-V" || arg == "--version":
			return pass()
		case arg == "-o" || arg == "--output" || strings.HasPrefix(arg, "-") && !strings.HasPrefix(arg, "--") && strings.HasSuffix(arg, "o"):
			if i+1 < len(cmd.Args) {
				i++
				columns = strings.Split(strings.ToUpper(cmd.Args[i]), ",")
			}
		case arg == "-f" || arg == "--fs":
			columns = []string{"NAME", "FSTYPE", "LABEL", "UUID", "MOUNTPOINTS"}
		}
		if strings.HasPrefix(arg, "-") {
			flags := strings.TrimPrefix(arg, "-")
			header = header && !(arg == "--noheadings" || !strings.HasPrefix(flags, "-") && strings.Contains(flags, "n"))
			raw = raw || arg == "--bytes" || !strings.HasPrefix(flags, "-") && strings.Contains(flags, "b")
		} else if arg != "" && !slices.Contains(columns, strings.Split(strings.ToUpper(arg), ",")[0]) {
			names = append(names, arg)
		}
	}
	all := m.storage.all()
	if len(names) > 0 {
		all = nil
		for _, name := range names {
			v, ok, _ := m.storage.find(name, cmd.Dir)
			if !ok {
				return refuse(32, "lsblk: %s: not a block device", name)
			}
			all = append(all, v)
		}
	}
	rows := [][]string{}
	if header {
		rows = append(rows, columns)
	}
	for i, v := range all {
		row := make([]string, len(columns))
		for k, c := range columns {
			row[k] = m.column(v, i, c, raw)
		}
		rows = append(rows, row)
	}
	return answer{Out: aligned(rows)}
}

func (m *machine) column(v Volume, index int, name string, raw bool) string {
	path := m.storage.path(v)
	switch name {
	case "NAME", "KNAME":
		return filepath.Base(path)
	case "PATH":
		return path
	case "MAJ:MIN":
		return fmt.Sprintf("259:%d", index+1)
	case "RM", "RO":
		return "0"
	case "SIZE":
		if raw {
			return fmt.Sprint(v.Size)
		}
		return fmt.Sprintf("%dG", v.Size>>30)
	case "TYPE":
		return "disk"
	case "FSTYPE":
		return v.Type
	case "LABEL":
		return v.Label
	case "UUID":
		return v.UUID
	case "SERIAL":
		return strings.Replace(v.ID, "-", "", 1)
	case "MODEL":
		return "Amazon Elastic Block Store"
	case "MOUNTPOINT", "MOUNTPOINTS":
		return strings.Join(v.Mounts, ",")
	}
	return ""
}

// aligned sets rows in columns.
func aligned(rows [][]string) string {
	var width []int
	for _, r := range rows {
		for k, cell := range r {
			if k == len(width) {
				width = append(width, 0)
			}
			width[k] = max(width[k], len(cell))
		}
	}
	var out strings.Builder
	for _, r := range rows {
		var line strings.Builder
		for k, cell := range r {
			fmt.Fprintf(&line, "%-*s ", width[k], cell)
		}
		out.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
	return out.String()
}

// newUUID is the name of a new file system.
func newUUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // crypto/rand does not fail
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
