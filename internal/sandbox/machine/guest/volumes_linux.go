package guest

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
)

// storage is the machine's further volumes, as its first program knows them.
// What they hold is the host's side's: it mounts, and it remembers the file
// systems. Here are only their names below /dev, and the commands (mount, mkfs)
// that people use with them.
type storage struct {
	mu      sync.Mutex
	volumes []Volume
	nodes   map[string]node // by volume
	asked   int
	answers map[int]chan Reply
}

// A node is how a volume appears below /dev.
type node struct {
	path  string
	links []string
}

// noDriver is a major number that no block driver can have (the kernel's end
// at 511), so that opening the device by mistake never opens one of the host's.
const noDriver = 4095

// attach makes the devices be those of the volumes given.
func (m *machine) attach(all []Volume) {
	s := &m.storage
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, n := range s.nodes {
		if !slices.ContainsFunc(all, func(v Volume) bool { return v.ID == id }) {
			s.drop(id, n)
		}
	}
	s.volumes = all
	for _, v := range all {
		if _, ok := s.nodes[v.ID]; ok {
			continue
		}
		if err := s.make(v, m.NVMe); err != nil {
			m.problem("making the device of %s: %v", v.ID, err)
		}
	}
}

func (s *storage) drop(id string, n node) {
	for _, path := range append(n.links, n.path) {
		_ = os.Remove(path) // somebody removed it before
	}
	delete(s.nodes, id)
}

// make makes a volume's device with all the names that scripts look for: the
// kernel's, the one that it was attached by, and that of its id.
func (s *storage) make(v Volume, nvme bool) error {
	short := strings.TrimPrefix(v.Device, "/dev/")
	xen := short
	if rest, ok := strings.CutPrefix(short, "sd"); ok {
		xen = "xvd" + rest
	}
	n := node{path: "/dev/" + xen}
	names := []string{short}
	if nvme {
		n.path = s.freeNVMe()
		names = []string{short, xen, "disk/by-id/nvme-Amazon_Elastic_Block_Store_" + strings.Replace(v.ID, "-", "", 1)}
	}
	if err := device(n.path, len(s.nodes)+1); err != nil {
		return err
	}
	for _, name := range names {
		link := "/dev/" + name
		if link == n.path {
			continue
		}
		if err := os.MkdirAll(filepath.Dir(link), 0o755); err != nil {
			return err
		}
		if err := os.Symlink(n.path, link); err == nil {
			n.links = append(n.links, link)
		} else if !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	if s.nodes == nil {
		s.nodes = map[string]node{}
	}
	s.nodes[v.ID] = n
	return nil
}

// freeNVMe is the next device of a Nitro instance; the first is the root's.
func (s *storage) freeNVMe() string {
	for i := 1; ; i++ {
		path := fmt.Sprintf("/dev/nvme%dn1", i)
		if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
			return path
		}
	}
}

// device makes a block device; where nobody may, a file stands for it.
func device(path string, minor int) error {
	err := syscall.Mknod(path, syscall.S_IFBLK|0o660, noDriver<<8|minor)
	if errors.Is(err, syscall.EPERM) {
		return os.WriteFile(path, nil, 0o660)
	}
	if err != nil {
		return err
	}
	const disk = 6 // the group, in every distribution
	_ = os.Chown(path, 0, disk)
	return os.Chmod(path, 0o660)
}

// path is the volume's device.
func (s *storage) path(v Volume) string { return s.nodes[v.ID].path }

// find returns the volume that somebody means by a device's path, UUID=x or
// LABEL=x. named says that it can be none but a volume of ours.
func (s *storage) find(spec, dir string) (v Volume, ok, named bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if key, value, by := strings.Cut(spec, "="); by && (key == "UUID" || key == "LABEL") {
		value = strings.Trim(value, `"'`)
		for _, v := range s.volumes {
			if value != "" && (key == "UUID" && v.UUID == value || key == "LABEL" && v.Label == value) {
				return v, true, true
			}
		}
		return Volume{}, false, true
	}
	path := absolute(spec, dir)
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target
	}
	for _, v := range s.volumes {
		if n := s.nodes[v.ID]; n.path == path {
			return v, true, true
		}
	}
	return Volume{}, false, false
}

// mountedAt returns the volume that is mounted at a directory.
func (s *storage) mountedAt(path string) (Volume, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, v := range s.volumes {
		if slices.Contains(v.Mounts, path) {
			return v, true
		}
	}
	return Volume{}, false
}

// all returns the volumes as they are now.
func (s *storage) all() []Volume {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.volumes)
}

func absolute(path, dir string) string {
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join("/", dir, path)
}

// request has the host's side do something to a volume, and waits for it.
func (m *machine) request(a Ask) error {
	s := &m.storage
	answer := make(chan Reply, 1)
	s.mu.Lock()
	s.asked++
	a.ID = s.asked
	if s.answers == nil {
		s.answers = map[int]chan Reply{}
	}
	s.answers[a.ID] = answer
	s.mu.Unlock()
	m.tell(Message{Ask: &a})
	r := <-answer
	if r.Err != "" {
		return errors.New(r.Err)
	}
	return nil
}

// replied passes an answer on, after the volumes are what the answer is about.
func (m *machine) replied(r Reply) {
	s := &m.storage
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.answers[r.ID]; c != nil {
		c <- r
		delete(s.answers, r.ID)
	}
}
