package ssh

import (
	"bytes"
	"context"
	"fmt"
	"strconv"
	"strings"

	"bake/builder"
	"bake/internal/shell"
)

// Facts are what the machine says of itself.
type Facts struct {
	OS        string // as uname -s has it: "Linux"
	Machine   string // as uname -m has it: "x86_64"
	UID       int    // of commands and files
	MachineID string // of /etc/machine-id; may be empty
	tar       string // "gnu", "busybox", "bsd", "": none
	tools     map[string]bool
}

// Platform returns the machine's platform in the words of Go.
func (f Facts) Platform() builder.Platform {
	p := builder.Platform{OS: strings.ToLower(f.OS), Arch: f.Machine}
	switch f.Machine {
	case "x86_64", "amd64":
		p.Arch = "amd64"
	case "aarch64", "arm64":
		p.Arch = "arm64"
	case "i386", "i486", "i586", "i686":
		p.Arch = "386"
	case "armv6l":
		p.Arch, p.Variant = "arm", "v6"
	case "armv7l", "armv8l":
		p.Arch, p.Variant = "arm", "v7"
	}
	return p
}

// asking is a question whose answer several may wait for.
type asking struct {
	done  chan struct{}
	facts Facts
	err   error
}

// factsScript starts as few programs as it can: they are most of its time.
const factsScript = `uname -sm | { read -r os machine; echo "os $os"; echo "machine $machine"; }
echo "uid $(id -u)"
[ -r /etc/machine-id ] && read -r id </etc/machine-id && echo "id $id"
for p in tar zstd gzip dd cksum setfattr; do command -v $p >/dev/null 2>&1 && echo "tool $p"; done
tar --version 2>&1 | { read -r version; echo "tar $version"; }
`

// Facts asks the machine what it is, once.
func (m *Communicator) Facts(ctx context.Context) (Facts, error) {
	m.mu.Lock()
	a := m.facts
	if a == nil {
		a = &asking{done: make(chan struct{})}
		m.facts = a
		m.mu.Unlock()
		a.facts, a.err = m.ask(ctx)
		if a.err != nil { // the next one asks again
			m.mu.Lock()
			m.facts = nil
			m.mu.Unlock()
		}
		close(a.done)
		return a.facts, a.err
	}
	m.mu.Unlock()
	select {
	case <-a.done:
		return a.facts, a.err
	case <-ctx.Done():
		return Facts{}, context.Cause(ctx)
	}
}

func (m *Communicator) ask(ctx context.Context) (Facts, error) {
	var out, errs bytes.Buffer
	call := shell.Call{Script: factsScript, Shell: []string{"/bin/sh"}, Env: map[string]string{"LC_ALL": "C"}}
	if err := m.do(ctx, job{call: call, as: m.identity(""), stdout: &out, stderr: &errs}); err != nil {
		if _, failed := err.(*builder.ExitError); failed {
			err = fmt.Errorf("%w: %s", err, strings.TrimSpace(errs.String()))
		}
		return Facts{}, fmt.Errorf("asking %s what it is: %w", m.config.Addr(), err)
	}
	f := Facts{tools: map[string]bool{}}
	for line := range strings.Lines(out.String()) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch key {
		case "os":
			f.OS = value
		case "machine":
			f.Machine = value
		case "uid":
			f.UID, _ = strconv.Atoi(value)
		case "id":
			f.MachineID = value
		case "tool":
			f.tools[value] = true
		case "tar":
			f.tar = tarKind(value)
		}
	}
	if !f.tools["tar"] {
		f.tar = ""
	}
	return f, nil
}

// tarKind tells which options a tar knows. A GNU tar before 1.28 lacks some of
// those that we use: it counts as a small one, of which only what all have is
// asked.
func tarKind(version string) string {
	if _, number, ok := strings.Cut(version, "(GNU tar) "); ok {
		var major, minor int
		if _, err := fmt.Sscanf(number, "%d.%d", &major, &minor); err == nil && (major > 1 || minor >= 28) {
			return "gnu"
		}
	}
	if strings.Contains(version, "bsdtar") {
		return "bsd"
	}
	return "busybox"
}
