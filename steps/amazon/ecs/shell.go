package ecs

import (
	"bytes"
	"crypto/rand"
	"io"
	"strconv"
	"strings"
)

// An Errand is what is run in a container over a session, and how its exit code
// comes back: sessions tell none, so that the shell that runs it writes it after
// everything else, behind a mark that nothing else writes.
type Errand struct {
	Command string // as ExecuteCommand takes it
	mark    string // empty: the exit code is not told
}

// Shell opens a shell: bash where there is one, else /bin/sh. terminal is the
// value of TERM.
func Shell(terminal string) Errand {
	return errand("/bin/sh", "-c", `TERM=$1; export TERM; exec "$(command -v bash || echo /bin/sh)"`, "sh", terminal)
}

// Run runs a command; one text is run by /bin/sh.
func Run(argv []string) Errand {
	if len(argv) == 1 {
		argv = []string{"/bin/sh", "-c", argv[0]}
	}
	return errand(argv...)
}

// Direct runs a command as it is, for images without a shell. Its exit code is
// not told.
func Direct(argv []string) Errand { return Errand{Command: quoted(argv)} }

// Tells reports whether the errand's exit code is told.
func (e Errand) Tells() bool { return e.mark != "" }

// errand lets a shell run argv. What the terminal sends to all of its processes
// (Ctrl-C) does not end that shell: it goes on to tell the exit code.
func errand(argv ...string) Errand {
	mark := "bake-exit-" + rand.Text() + ":"
	script := `trap : INT QUIT; "$@"; code=$?; printf '` + "%s%d;" + `' "$0" "$code"`
	return Errand{Command: quoted(append([]string{"/bin/sh", "-c", script, mark}, argv...)), mark: mark}
}

// quoted is a command line that is taken apart into argv again, by the rules
// that shells and ECS's agent have in common.
func quoted(argv []string) string {
	all := make([]string, len(argv))
	for i, arg := range argv {
		all[i] = "'" + strings.ReplaceAll(arg, "'", `'"'"'`) + "'"
	}
	return strings.Join(all, " ")
}

// Output copies what the session shows to out, without the mark, until it ends.
// told is false if the exit code was not told.
func (e Errand) Output(out io.Writer, session io.Reader) (code int, told bool, err error) {
	var held []byte // may be the beginning of the mark
	buf := make([]byte, 32<<10)
	for {
		n, readErr := session.Read(buf)
		held = append(held, buf[:n]...)
		show := len(held)
		if e.mark != "" {
			if i := bytes.Index(held, []byte(e.mark)); i >= 0 {
				if rest := held[i+len(e.mark):]; bytes.IndexByte(rest, ';') >= 0 {
					code, err = strconv.Atoi(string(rest[:bytes.IndexByte(rest, ';')]))
					_, writeErr := out.Write(held[:i])
					return code, err == nil, writeErr
				}
				show = i
			} else {
				show = len(held) - beginning(held, e.mark)
			}
		}
		if readErr != nil {
			show = len(held)
		}
		if _, err := out.Write(held[:show]); err != nil {
			return 0, false, err
		}
		held = append([]byte(nil), held[show:]...)
		if readErr == io.EOF {
			return 0, false, nil
		}
		if readErr != nil {
			return 0, false, readErr
		}
	}
}

// beginning is how many bytes at the end of data may be the beginning of mark.
func beginning(data []byte, mark string) int {
	for n := min(len(data), len(mark)-1); n > 0; n-- {
		if string(data[len(data)-n:]) == mark[:n] {
			return n
		}
	}
	return 0
}

// Lines makes of a terminal's output that of a pipe: a terminal writes CR before
// each LF.
type Lines struct {
	Out  io.Writer
	held bool // a CR, of which is not known yet what follows
}

// Write writes p without the CRs that stand before LFs.
func (l *Lines) Write(p []byte) (int, error) {
	out := make([]byte, 0, len(p)+1)
	for _, b := range p {
		if l.held && b != '\n' {
			out = append(out, '\r')
		}
		if l.held = b == '\r'; !l.held {
			out = append(out, b)
		}
	}
	if _, err := l.Out.Write(out); err != nil {
		return 0, err
	}
	return len(p), nil
}
