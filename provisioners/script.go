package provisioners

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"time"

	"bake/builder"
	"bake/internal/filetree"
	"bake/internal/shell"
	"bake/templates"
)

// Script runs a file of this machine on the other one. A shell script travels
// on the input stream and is never a file there ($0 is not its name); what
// another interpreter reads, or the kernel itself, is put into a directory
// below /tmp that only its run sees.
type Script struct {
	File      string            `yaml:"file" bake:"main,required" doc:"The script, relative to the template. Its #! line says what reads it; without one it is sh -e."`
	Args      templates.Strings `yaml:"args" doc:"Arguments of the script."`
	ExitCodes []int             `yaml:"exit_codes" doc:"Exit codes that are success; default [0]."`
	Creates   templates.Strings `yaml:"creates" doc:"Do nothing if all these paths exist on the machine."`
	Unless    string            `yaml:"unless" doc:"Do nothing if this sh command succeeds."`
	OnlyIf    string            `yaml:"only_if" doc:"Do nothing if this sh command fails."`

	Sums *filetree.Sums `yaml:"-"`
}

// Validate checks what the tags cannot say.
func (s *Script) Validate(b templates.Block) templates.Diagnostics {
	ds := checkCodes(b, s.ExitCodes)
	for _, p := range s.Creates {
		ds = append(ds, absolute(b, "creates", p)...)
	}
	return ds
}

// Check reports a script that is not there.
func (s *Script) Check(dir string, b templates.Block) templates.Diagnostics {
	return checkFile(dir, s.File, b.At("file"))
}

// Fingerprint covers the script.
func (s *Script) Fingerprint(ctx context.Context, dir string) (builder.Digest, error) {
	sum, err := filetree.Digest(ctx, dir, s.File, filetree.Options{Sums: s.Sums})
	return builder.Digest(sum), err
}

// Provision runs the script.
func (s *Script) Provision(ctx context.Context, sc *builder.Scope, comm builder.Communicator) (builder.Outcome, error) {
	content, err := readLocal(sc.Dir, s.File)
	if err != nil {
		return builder.Outcome{}, err
	}
	g := guard{s.Creates, s.Unless, s.OnlyIf}
	if why, err := g.skip(ctx, comm); why != "" || err != nil {
		return builder.Outcome{Unchanged: err == nil, Note: why}, err
	}
	if line, _, _ := bytes.Cut(content, []byte("\n")); bytes.HasSuffix(line, []byte("\r")) {
		content = bytes.ReplaceAll(content, []byte("\r\n"), []byte("\n"))
	}
	var prog []string
	if isText(content) {
		prog = interpreter("", string(content), true)
	}
	out, errs := sc.Stdout(), sc.Stderr()
	defer out.Close()
	defer errs.Close()
	cmd := builder.Command{Stdout: out, Stderr: errs}
	if isShell(prog) {
		cmd.Script, cmd.Shell = withArgs(string(content), s.Args), prog
		err = comm.Run(ctx, cmd)
	} else {
		err = runFile(ctx, comm, cmd, prog, path.Base(s.File), content, s.Args)
	}
	note, err := allowed(err, s.ExitCodes)
	return builder.Outcome{Note: note}, err
}

func isText(content []byte) bool {
	return bytes.HasPrefix(content, []byte("#!")) || bytes.IndexByte(content[:min(len(content), 512)], 0) < 0
}

// withArgs makes a script set its own arguments, in its first line, so that
// the numbers of its lines stay right.
func withArgs(script string, args []string) string {
	if len(args) == 0 {
		return script
	}
	first, rest, more := strings.Cut(script, "\n")
	if strings.HasPrefix(first, "#!") {
		first = ""
	}
	first = "set -- " + shell.Join(args...) + "; " + first
	if more {
		first += "\n"
	}
	return first + rest
}

// runFile puts a program on the machine, runs it and removes it.
func runFile(ctx context.Context, comm builder.Communicator, cmd builder.Command, prog []string, name string, content []byte, args []string) (err error) {
	dir := "/tmp/.bake-" + strings.ToLower(rand.Text())
	// 0755: the step's user, who may not be the one that puts files, must read it.
	if err := comm.Put(ctx, dir, files(builder.File{Path: name, Mode: 0o755, Size: int64(len(content)), ModTime: now(), Open: opener(content)})); err != nil {
		return fmt.Errorf("putting %s: %w", name, err)
	}
	defer func() {
		clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
		defer cancel()
		rm := comm.Run(clean, builder.Command{Argv: []string{"rm", "-rf", dir}, User: "0", Stdout: io.Discard, Stderr: io.Discard})
		if rm != nil {
			err = errors.Join(err, fmt.Errorf("removing %s: %w", dir, rm))
		}
	}()
	cmd.Argv = append(append(prog, path.Join(dir, name)), args...)
	return comm.Run(ctx, cmd)
}
