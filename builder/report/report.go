// Package report shows a run to people and programs and keeps its record: what
// becomes of every builder.Event after the engine let go of it.
//
// A Sink is made with New (a live terminal view, plain lines, JSON lines, GitHub
// Actions) and NewFiles (the run's directory); Tee joins them and Redact stands
// before them all. ReadRun reads a run's directory back, and Logs, List and HTML
// show what it says. Everything that is shown went through one fold, Run.Apply.
//
// # JSON
//
// JSON lines are builder.Event as encoding/json writes it, without omitted
// fields: "type" is one of the EventType constants and says which others are set,
// "time" is RFC 3339, "elapsed" is in nanoseconds. Fields and types are only ever
// added. Progress that has not ended is thinned to ten events a second and step.
//
// # No terminal framework
//
// The live view is a fold, a layout (a pure function from a Run to lines) and
// one write per frame. A framework (bubbletea) would also read the keyboard in
// raw mode, take over signals that the engine needs, and cost start-up. What is
// hard about terminals, widths and control sequences, comes from
// clipperhouse/displaywidth: charmbracelet/x/ansi stands on it too, but also
// links go-runewidth, whose init takes 20 ms of every start.
package report

import (
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"

	"bake/builder"
)

// Mode is how a run is shown.
type Mode string

// The modes. Text is a live view on a terminal and plain lines elsewhere.
const (
	Text   Mode = "text"
	Plain  Mode = "plain"
	JSON   Mode = "json"
	GitHub Mode = "github"
)

// Modes lists what --output takes.
func Modes() []Mode { return []Mode{Text, Plain, JSON, GitHub} }

// Options say how and where a run is shown.
type Options struct {
	Mode Mode
	Out  io.Writer // JSON goes here
	Err  io.Writer // everything else goes here
	// Environ is os.Environ(): NO_COLOR, TERM, the locale and what GitHub sets.
	Environ []string
	// Terminal describes what Err is shown on; nil: New finds out.
	Terminal *Terminal
	// Dir is the run's directory as the user would type it, for the paths of
	// log files; "" if the run keeps none.
	Dir string
	// Timestamps puts the time before each plain line.
	Timestamps bool
}

// A Terminal is what a live view is drawn on.
type Terminal struct {
	Size  func() (width, height int) // in cells; asked for each frame
	Color bool
	ASCII bool // no symbols beyond ASCII
}

// New returns the sink for a mode, or an error that names the modes.
func New(o Options) (Sink, error) {
	switch o.Mode {
	case Text, "":
		t := o.Terminal
		if t == nil {
			t = findTerminal(o.Err, o.getenv)
		}
		if t != nil {
			return newLive(o, t), nil
		}
		return newQueue(newPlain(o), drops), nil
	case Plain:
		return newQueue(newPlain(o), drops), nil
	case JSON:
		return newQueue(newJSON(o.Out), waits), nil
	case GitHub:
		return newQueue(newGitHub(o), drops), nil
	}
	return nil, fmt.Errorf("output %q: want one of %v", o.Mode, Modes())
}

func (o Options) getenv(name string) string {
	for i := len(o.Environ) - 1; i >= 0; i-- {
		if v, ok := strings.CutPrefix(o.Environ[i], name+"="); ok {
			return v
		}
	}
	return ""
}

// findTerminal returns the terminal that w is, or nil if it is none or a dumb one.
func findTerminal(w io.Writer, getenv func(string) string) *Terminal {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) || getenv("TERM") == "dumb" {
		return nil
	}
	locale := getenv("LC_ALL")
	for _, name := range []string{"LC_CTYPE", "LANG"} {
		if locale == "" {
			locale = getenv(name)
		}
	}
	utf8 := locale == "" || strings.Contains(strings.ToUpper(strings.ReplaceAll(locale, "-", "")), "UTF8")
	return &Terminal{
		Size: func() (int, int) {
			w, h, err := term.GetSize(int(f.Fd()))
			if err != nil || w <= 0 || h <= 0 {
				return 80, 24
			}
			return w, h
		},
		Color: getenv("NO_COLOR") == "",
		ASCII: !utf8 || getenv("TERM") == "linux",
	}
}

// logPath returns the path of the step's log as the user would type it.
func (o Options) logPath(id builder.StepID) string {
	if o.Dir == "" {
		return ""
	}
	return o.Dir + string(os.PathSeparator) + LogFile(id)
}
