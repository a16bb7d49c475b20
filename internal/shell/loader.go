package shell

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// A Loader starts a command on a machine in one exchange: what must not stand
// in a process's arguments travels ahead of the command's own input.
//
// The first line that a loaded command writes to its stdout is the loader's,
// not the command's: the id of the process, which leads a session of its own
// where the transport sees to that. What Kill returns ends it.
type Loader struct {
	Argv []string // what to run on the machine
	Head string   // what to write to its stdin before anything else
}

// load is the loader itself. read takes its input byte by byte, so that it
// leaves the rest of stdin to what comes next.
const load = `echo "$$"
IFS= read -r bake_n || exit 125
bake_p=
while [ "$bake_n" -gt 0 ]; do
IFS= read -r bake_l || exit 125
bake_p="$bake_p$bake_l
"
bake_n=$((bake_n-1))
done
eval "$bake_p"
`

// LoadScript returns what lets interpreter (default: /bin/sh -e) read a script
// from another descriptor than stdin, which is empty. The script follows
// Head on the machine's stdin, up to its end.
func LoadScript(interpreter []string, env map[string]string) Loader {
	if len(interpreter) == 0 {
		interpreter = []string{"/bin/sh", "-e"}
	}
	head := prelude(env)
	if isShell(interpreter) {
		head += "exec 3<&-; " // the shell has opened the script for itself; its children get no descriptor of it
	}
	return Loader{Argv: argv(load+`exec 3<&0 </dev/null; exec "$@" /dev/fd/3`, interpreter), Head: head}
}

// LoadProgram returns what runs a program that reads what follows Head on the
// machine's stdin.
func LoadProgram(program []string, env map[string]string) Loader {
	return Loader{Argv: argv(load+`exec "$@"`, program), Head: prelude(env)}
}

func argv(text string, args []string) []string {
	return append([]string{"/bin/sh", "-c", text, "bake"}, args...)
}

func prelude(env map[string]string) string {
	lines := exports(env)
	return fmt.Sprintf("%d\n%s", strings.Count(lines, "\n"), lines)
}

func isShell(interpreter []string) bool {
	shells := []string{"sh", "bash", "dash", "ash", "ksh", "mksh", "zsh"}
	return slices.Contains(shells, path.Base(interpreter[0]))
}

// kill ends all processes of a session and all their descendants, and says so
// with its exit status. It looks again until there are none, because a process
// may fork while it is looked for. It needs nothing but a shell and /proc.
const kill = `bake_round=0
while [ "$bake_round" -lt 100 ]; do
bake_round=$((bake_round+1))
bake_all=
bake_grown=1
while [ "$bake_grown" = 1 ]; do
bake_grown=0
for bake_f in /proc/[0-9]*/stat; do
bake_line=
{ read -r bake_line <"$bake_f"; } 2>/dev/null
bake_pid=${bake_f#/proc/}
bake_pid=${bake_pid%/stat}
bake_line=${bake_line##*) }
[ -n "$bake_line" ] || continue
bake_sid=$1
set -- $bake_line
bake_state=$1 bake_parent=$2 bake_session=$4
set -- "$bake_sid"
[ "$bake_state" != Z ] && [ "$bake_state" != X ] || continue
case " $bake_all " in *" $bake_pid "*) continue;; esac
if [ "$bake_pid" = "$1" ] || [ "$bake_session" = "$1" ]; then bake_all="$bake_all $bake_pid" bake_grown=1; continue; fi
case " $bake_all " in *" $bake_parent "*) bake_all="$bake_all $bake_pid" bake_grown=1;; esac
done
done
[ -n "$bake_all" ] || exit 0
kill -KILL $bake_all 2>/dev/null
done
exit 1
`

// Kill returns the command that ends the session (or, if it does not lead
// one, the process) pid and all its descendants. It fails if some are left.
func Kill(pid int) []string {
	return argv(kill, []string{fmt.Sprint(pid)})
}
