package provisioners

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"path"
	"strconv"
	"strings"

	"bake/builder"
	"bake/internal/shell"
)

// A tree is files that are to be on a machine. Every Path is below dir.
//
// A directory that the machine has already keeps its owner and mode: who
// copies etc/motd to / does not mean to change /etc.
type tree struct {
	dir     string // absolute
	entries []builder.File
	// sum returns the sha256 of an entry's content, in hex; nil: it is read.
	sum func(i int) string
}

// at is where an entry is on the machine.
func (t *tree) at(f builder.File) string { return path.Join(t.dir, f.Path) }

// ensure puts those entries that the machine does not have as they are to be.
func (t *tree) ensure(ctx context.Context, sc *builder.Scope, comm builder.Communicator) (builder.Outcome, error) {
	if len(t.entries) == 1 && t.entries[0].Mode.IsRegular() {
		same, err := isThere(ctx, comm, t.at(t.entries[0]), t.entries[0])
		if same || err != nil {
			return builder.Outcome{Unchanged: same}, err
		}
		return t.put(ctx, sc, comm, t.entries)
	}
	missing, err := t.missing(ctx, comm)
	if err != nil {
		return builder.Outcome{}, err
	}
	if len(missing) == 0 {
		return builder.Outcome{Unchanged: true}, nil
	}
	return t.put(ctx, sc, comm, missing)
}

func (t *tree) put(ctx context.Context, sc *builder.Scope, comm builder.Communicator, entries []builder.File) (builder.Outcome, error) {
	var size int64
	count := 0
	for _, f := range entries {
		size += f.Size
		if !f.Mode.IsDir() {
			count++
		}
	}
	p := &meter{sc: sc, progress: builder.Progress{ID: "put " + t.dir, Verb: "copying", Total: size, Unit: "B"}}
	if err := comm.Put(ctx, t.dir, p.watch(entries)); err != nil {
		return builder.Outcome{}, fmt.Errorf("writing below %s: %w", t.dir, err)
	}
	p.end()
	noun := "files"
	if count == 1 {
		noun = "file"
	}
	return builder.Outcome{Note: fmt.Sprintf("%d %s, %s", count, noun, byteCount(size))}, nil
}

// missing returns the entries that are not on the machine as they are to be. It
// takes one exchange where the machine has a shell; how far it can see is up
// to the tools there: when in doubt an entry counts as different.
func (t *tree) missing(ctx context.Context, comm builder.Communicator) ([]builder.File, error) {
	answers, err := ask(ctx, comm, t.question(), io.Discard)
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err != nil && len(answers["begin"]) == 0 {
		return t.withoutShell(ctx, comm) // it has no shell, like an image from scratch
	}
	if clash := answers["clash"]; len(clash) > 0 {
		if i, err := strconv.Atoi(clash[0]); err == nil && i < len(t.entries) {
			return nil, &DirectoryError{Path: t.at(t.entries[i])}
		}
	}
	isDir := map[string]bool{}
	for _, i := range answers["dir"] {
		isDir[i] = true
	}
	regular, links := answers["file"], answers["link"]
	sums := answers["sum"]
	var left []builder.File
	nf, nl := 0, 0
	for i, f := range t.entries {
		same := false
		switch {
		case f.Mode.IsDir():
			same = isDir[strconv.Itoa(i)]
		case f.Mode.IsRegular():
			if nf < len(regular) && nf < len(sums) && regular[nf] == fileAnswer(f) {
				want, err := t.sumOf(i)
				if err != nil {
					return nil, err
				}
				same = want == strings.TrimPrefix(sums[nf], `\`) // sha256sum marks odd names so
			}
			nf++
		default:
			same = nl < len(links) && links[nl] == "x"+f.Link
			nl++
		}
		if !same {
			left = append(left, f)
		}
	}
	return left, nil
}

// question is the script that missing asks the machine. Existence is told by
// the shell alone, so that a tree that is not there yet costs no process; only
// when all is there do stat and sha256sum look at it.
func (t *tree) question() string {
	var s strings.Builder
	s.WriteString("echo bake:begin\nall=1\n" +
		"d() { if [ -d \"$2\" ]; then echo \"bake:dir $1\"; fi; }\n" +
		"f() { if [ -d \"$2\" ] && [ ! -h \"$2\" ]; then echo \"bake:clash $1\"; exit 0; fi; if [ ! -f \"$2\" ] || [ -h \"$2\" ]; then all=0; fi; }\n" +
		"l() { if [ -d \"$2\" ] && [ ! -h \"$2\" ]; then echo \"bake:clash $1\"; exit 0; fi; if [ ! -h \"$2\" ]; then all=0; fi; }\n")
	var list, links strings.Builder
	plain := true
	for i, f := range t.entries {
		at := t.at(f)
		plain = plain && !strings.Contains(at, "\n")
		switch {
		case f.Mode.IsDir():
			fmt.Fprintf(&s, "d %d %s\n", i, shell.Quote(at))
		case f.Mode.IsRegular():
			fmt.Fprintf(&s, "f %d %s\n", i, shell.Quote(at))
			list.WriteString(xargsQuote(at) + "\n")
		default:
			fmt.Fprintf(&s, "l %d %s\n", i, shell.Quote(at))
			fmt.Fprintf(&links, "printf 'bake:link x%%s\\n' \"$(readlink %s)\"\n", shell.Quote(at))
		}
	}
	if !plain {
		return s.String()
	}
	s.WriteString("[ $all = 1 ] || exit 0\nfor tool in xargs stat sha256sum readlink; do command -v $tool >/dev/null 2>&1 || exit 0; done\n")
	s.WriteString(links.String())
	if list.Len() > 0 {
		fmt.Fprintf(&s, "xargs stat -c 'bake:file %%f %%u %%g %%s' <<'BAKE_LIST'\n%[1]sBAKE_LIST\n"+
			"xargs sha256sum <<'BAKE_LIST' | while read -r sum rest; do printf 'bake:sum %%s\\n' \"$sum\"; done\n%[1]sBAKE_LIST\n", list.String())
	}
	return s.String()
}

// fileAnswer is what stat says of a file that is as it is to be.
func fileAnswer(f builder.File) string {
	return fmt.Sprintf("%x %d %d %d", 0o100000|unixMode(f.Mode), f.UID, f.GID, f.Size)
}

func unixMode(m fs.FileMode) uint32 {
	mode := uint32(m.Perm())
	if m&fs.ModeSetuid != 0 {
		mode |= 0o4000
	}
	if m&fs.ModeSetgid != 0 {
		mode |= 0o2000
	}
	if m&fs.ModeSticky != 0 {
		mode |= 0o1000
	}
	return mode
}

func (t *tree) sumOf(i int) (string, error) {
	if t.sum != nil {
		return t.sum(i), nil
	}
	return sumOf(t.entries[i])
}

// sumOf reads a file and returns its sha256 in hex.
func sumOf(f builder.File) (string, error) {
	r, err := f.Open()
	if err != nil {
		return "", err
	}
	defer r.Close()
	h := sha256.New()
	if _, err := io.Copy(h, r); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// xargsQuote writes a name as xargs reads it, which is not as the shell does.
func xargsQuote(s string) string {
	var b bytes.Buffer
	for i := range len(s) {
		if strings.IndexByte(" \t'\"\\", s[i]) >= 0 {
			b.WriteByte('\\')
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// withoutShell leaves out the directories that are there already.
func (t *tree) withoutShell(ctx context.Context, comm builder.Communicator) ([]builder.File, error) {
	var missing []builder.File
	gone := map[string]bool{}
	for _, f := range t.entries {
		if f.Mode.IsDir() && !gone[path.Dir(f.Path)] {
			have, err := stat(ctx, comm, t.at(f))
			if err == nil && have.Mode.IsDir() {
				continue
			}
			if err != nil && !errors.Is(err, builder.ErrNotFound) {
				return nil, err
			}
		}
		if f.Mode.IsDir() {
			gone[f.Path] = true
		}
		missing = append(missing, f)
	}
	return missing, nil
}

// A meter tells how much of a tree has been read.
type meter struct {
	sc       *builder.Scope
	progress builder.Progress
}

// smallTree is how many bytes may go without telling of progress.
const smallTree = 4 << 20

func (m *meter) watch(entries []builder.File) iter.Seq2[builder.File, error] {
	return func(yield func(builder.File, error) bool) {
		for _, f := range entries {
			if !yield(f, nil) {
				return
			}
			if m.progress.Total >= smallTree {
				m.progress.Done += f.Size
				m.sc.Progress(m.progress)
			}
		}
	}
}

func (m *meter) end() {
	if m.progress.Total >= smallTree {
		m.progress.Done, m.progress.Ended = m.progress.Total, true
		m.sc.Progress(m.progress)
	}
}
