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
const CallLoader = sayOut + sayErr + readHead + runHead

// AheadLoader is CallLoader for a Call that is made later, while other
// commands run. If the machine has changed by then what a login gets
// (accounts, groups, environment, limits), it runs nothing, writes CallStale
// to stderr instead of its mark and exits with CallStaleCode.
const AheadLoader = keepBirth + sayOut + readHead + checkBirth + sayErr + runHead

// What AheadLoader says if it is stale.
const (
	CallStale     = "\x1ebake stale\x1e\n"
	CallStaleCode = 123
)

// The parts of the loaders.
const (
	sayOut   = `printf "\036bake %s\036\n" $$;`
	sayErr   = `printf "\036bake\036\n">&2;`
	readHead = `bake_e=${IFS#??};bake_l=;bake_p=;` +
		`while IFS= read -r bake_l;do case $bake_l in "#bake "*)break;;esac;done;bake_n=${bake_l#??????};[ "$bake_n" -ge 0 ] 2>/dev/null||exit 125;` +
		`while [ "$bake_n" -gt 0 ];do IFS= read -r bake_l||exit 125;bake_p=$bake_p$bake_l$bake_e;bake_n=$((bake_n-1));done;`
	runHead = `eval "$bake_p"`
)

// keepBirth keeps something as old as the login: the pipe that the server has
// made for stderr, whose time is that of the last write to it, so nothing is
// written to it yet. Without a pipe it is the directory of the loader's own
// process, whose time is that of its first use: a little late.
const keepBirth = `bake_r=/dev/fd/2;[ -p $bake_r ]||{ exec 9</proc/$$;bake_r=/proc/$$;};`

// checkBirth gives up if anything that a login reads is not older than that. A
// change within the same tick of the clock counts as later.
const checkBirth = `for bake_f in /etc /etc/environment /etc/passwd /etc/group /etc/pam.d /etc/profile.d /etc/security /etc/security/limits.d /etc/sudoers.d /etc/ssh "$HOME" "$HOME"/.[a-z]* "$HOME"/.ssh/*;do ` +
	`if [ $bake_r -nt "$bake_f" ];then :;elif [ -e "$bake_f" ];then printf "\036bake stale\036\n">&2;exit 123;fi;done;exec 9<&-;cd "$PWD" 2>/dev/null;`

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
}

// Stream returns what to write to the loader's stdin. With Argv and Stdin the
// command's own input follows; else nothing, and, without TTY, the stream ends.
func (c Call) Stream() string {
	head, rest := c.command()
	head = "unset bake_e bake_l bake_p bake_n bake_r bake_f\n" + exports(c.Env) + c.directory() + head
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
