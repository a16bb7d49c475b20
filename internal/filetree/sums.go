package filetree

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/moby/sys/atomicwriter"
)

// Sums remembers the contents of files by what stat says of them, so that a
// gibibyte that nobody touched is not read again to know its digest. A file is
// taken as untouched while its device, inode, size, time of modification and
// time of change are the same; the last of them no program can set back.
//
// A file that changed less than two seconds before it was read is not
// remembered: another write within the clock's granularity would leave all its
// times as they are (git calls such an entry racy). Neither is a file that
// changed while it was read. What remains is a program that writes through a
// mapping it already had when the file was read, and a network file system
// whose clock is behind; `bake --no-cache` reads every file.
//
// What cannot be read of the folder is not there, what cannot be written is not
// remembered. The nil Sums remembers nothing.
type Sums struct {
	dir  string
	now  func() time.Time
	read atomic.Int64
}

// NewSums remembers in files in dir, one for each thing that steps name and
// each no longer than the files it names; a dir that is empty remembers
// nothing. now is the clock of the machine.
func NewSums(dir string, now func() time.Time) *Sums {
	if dir == "" {
		return nil
	}
	return &Sums{dir: dir, now: now}
}

// Read is how many bytes of files had to be read so far.
func (m *Sums) Read() int64 {
	if m == nil {
		return 0
	}
	return m.read.Load()
}

// racy is how long a file must have been left alone to be remembered: the
// coarsest clock of a file system in use, FAT's.
const racy = 2 * time.Second

// An identity is what stat says of a file's content.
type identity struct {
	dev, inode, size  uint64
	modified, changed int64 // nanoseconds of the Unix epoch
}

// settled reports whether a file that is so has been left alone for long
// enough when reading it began.
func (id identity) settled(began time.Time) bool {
	limit := began.Add(-racy).UnixNano()
	return id.modified < limit && id.changed < limit
}

// A known content belongs to an identity.
type known struct {
	id  identity
	sum [sha256.Size]byte
}

// recall returns what is remembered of the files of a selection, by name.
func (m *Sums) recall(key string) map[string]known {
	if m == nil {
		return nil
	}
	data, err := os.ReadFile(m.path(key))
	if err != nil {
		return nil
	}
	all, err := decodeSums(data)
	if err != nil {
		return nil // damaged, or of another version
	}
	return all
}

// keep replaces what is remembered of a selection. What is no longer part of
// it is forgotten.
func (m *Sums) keep(key string, all map[string]known) {
	if m == nil || os.MkdirAll(m.dir, 0o700) != nil {
		return
	}
	_ = atomicwriter.WriteFile(m.path(key), encodeSums(all), 0o600) // only slower without
}

// used tells the pruning of caches, which goes by age, that the file is in use.
func (m *Sums) used(key string) {
	if m == nil {
		return
	}
	now := m.now()
	if info, err := os.Stat(m.path(key)); err == nil && now.Sub(info.ModTime()) > time.Hour {
		_ = os.Chtimes(m.path(key), now, now) // then it goes a little earlier
	}
}

func (m *Sums) path(key string) string {
	sum := sha256.Sum256([]byte(key))
	return filepath.Join(m.dir, hex.EncodeToString(sum[:16]))
}

// key names a selection: the same files picked in the same way.
func (s *Selection) key() string {
	opts := s.opts
	opts.Sums = nil
	return fmt.Sprintf("%q %+v %+v", s.dir, opts, s.Sources)
}

// sumsMagic begins every file; it changes with the form.
const sumsMagic = "bake sums 1\n"

// encodeSums writes names and identities, and a checksum at the end.
func encodeSums(all map[string]known) []byte {
	out := []byte(sumsMagic)
	for name, k := range all {
		out = binary.AppendUvarint(out, uint64(len(name)))
		out = append(out, name...)
		for _, n := range []uint64{k.id.dev, k.id.inode, k.id.size, uint64(k.id.modified), uint64(k.id.changed)} {
			out = binary.BigEndian.AppendUint64(out, n)
		}
		out = append(out, k.sum[:]...)
	}
	check := sha256.Sum256(out)
	return append(out, check[:]...)
}

// fixedPart is the length of an entry without its name, in bytes.
const fixedPart = 5*8 + sha256.Size

var errDamaged = fmt.Errorf("remembered digests: %w", fs.ErrInvalid)

func decodeSums(data []byte) (map[string]known, error) {
	end := len(data) - sha256.Size
	if end < len(sumsMagic) || string(data[:len(sumsMagic)]) != sumsMagic {
		return nil, errDamaged
	}
	if sha256.Sum256(data[:end]) != [sha256.Size]byte(data[end:]) {
		return nil, errDamaged
	}
	all := map[string]known{}
	for rest := data[len(sumsMagic):end]; len(rest) > 0; {
		n, width := binary.Uvarint(rest)
		if width <= 0 || n > uint64(len(rest)-width) || uint64(len(rest)-width)-n < fixedPart {
			return nil, errDamaged
		}
		name := string(rest[width : width+int(n)])
		rest = rest[width+int(n):]
		number := func(i int) uint64 { return binary.BigEndian.Uint64(rest[8*i:]) }
		k := known{id: identity{number(0), number(1), number(2), int64(number(3)), int64(number(4))}}
		copy(k.sum[:], rest[5*8:])
		all[name], rest = k, rest[fixedPart:]
	}
	return all, nil
}
