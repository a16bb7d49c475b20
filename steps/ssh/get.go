package ssh

import (
	"archive/tar"
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"path"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"bake/builder"
	"bake/internal/shell"
)

// exitNotFound is what our scripts exit with when there is no such file.
const exitNotFound = 44

// errEnough says that the caller of Get wants no more.
var errEnough = errors.New("no more files are wanted")

// Get reads the file or tree at src: a tree as one tar stream, which goes on
// where it was if the connection breaks, a big file in parts.
func (m *Communicator) Get(ctx context.Context, src string) iter.Seq2[builder.File, error] {
	return func(yield func(builder.File, error) bool) {
		facts, err := m.Facts(ctx)
		if err == nil && facts.tar == "" {
			err = m.getSFTP(ctx, src, facts, yield)
		} else if err == nil {
			err = m.getTar(ctx, src, facts, yield)
		}
		if err != nil && !errors.Is(err, errEnough) {
			yield(builder.File{}, err)
		}
	}
}

func (m *Communicator) getTar(ctx context.Context, src string, facts Facts, yield func(builder.File, error) bool) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(errEnough)
	g := &download{m: m, src: path.Clean(src), facts: facts}
	if m.pool.roundTrip(ctx) > farAway {
		g.far = true
		for _, tool := range []string{"gzip", "zstd"} {
			if facts.tools[tool] {
				g.squeeze = tool
			}
		}
		if facts.tar != "gnu" && facts.tools["gzip"] {
			g.squeeze = "gzip"
		}
	}
	defer g.close(cancel)
	if err := g.first(ctx); err != nil {
		return err
	}
	if g.big > 0 {
		return g.inParts(ctx, yield)
	}
	return g.files(ctx, yield)
}

// A download is one Get under way. As an io.Reader it is the tar stream.
type download struct {
	m       *Communicator
	src     string
	facts   Facts
	far     bool
	squeeze string

	big     int64 // size, if src is a big file; the stream is then cut after its header
	stream  io.Reader
	pipe    *io.PipeReader
	done    chan error
	ctx     context.Context
	offset  int64 // bytes of the stream that were read
	sum     cksum
	scratch [32 << 10]byte
	tries   int
	resumed bool
}

// files hands on what the stream holds.
func (g *download) files(ctx context.Context, yield func(builder.File, error) bool) error {
	tr := tar.NewReader(g)
	for {
		h, err := tr.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return fmt.Errorf("reading %s: %w", g.src, err)
		}
		f := g.file(h, func() (io.ReadCloser, error) { return io.NopCloser(tr), nil })
		if !yield(f, nil) {
			return errEnough
		}
	}
	if _, err := io.Copy(io.Discard, g); err != nil {
		return fmt.Errorf("reading %s: %w", g.src, err)
	}
	return g.verify(ctx)
}

// file describes an entry in our words.
func (g *download) file(h *tar.Header, open func() (io.ReadCloser, error)) builder.File {
	f := builder.File{Path: cleanName(h.Name), Mode: h.FileInfo().Mode(), UID: h.Uid, GID: h.Gid, ModTime: h.ModTime}
	switch h.Typeflag {
	case tar.TypeLink:
		f.Hard, f.Link = true, cleanName(h.Linkname)
	case tar.TypeSymlink:
		f.Link = h.Linkname
	case tar.TypeReg:
		f.Size, f.Open = h.Size, open
	}
	for k, v := range h.PAXRecords {
		if name, ok := strings.CutPrefix(k, "SCHILY.xattr."); ok {
			if f.Xattrs == nil {
				f.Xattrs = map[string]string{}
			}
			f.Xattrs[name] = v
		}
	}
	return f
}

func cleanName(name string) string {
	name = strings.TrimSuffix(strings.TrimPrefix(name, "./"), "/")
	if name == "" {
		return "."
	}
	return name
}

// first starts the stream on the machine, again if the connection breaks
// before anything of it has come.
func (g *download) first(ctx context.Context) error {
	for try := 1; ; try++ {
		err := g.begin(ctx, 0)
		if _, lost := errors.AsType[*LostError](err); !lost || try == mostTries || ctx.Err() != nil {
			return err
		}
		g.m.config.Log("reading %s: %v: trying again", g.src, err)
	}
}

// begin starts the stream on the machine, from an offset on.
func (g *download) begin(ctx context.Context, offset int64) error {
	pr, pw := io.Pipe()
	g.ctx, g.pipe, g.done = ctx, pr, make(chan error, 1)
	done := g.done
	var errs tailBuffer
	call := shell.Call{Argv: []string{"/bin/sh", "-c", g.script(offset)}, Env: map[string]string{"LC_ALL": "C"}, Home: true}
	cmd := job{call: call, as: g.m.identity(""), stdout: pw, stderr: &errs, whole: true}
	go func() {
		err := g.m.do(ctx, cmd)
		if exit, failed := errors.AsType[*builder.ExitError](err); failed {
			if exit.Code == exitNotFound {
				err = fmt.Errorf("%s: %w", g.src, builder.ErrNotFound)
			} else {
				err = fmt.Errorf("%w: %s", err, errs.String())
			}
		} else if err == nil && offset > 0 && !strings.Contains(errs.String(), "bake-status 0") {
			err = fmt.Errorf("tar failed: %s", errs.String())
		}
		done <- err
		pw.CloseWithError(orEOF(err))
	}()
	buffered := bufio.NewReaderSize(pr, 256<<10)
	if offset == 0 {
		line, err := buffered.ReadString('\n')
		if err != nil {
			return err
		}
		if _, err := fmt.Sscanf(line, "big %d", &g.big); err != nil && line != "tree\n" {
			return fmt.Errorf("reading %s: the machine answers %q", g.src, line)
		}
	}
	return g.decode(buffered)
}

func orEOF(err error) error {
	if err == nil {
		return io.EOF
	}
	return err
}

func (g *download) decode(from io.Reader) error {
	g.stream = from
	var err error
	switch {
	case g.big > 0 || g.squeeze == "":
	case g.squeeze == "gzip":
		g.stream, err = gzip.NewReader(from)
	case g.squeeze == "zstd":
		var d *zstd.Decoder
		if d, err = zstd.NewReader(from, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true)); err == nil {
			g.stream = d.IOReadCloser()
		}
	}
	return err
}

// bigGet is from which size on a file is read in parts.
const bigGet = 8 << 20

// script returns what the machine is to do: say what src is, then pack it.
func (g *download) script(offset int64) string {
	name := "./" + path.Base(g.src)
	dir := path.Dir(g.src)
	if g.src == "/" || g.src == "." {
		name, dir = ".", g.src
	}
	quoted := shell.Quote(name)
	var s strings.Builder
	fmt.Fprintf(&s, "cd %s 2>/dev/null || exit %d\n[ -e %s ] || [ -L %s ] || exit %d\n", shell.Quote(dir), exitNotFound, quoted, quoted, exitNotFound)
	if offset > 0 {
		fmt.Fprintf(&s, "{ %s; echo bake-status $? >&2; } | tail -c +%d", g.pack(name, ""), offset+1)
		if g.squeeze != "" {
			s.WriteString(" | " + g.squeeze + " -1 -c")
		}
		return s.String()
	}
	fmt.Fprintf(&s, "if [ -f %[1]s ] && [ ! -L %[1]s ]; then\nn=$(wc -c <%[1]s) || exit\nif [ $n -ge %[2]d ]; then echo big $n; %[3]s 2>/dev/null | head -c 65536; exit 0; fi\nfi\n", quoted, bigGet, g.pack(name, ""))
	fmt.Fprintf(&s, "echo tree\nexec %s\n", g.pack(name, g.squeeze))
	return s.String()
}

// pack returns the command that packs name. The same tree gives the same bytes.
func (g *download) pack(name, squeeze string) string {
	args := []string{"tar", "-c", "-f", "-"}
	if g.facts.tar == "gnu" {
		args = append(args, "-b", "128", "--numeric-owner", "--sort=name", "--format=posix", "--pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime",
			"--xattrs", "--xattrs-include=*", "--warning=no-file-ignored")
	}
	switch squeeze {
	case "gzip":
		args = append(args, "-z")
	case "zstd":
		args = append(args, "-I", "zstd -1")
	}
	return shell.Join(append(args, name)...)
}

// Read reads the tar stream. A broken connection is not seen by the reader.
func (g *download) Read(p []byte) (int, error) {
	for {
		n, err := g.stream.Read(p)
		g.sum = g.sum.update(p[:n], g.scratch[:])
		g.offset += int64(n)
		if n > 0 {
			return n, nil
		}
		if err == nil {
			continue
		}
		// The stream's end counts only with the exit status behind it.
		ended := <-g.done
		g.done <- ended
		if ended == nil {
			return 0, err
		}
		if _, lost := errors.AsType[*LostError](ended); !lost || g.tries >= mostTries || g.ctx.Err() != nil {
			return 0, ended
		}
		g.tries++
		g.resumed = true
		g.m.config.Log("reading %s: %v: going on at byte %d", g.src, ended, g.offset)
		if err := g.begin(g.ctx, g.offset); err != nil && !errors.Is(err, io.EOF) {
			if _, lost := errors.AsType[*LostError](err); !lost {
				return 0, err
			}
			g.stream = strings.NewReader("") // the loop sees the loss
		}
	}
}

// verify makes sure, if the stream was put together from pieces, that they
// belong to one tree.
func (g *download) verify(ctx context.Context) error {
	if !g.resumed {
		return nil
	}
	if !g.facts.tools["cksum"] {
		return fmt.Errorf("reading %s: the connection broke, and the machine has no cksum to make sure that all is whole", g.src)
	}
	var out strings.Builder
	dir, name := path.Dir(g.src), "./"+path.Base(g.src)
	script := "cd " + shell.Quote(dir) + " && " + g.pack(name, "") + " | cksum"
	err := g.m.do(ctx, job{call: shell.Call{Script: script, Env: map[string]string{"LC_ALL": "C"}, Home: true}, as: g.m.identity(""), stdout: &out, whole: true})
	if err != nil {
		return fmt.Errorf("checking %s: %w", g.src, err)
	}
	if got := strings.Join(strings.Fields(out.String()), " "); got != fmt.Sprintf("%d %d", g.sum.sum(g.offset), g.offset) {
		return fmt.Errorf("reading %s: it changed while the connection was broken", g.src)
	}
	return nil
}

// close ends what still runs, and waits for it.
func (g *download) close(cancel context.CancelCauseFunc) {
	cancel(errEnough)
	if g.pipe != nil {
		g.pipe.CloseWithError(errEnough)
		<-g.done
	}
}
