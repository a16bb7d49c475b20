package amazon

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/moby/sys/atomicwriter"
)

const (
	// samples is how many times of each wait count, the newest ones.
	samples = 5
	// waitsMax is how many waits are remembered; the one that was noted longest
	// ago goes first.
	waitsMax = 200
)

// durations remembers how long waits took, in this run and in earlier ones, so
// that AWS is asked when a wait usually ends. It is advice: a file that cannot
// be read or written is none, and of two processes that write at once the last
// one wins.
type durations struct {
	file string // empty: remembered in this process only

	mu    sync.Mutex
	known map[string]taken // nil: not read yet
}

// taken is how long waits of one name took, the newest last.
type taken struct {
	Seconds []float64 `json:"seconds"`
	Noted   time.Time `json:"noted"`
}

// usual returns how long the wait took the last few times; zero if it is not known.
func (d *durations) usual(name string) Span {
	if name == "" {
		return Span{}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.known == nil {
		d.known = d.read()
	}
	all := d.known[name].Seconds
	if len(all) == 0 {
		return Span{}
	}
	seconds := func(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
	return Span{Least: seconds(slices.Min(all)), Most: seconds(slices.Max(all))}
}

// note remembers that the wait has just taken so long.
func (d *durations) note(name string, took time.Duration) {
	if name == "" || took <= 0 {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	mine := d.known
	d.known = d.read() // other processes may have noted theirs
	if d.file == "" && mine != nil {
		d.known = mine
	}
	t := d.known[name]
	t.Seconds = append(t.Seconds, took.Round(time.Millisecond).Seconds())
	t.Seconds, t.Noted = t.Seconds[max(0, len(t.Seconds)-samples):], time.Now().UTC().Truncate(time.Second)
	d.known[name] = t
	for len(d.known) > waitsMax {
		oldest := name
		for n, t := range d.known {
			if t.Noted.Before(d.known[oldest].Noted) {
				oldest = n
			}
		}
		delete(d.known, oldest)
	}
	d.write()
}

func (d *durations) read() map[string]taken {
	known := map[string]taken{}
	if d.file == "" {
		return known
	}
	if data, err := os.ReadFile(d.file); err == nil && json.Unmarshal(data, &known) != nil || known == nil {
		return map[string]taken{}
	}
	return known
}

// write makes the file whole or not at all.
func (d *durations) write() {
	if d.file == "" {
		return
	}
	data, err := json.MarshalIndent(d.known, "", "\t")
	if err != nil || os.MkdirAll(filepath.Dir(d.file), 0o700) != nil {
		return
	}
	_ = atomicwriter.WriteFile(d.file, data, 0o600) // advice
}
