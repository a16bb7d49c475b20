package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"
)

// A report is everything a run saw.
type report struct {
	Machine machineInfo       `json:"machine"`
	Tools   map[string]string `json:"tools"` // version of each that is installed, "" for those that are not
	Runs    int               `json:"runs"`
	Samples []sample          `json:"samples"`

	section, row string
}

type machineInfo struct {
	Time      time.Time `json:"time"`
	Kernel    string    `json:"kernel"`
	System    string    `json:"system"`
	Processor string    `json:"processor"`
	Cores     int       `json:"cores"`
	Memory    string    `json:"memory"`
	Root      bool      `json:"root"`
	Go        string    `json:"go"`
	Revision  string    `json:"revision,omitempty"`
}

func machine() machineInfo {
	m := machineInfo{Time: time.Now().UTC().Truncate(time.Second), Cores: runtime.NumCPU(), Go: runtime.Version(), Root: os.Geteuid() == 0}
	m.Kernel = field("/proc/version", "Linux version", " ")
	m.System = strings.Trim(field("/etc/os-release", "PRETTY_NAME", "="), `"`)
	m.Processor = field("/proc/cpuinfo", "model name", ":")
	m.Memory = field("/proc/meminfo", "MemTotal", ":")
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				m.Revision = s.Value
			}
		}
	}
	return m
}

// field returns what stands behind a key in a file of the system, "" if nothing does.
func field(path, key, sep string) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(data)) {
		rest, ok := strings.CutPrefix(line, key)
		if !ok {
			continue
		}
		if sep == " " {
			return strings.Fields(rest)[0]
		}
		_, value, _ := strings.Cut(rest, sep)
		return strings.TrimSpace(value)
	}
	return ""
}

func (r *report) head(w io.Writer) {
	m := r.Machine
	fmt.Fprintf(w, "%s, Linux %s, %d x %s, %s\n", m.System, m.Kernel, m.Cores, m.Processor, m.Memory)
	var missing []string
	for _, name := range slices.Sorted(maps.Keys(r.Tools)) {
		if r.Tools[name] == "" {
			missing = append(missing, name)
		} else {
			fmt.Fprintf(w, "  %-16s %s\n", name, r.Tools[name])
		}
	}
	if len(missing) > 0 {
		fmt.Fprintf(w, "  not installed: %s\n", strings.Join(missing, ", "))
	}
	fmt.Fprintf(w, "Medians of %d runs, wall clock of the whole process; MB is the peak of all its processes, daemons not counted.\n"+
		"\"x\" is how many times as long as bake's first entry of the case.\n", r.Runs)
}

func (r *report) add(w io.Writer, s sample) {
	if s.Section != r.section {
		fmt.Fprintf(w, "\n%s\n", s.Section)
		r.section, r.row = s.Section, ""
	}
	name := s.Case
	if name == r.row {
		name = ""
	}
	r.row = s.Case
	r.Samples = append(r.Samples, s)
	switch {
	case s.Skipped != "":
		fmt.Fprintf(w, "  %-34s %-26s left out: %s\n", name, s.Tool, s.Skipped)
	case s.Failed != "":
		fmt.Fprintf(w, "  %-34s %-26s FAILED: %s\n", name, s.Tool, s.Failed)
	default:
		ratio := ""
		if s.Ratio > 0 {
			ratio = fmt.Sprintf("%6.1fx", s.Ratio)
		}
		spread := fmt.Sprintf("%.3f..%.3f", slices.Min(s.Seconds), slices.Max(s.Seconds))
		fmt.Fprintf(w, "  %-34s %-26s %8.3f s %7s %6d MB  (%s) %s\n", name, s.Tool, s.Median, ratio, s.Peak>>20, spread, s.Note)
		if a := s.Amazon; a != nil {
			fmt.Fprintf(w, "  %-34s %-26s %8.3f s %6.1fx  without the cloud's own %.1f s; %d API calls, %.1fx\n", "", "", a.Own, a.OwnRatio, a.Cloud, a.Calls, a.CallsRatio)
		}
	}
}

func (r *report) finish(w io.Writer) {
	failed, skipped := 0, 0
	for _, s := range r.Samples {
		if s.Failed != "" {
			failed++
		}
		if s.Skipped != "" {
			skipped++
		}
	}
	fmt.Fprintf(w, "\n%d measured, %d left out, %d failed\n", len(r.Samples)-failed-skipped, skipped, failed)
}

func (r *report) write(path string) error {
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, append(data, '\n'), 0o644)
}
