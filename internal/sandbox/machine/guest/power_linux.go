package guest

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A schedule is a shutdown that was ordered for later.
type schedule struct {
	mu    sync.Mutex
	timer *time.Timer
}

// power is shutdown(8), reboot(8), poweroff(8) and halt(8). To halt is to power
// off: what would be left is a machine that does nothing and costs money.
func (m *machine) power(cmd command) answer {
	how := PowerOff
	if cmd.Name == "reboot" {
		how = Reboot
	}
	now := func() { m.goDown(how) }
	if cmd.Name != "shutdown" {
		if slices.Contains(cmd.Args, "--help") {
			return answer{Out: cmd.Name + " [--force] [--no-wall]\n"}
		}
		return answer{then: now}
	}
	var words []string
	for _, arg := range cmd.Args {
		switch {
		case arg == "--help":
			return answer{Out: "shutdown [-h|-P|-H|-r|-c|-k] [TIME] [WALL...]\n"}
		case arg == "--reboot":
			how = Reboot
		case strings.HasPrefix(arg, "-") && !strings.HasPrefix(arg, "--"):
			for _, letter := range arg[1:] {
				switch letter {
				case 'r':
					how = Reboot
				case 'c':
					m.schedule.set(0, nil)
					return answer{}
				case 'k':
					return answer{}
				}
			}
		case !strings.HasPrefix(arg, "--"):
			words = append(words, arg)
		}
	}
	return m.shutdown(words, how)
}

// shutdown goes down at the time that the first word says; without one in a minute.
func (m *machine) shutdown(words []string, how string) answer {
	when := "+1"
	if len(words) > 0 {
		when = words[0]
	}
	wait, ok := until(when, time.Now())
	if !ok {
		return answer{Err: "Failed to parse time specification: " + when + "\n", Code: 1}
	}
	if wait <= 0 {
		return answer{then: func() { m.goDown(how) }}
	}
	m.schedule.set(wait, func() { m.goDown(how) })
	return answer{Err: fmt.Sprintf("Shutdown scheduled for %s, use 'shutdown -c' to cancel.\n", time.Now().Add(wait).Format("Mon 2006-01-02 15:04:05 MST"))}
}

// until is how long it is to a time of shutdown(8): "now", "+MINUTES" or "HH:MM".
func until(when string, now time.Time) (wait time.Duration, ok bool) {
	if when == "now" {
		return 0, true
	}
	if strings.HasPrefix(when, "+") || !strings.Contains(when, ":") {
		n, err := strconv.Atoi(strings.TrimPrefix(when, "+"))
		return time.Duration(n) * time.Minute, err == nil && n >= 0
	}
	t, err := time.Parse("15:04", when)
	if err != nil {
		return 0, false
	}
	at := time.Date(now.Year(), now.Month(), now.Day(), t.Hour(), t.Minute(), 0, 0, now.Location())
	if !at.After(now) {
		at = at.AddDate(0, 0, 1)
	}
	return at.Sub(now), true
}

// set replaces what was ordered before; nil is nothing.
func (s *schedule) set(wait time.Duration, f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.timer != nil {
		s.timer.Stop()
		s.timer = nil
	}
	if f != nil {
		s.timer = time.AfterFunc(wait, f)
	}
}

// goDown ends the machine; only the first order counts.
func (m *machine) goDown(how string) {
	select {
	case m.down <- how:
	default:
	}
}
