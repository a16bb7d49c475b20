package shell

import (
	"fmt"
	"strings"
)

// CallLoader is what /bin/sh -c runs at the far end of a Call. It is one line
// without single quotes and exclamation marks, so that a login shell of any
// kind hands it on as it is. It says its process id between two record
// separators on stdout, and "bake" alone on stderr, then reads what Head
// returns; lines before that (a password that sudo did not ask for) are skipped.
const CallLoader = `printf "\036bake %s\036\n" $$;printf "\036bake\036\n">&2;bake_e=${IFS#??};bake_l=;bake_p=;` +
	`while IFS= read -r bake_l;do case $bake_l in "#bake "*)break;;esac;done;bake_n=${bake_l#??????};[ "$bake_n" -ge 0 ] 2>/dev/null||exit 125;` +
	`while [ "$bake_n" -gt 0 ];do IFS= read -r bake_l||exit 125;bake_p=$bake_p$bake_l$bake_e;bake_n=$((bake_n-1));done;eval "$bake_p"`

// AheadLoader is CallLoader for a Call that is made later, while other
// commands run: it holds on to the directory of its own process, whose time is
// then that of its start.
const AheadLoader = `exec 9</proc/$$;` + CallLoader

// CallStale is what a Call with Ahead writes to stderr, at once and before it
// exits with CallStaleCode, if the machine has changed what a login gets
// (accounts, groups, environment, limits) since AheadLoader began.
const (
	CallStale     = "\x1ebake stale\x1e\n"
	CallStaleCode = 123
)

const staleCheck = `for bake_f in /etc /etc/environment /etc/passwd /etc/group /etc/pam.d /etc/profile.d /etc/security /etc/security/limits.d /etc/sudoers.d /etc/ssh "$HOME" "$HOME"/.[a-z]* "$HOME"/.ssh/*; do ` +
	`if [ "$bake_f" -nt /proc/$$ ]; then printf "\036bake stale\036\n" >&2; exit 123; fi; done; unset bake_f; exec 9<&-; cd "$PWD" 2>/dev/null` + "\n"

// What CallLoader writes before the command's own output.
const (
	CallMarkOut = "\x1ebake " // on stdout; the process id, another \x1e and a newline follow
	CallMarkErr = "\x1ebake\x1e\n"
)

// atomic is how many bytes of a script are certain to arrive whole or not at
// all: they fit one packet of SSH and one pipe. A longer one is read to its
// end before its first line runs, so that a broken connection never runs half of it.
const atomic = 30000

const scriptEnd = "#bake end"

// A Call is a command for a machine whose input is a stream that may break,
// that may be a socket, or that may belong to another user (sudo): the
// loader of such a machine. See Loader for the plain one.
type Call struct {
	Script string   // its stdin is empty (with TTY: the terminal)
	Shell  []string // what reads the script; default /bin/sh -e
	Argv   []string // the program to run instead of a script; its stdin is what follows
	Stdin  bool     // whether anything follows; if not, Argv's stdin is empty
	Env    map[string]string
	Dir    string // empty: where the login starts
	Home   bool   // start in the user's home directory, or in / if there is none
	TTY    bool   // stdin is a terminal, in raw mode, without echo
	Ahead  bool   // the loader is AheadLoader: nothing is run if the login is stale
}

// Stream returns what to write to the loader's stdin. With Argv and Stdin the
// command's own input follows; else nothing, and, without TTY, the stream ends.
func (c Call) Stream() string {
	head, rest := c.command()
	head = "unset bake_e bake_l bake_p bake_n\n" + exports(c.Env) + c.directory() + head
	if c.Ahead {
		head = staleCheck + head
	}
	return fmt.Sprintf("#bake %d\n%s%s", strings.Count(head, "\n"), head, rest)
}

func (c Call) directory() string {
	if c.Dir != "" {
		return "cd -- " + Quote(c.Dir) + " || exit 125\n"
	}
	if c.Home {
		return "cd 2>/dev/null || cd /\n"
	}
	return ""
}

// command returns the last lines of the head, and what follows it.
func (c Call) command() (head, rest string) {
	if c.Argv != nil {
		return c.program(), ""
	}
	words := c.Shell
	if len(words) == 0 {
		words = []string{"/bin/sh", "-e"}
	}
	sh := Join(words...)
	script := c.Script
	if isShell(words) {
		script = "exec 3<&-; " + script // the shell has opened the script for itself; its children get no descriptor of it
	}
	switch {
	case c.TTY:
		return "bake_s=" + Quote(script) + "\nstty sane 2>/dev/null\nexec 4<&0\n" +
			`printf "%s\n" "$bake_s" | { exec ` + sh + " /dev/fd/3 3<&0 <&4 4<&-; }\n", ""
	case len(script) > atomic:
		return "bake_s=$(cat)\n" +
			`case $bake_s in *"` + scriptEnd + `");; *) echo "the script did not arrive whole" >&2; exit 125;; esac` + "\n" +
			`printf "%s" "${bake_s%"` + scriptEnd + `"}" | { exec ` + sh + " /dev/fd/3 3<&0 </dev/null; }\n", script + "\n" + scriptEnd + "\n"
	}
	// A socket, or another user's pipe, cannot be opened by its name.
	return "if [ -p /dev/fd/0 ] && [ -r /dev/fd/0 ]; then exec 3<&0 </dev/null; exec " + sh + " /dev/fd/3; fi\n" +
		"exec 4</dev/null\ncat | { exec " + sh + " /dev/fd/3 3<&0 <&4 4<&-; }\n", script
}

func (c Call) program() string {
	run := "exec " + Join(c.Argv...)
	switch {
	case c.TTY:
		return "stty sane 2>/dev/null\n" + run + "\n"
	case !c.Stdin:
		return run + " </dev/null\n"
	}
	return run + "\n"
}
