// Package sh is the shell of the built-in base image: mvdan.cc/sh's interpreter
// behind the command line of a POSIX sh, with the utilities of package applet
// run in process. It reads the Bash dialect, a superset of POSIX's but for brace
// expansion. What the interpreter adds or lacks:
//
//   - descriptors 3 to 9 belong to the process: a subshell shares them;
//   - background jobs are not processes: they end with the shell, $! is a name
//     that wait knows and kill does not. `nohup command &` is a process, which
//     lives on, and which neither $! nor wait knows;
//   - umask holds for the whole shell, subshells included;
//   - a trap for a signal runs between two commands and does not interrupt wait;
//   - a syntax error anywhere in a script keeps all of it from running.
package sh

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"mvdan.cc/sh/v3/expand"
	"mvdan.cc/sh/v3/interp"
	"mvdan.cc/sh/v3/syntax"

	"bake/internal/builtin/applet"
)

// defaultPath is PATH for who comes without one.
const defaultPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// A commandLine is what sh was called with.
type commandLine struct {
	options []string // for set: "-e", "-o", "pipefail"
	command *string  // of -c
	stdin   bool     // -s
	name    string   // $0
	args    []string // $1...
}

// Main runs the shell with the process's streams and returns its exit status.
// args are those behind the shell's own name.
func Main(ctx context.Context, args []string, table applet.Table) int {
	fds, err := reserve()
	if err != nil {
		fmt.Fprintf(os.Stderr, "sh: %v\n", err)
		return 2
	}
	line, err := parse(args)
	if err != nil {
		fmt.Fprintf(os.Stderr, "sh: %v\n", err)
		return 2
	}
	text, name, err := line.open(fds)
	if err != nil {
		fmt.Fprintf(os.Stderr, "sh: %v\n", err)
		return 127
	}
	defer text.Close()
	traps := newTraps(fds)
	environ := os.Environ()
	if _, ok := os.LookupEnv("PATH"); !ok {
		environ = append(environ, defaultPath)
	}
	runner, err := interp.New(
		interp.StdIO(os.Stdin, os.Stdout, os.Stderr),
		interp.Env(expand.ListEnviron(environ...)),
		interp.Params(append(append(line.options, "--"), line.args...)...),
		interp.CallHandler(traps.call),
		interp.ExecHandlers(func(interp.ExecHandlerFunc) interp.ExecHandlerFunc { return executor{table, traps, fds}.exec }),
		interp.OpenHandler(fds.opener),
	)
	if err != nil {
		fmt.Fprintf(os.Stderr, "sh: %v\n", err)
		return 2
	}
	if line.stdin {
		return statusOf(name, incremental(ctx, runner, text, name))
	}
	file, err := parser().Parse(text, name)
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		return 2
	}
	rewrite(file)
	return statusOf(name, runner.Run(ctx, ending(file)))
}

func parser() *syntax.Parser { return syntax.NewParser(syntax.Variant(syntax.LangBash)) }

// ending appends a plain `exit`: a last chance for traps before the one for EXIT.
func ending(file *syntax.File) *syntax.File {
	exit := &syntax.CallExpr{Args: []*syntax.Word{{Parts: []syntax.WordPart{&syntax.Lit{Value: "exit"}}}}}
	file.Stmts = append(file.Stmts, &syntax.Stmt{Cmd: exit})
	return file
}

// parse reads [-abCefhimnuvx] [-o option]... [-c command [name [arg...]] | -s | file] [arg...]
func parse(args []string) (commandLine, error) {
	line := commandLine{name: "sh"}
	isCommand := false
	for len(args) > 0 && len(args[0]) > 1 && (args[0][0] == '-' || args[0][0] == '+') {
		arg := args[0]
		args = args[1:]
		if arg == "--" {
			break
		}
		if strings.HasPrefix(arg, "--") { // --login, --posix, --norc of other shells
			continue
		}
		for i := 1; i < len(arg); i++ {
			switch letter := arg[i]; letter {
			case 'c':
				isCommand = true
			case 's':
				line.stdin = true
			case 'i', 'l', 'm', 'h', 'b', 'v', 'C':
				// Nothing here is interactive; the rest is not in the interpreter.
			case 'o':
				if len(args) == 0 {
					return line, errors.New("-o needs the name of an option")
				}
				line.options = append(line.options, arg[:1]+"o", args[0])
				args = args[1:]
			default:
				line.options = append(line.options, arg[:1]+string(letter))
			}
		}
	}
	if len(args) > 0 && args[0] == "-" {
		args = args[1:]
	}
	switch {
	case isCommand && len(args) == 0:
		return line, errors.New("-c needs a command")
	case isCommand:
		line.command, args = &args[0], args[1:]
		line.stdin = false
		if len(args) > 0 {
			line.name, args = args[0], args[1:]
		}
	case line.stdin || len(args) == 0:
		line.stdin = true
	default:
		line.name, args = args[0], args[1:]
	}
	line.args = args
	return line, nil
}

// open returns the script and what $0 is.
func (l commandLine) open(fds *descriptors) (io.ReadCloser, string, error) {
	switch {
	case l.command != nil:
		return io.NopCloser(strings.NewReader(*l.command)), l.name, nil
	case l.stdin:
		return io.NopCloser(&byteReader{os.Stdin}), l.name, nil
	}
	f, err := os.Open(l.name)
	if err == nil {
		return f, l.name, nil
	}
	// A socket cannot be opened by name, and there may be no /proc.
	if fd := fds.inherited(l.name); fd != nil {
		return fd, l.name, nil
	}
	return nil, l.name, err
}

// A byteReader reads one byte at a time, so that commands of a script on stdin
// find the rest of it there, as POSIX wants.
type byteReader struct{ r io.Reader }

func (b *byteReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	return b.r.Read(p[:1])
}

// incremental runs a script statement by statement as it is read.
func incremental(ctx context.Context, runner *interp.Runner, text io.Reader, name string) error {
	var err error
	for stmt, parseErr := range parser().StmtsSeq(text) {
		if parseErr != nil {
			return &syntaxError{parseErr}
		}
		rewrite(stmt)
		if err = runner.Run(ctx, stmt); runner.Exited() {
			return err
		}
	}
	if status, ok := errors.AsType[interp.ExitStatus](err); err == nil || ok {
		end, parseErr := parser().Parse(strings.NewReader(fmt.Sprintf("exit %d", status)), name)
		if parseErr != nil {
			return parseErr
		}
		return runner.Run(ctx, end)
	}
	return err
}

type syntaxError struct{ err error }

func (e *syntaxError) Error() string { return e.err.Error() }

// statusOf is the exit status for what the interpreter returned.
func statusOf(name string, err error) int {
	status, isStatus := errors.AsType[interp.ExitStatus](err)
	_, isSyntax := errors.AsType[*syntaxError](err)
	switch {
	case err == nil:
		return 0
	case isStatus:
		return int(status)
	}
	fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
	if isSyntax {
		return 2
	}
	return 1
}
