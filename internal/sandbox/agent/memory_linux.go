package agent

import (
	"os"
	"strconv"
	"strings"
	"time"
)

// memoryEvery is how often a container with a limit is measured. Control groups
// would be exact, but they are not everywhere ours to make, and would outlive us.
const memoryEvery = 250 * time.Millisecond

// watchMemory ends the container when its processes have more in memory than
// they may. It returns when the container is killed or has ended.
func (c *Container) watchMemory() {
	if c.spec.Memory <= 0 {
		<-c.killed.Done()
		return
	}
	tick := time.NewTicker(memoryEvery)
	defer tick.Stop()
	for {
		select {
		case <-c.killed.Done():
			return
		case <-tick.C:
		}
		if resident(c.root.Pid()) > c.spec.Memory {
			c.outgrew = true
			c.Kill()
			return
		}
	}
}

// resident adds up the memory, in bytes, of all processes below pid that is
// theirs alone, without pid's own.
func resident(pid int) int64 {
	var sum int64
	for _, child := range children(pid) {
		sum += ownMemory(child) + resident(child)
	}
	return sum
}

func children(pid int) []int {
	dir := "/proc/" + strconv.Itoa(pid) + "/task"
	threads, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	var all []int
	for _, t := range threads {
		data, err := os.ReadFile(dir + "/" + t.Name() + "/children")
		if err != nil {
			continue
		}
		for _, f := range strings.Fields(string(data)) {
			if n, err := strconv.Atoi(f); err == nil {
				all = append(all, n)
			}
		}
	}
	return all
}

// ownMemory reads a process's resident pages that are not shared (proc(5), statm).
func ownMemory(pid int) int64 {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/statm")
	if err != nil {
		return 0
	}
	f := strings.Fields(string(data))
	if len(f) < 3 {
		return 0
	}
	resident, _ := strconv.ParseInt(f[1], 10, 64)
	shared, _ := strconv.ParseInt(f[2], 10, 64)
	return (resident - shared) * int64(os.Getpagesize())
}
