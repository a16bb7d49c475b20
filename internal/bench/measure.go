package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A sample is one tool's result in one case.
type sample struct {
	Section string    `json:"section"`
	Case    string    `json:"case"`
	Tool    string    `json:"tool"`
	Command string    `json:"command,omitempty"`
	Seconds []float64 `json:"seconds,omitempty"` // wall clock of the whole process, each run
	Median  float64   `json:"median,omitempty"`
	// Peak is the largest sum of memory (proportional set size: what processes
	// share counts once) of the process and all its descendants, looked at
	// every five milliseconds in a run of its own. Memory of a daemon it talks
	// to is not in it.
	Peak    int64   `json:"peak_bytes,omitempty"`
	Ratio   float64 `json:"ratio,omitempty"` // to bake's first entry of this case
	Amazon  *onAWS  `json:"amazon,omitempty"`
	Skipped string  `json:"skipped,omitempty"`
	Failed  string  `json:"failed,omitempty"`
	Note    string  `json:"note,omitempty"`
}

// onAWS is what a run on AWS is besides its time. Ratios are to bake's.
type onAWS struct {
	Cloud      float64 `json:"cloud_seconds"` // the sum of the states that it waits for
	Own        float64 `json:"own_seconds"`   // the median without them
	OwnRatio   float64 `json:"own_ratio,omitempty"`
	Calls      int     `json:"calls"` // of the API, in the last timed run
	CallsRatio float64 `json:"calls_ratio,omitempty"`
}

// measure runs all contestants of a case and prints a line for each.
func (l *lab) measure(ctx context.Context, b benchmark, r *report) error {
	var reference *sample
	for _, c := range b.contestants {
		if !l.only.MatchString(b.section + "/" + b.name + "/" + c.tool) {
			continue
		}
		s := sample{Section: b.section, Case: b.name, Tool: c.tool, Note: c.note}
		if c.needs != "" && l.tools[c.needs] == "" {
			s.Skipped = c.needs + " is not installed"
		} else if err := l.sample(ctx, c, &s); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			s.Failed = err.Error()
		}
		if s.Failed == "" && s.Skipped == "" {
			if reference == nil && strings.HasPrefix(c.tool, "bake") {
				reference = &s
			}
			if reference != nil {
				s.compare(*reference)
			}
		}
		r.add(os.Stdout, s)
	}
	return nil
}

// compare says how many times bake's figures these are.
func (s *sample) compare(bake sample) {
	s.Ratio = s.Median / bake.Median
	if s.Amazon != nil && bake.Amazon != nil {
		s.Amazon.OwnRatio = s.Amazon.Own / bake.Amazon.Own
		s.Amazon.CallsRatio = float64(s.Amazon.Calls) / float64(bake.Amazon.Calls)
	}
}

func (l *lab) sample(ctx context.Context, c contestant, s *sample) error {
	if c.setup != nil {
		if err := c.setup(ctx); err != nil {
			return fmt.Errorf("setting up: %w", err)
		}
	}
	if err := l.homes(); err != nil {
		return err
	}
	runs := l.runs
	if c.once {
		runs = 1
	}
	for i := range runs + 1 {
		if c.before != nil {
			if err := c.before(ctx); err != nil {
				return fmt.Errorf("preparing a run: %w", err)
			}
		}
		cmd := c.command()
		s.Command = strings.Join(cmd.Args, " ")
		// The last run is for memory alone: looking costs time.
		if i == runs {
			if c.once {
				return nil
			}
			peak, err := peakMemory(ctx, cmd)
			s.Peak = peak
			return err
		}
		took, err := timed(ctx, cmd)
		if err != nil {
			return err
		}
		s.Seconds = append(s.Seconds, took.Seconds())
		s.Median = median(s.Seconds)
		if c.calls == nil {
			continue
		}
		n, err := c.calls(ctx)
		if err != nil {
			return err
		}
		s.Amazon = &onAWS{Cloud: c.cloud.Seconds(), Own: s.Median - c.cloud.Seconds(), Calls: n}
	}
	return nil
}

// timed runs a command and returns the time from its start to its end.
func timed(ctx context.Context, cmd *exec.Cmd) (time.Duration, error) {
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	// A group of its own, so that a cancelled run leaves nothing behind.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	start := time.Now()
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { end(cmd.Process.Pid) })
	defer stop()
	err := cmd.Wait()
	took := time.Since(start)
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return took, fmt.Errorf("not done after %s", patience)
	}
	if err != nil {
		return took, fmt.Errorf("%w: %s", err, lastLine(out.Bytes()))
	}
	return took, nil
}

// patience is how long one run may take before it counts as failed.
const patience = 5 * time.Minute

// end stops a process group: it may clean up, but not for ever.
func end(pid int) {
	syscall.Kill(-pid, syscall.SIGTERM)
	time.AfterFunc(15*time.Second, func() { syscall.Kill(-pid, syscall.SIGKILL) })
}

// peakMemory runs a command and watches it and its descendants.
func peakMemory(ctx context.Context, cmd *exec.Cmd) (int64, error) {
	done := make(chan error, 1)
	started := make(chan int, 1)
	go func() {
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		if err := cmd.Start(); err != nil {
			close(started)
			done <- err
			return
		}
		started <- cmd.Process.Pid
		err := cmd.Wait()
		if err != nil {
			err = fmt.Errorf("%w: %s", err, lastLine(out.Bytes()))
		}
		done <- err
	}()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	pid, ok := <-started
	if !ok {
		return 0, <-done
	}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	family := map[int]bool{pid: true}
	var peak int64
	for {
		select {
		case err := <-done:
			// What a short process used between two looks: the kernel's own figure.
			if usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok && err == nil {
				peak = max(peak, usage.Maxrss<<10)
			}
			return peak, err
		case <-ctx.Done():
			end(pid)
			return 0, errors.Join(ctx.Err(), <-done)
		case <-tick.C:
			peak = max(peak, memory(family))
		}
	}
}

// memory adds up the proportional set sizes of a family of processes, which it
// extends by the children it finds.
func memory(family map[int]bool) int64 {
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	var sum int64
	for _, dir := range dirs {
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil {
			continue
		}
		data, err := os.ReadFile(dir + "/stat")
		if err != nil {
			continue // it has ended
		}
		// Behind the name in parentheses: state, parent.
		fields := strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:]))
		if len(fields) < 2 {
			continue
		}
		if parent, _ := strconv.Atoi(fields[1]); !family[pid] && !family[parent] {
			continue
		}
		family[pid] = true
		kib, _ := strconv.ParseInt(strings.TrimSuffix(field(dir+"/smaps_rollup", "Pss", ":"), " kB"), 10, 64)
		sum += kib << 10
	}
	return sum
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	if n == 0 {
		return 0
	}
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}
