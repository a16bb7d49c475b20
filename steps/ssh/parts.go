package ssh

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"bake/builder"
	"bake/internal/shell"
)

// inParts hands on one big file, whose header is all the stream holds.
func (g *download) inParts(ctx context.Context, yield func(builder.File, error) bool) error {
	tr := tar.NewReader(g.stream)
	h, err := tr.Next()
	if err != nil {
		return fmt.Errorf("reading %s: %w", g.src, err)
	}
	if h.Size != g.big {
		return fmt.Errorf("reading %s: its size changes while it is read", g.src)
	}
	f := g.file(h, nil)
	var open *parts
	f.Open = func() (io.ReadCloser, error) {
		if open != nil {
			open.stop()
		}
		open = newParts(ctx, g)
		return open, nil
	}
	ok := yield(f, nil)
	if open != nil {
		open.stop()
	}
	if !ok {
		return errEnough
	}
	return nil
}

// parts reads a big file. Far away several parts are under way while one is
// handed on; nearby it is one stream in pieces, since a session for each part
// costs more than it wins. The last byte comes only when the machine's
// checksum of the whole fits.
type parts struct {
	g      *download
	ctx    context.Context
	cancel context.CancelCauseFunc
	size   int64
	length int64 // of a part
	spread spread
	next   int64              // offset of the next part to ask for
	queue  []chan *aPart      // under way, in order
	pieces chan *aPart        // of the stream, in order
	free   chan *bytes.Buffer // what pieces were in
	at     []byte             // what is left of the current part
	used   *bytes.Buffer      // what holds it
	got    int64              // bytes that have come, in order
	sum    cksum              // of them
	check  chan error         // the machine's answer about its checksum, which is in want
	want   string
	scrap  [32 << 10]byte
	work   sync.WaitGroup

	decoder *zstd.Decoder
}

type aPart struct {
	data *bytes.Buffer
	err  error
}

func newParts(ctx context.Context, g *download) *parts {
	p := &parts{g: g, size: g.big, check: make(chan error, 1)}
	p.ctx, p.cancel = context.WithCancelCause(ctx)
	p.work.Go(p.checksum)
	if !g.far {
		p.spread = spread{1, 2}
		p.pieces, p.free = make(chan *aPart, piecesAhead), make(chan *bytes.Buffer, piecesAhead+2)
		p.work.Go(p.flow)
		return p
	}
	p.length, p.spread = 1<<20, spread{transferConns, perConn}
	if g.squeeze == "zstd" {
		p.decoder, _ = zstd.NewReader(nil, zstd.WithDecoderConcurrency(2), zstd.WithDecoderLowmem(true)) // the options are valid
	}
	const ahead = 20
	for range ahead {
		p.ask(new(bytes.Buffer))
	}
	return p
}

// checksum asks the machine for the checksum of the whole file.
func (p *parts) checksum() {
	var out strings.Builder
	script := "exec cksum <" + shell.Quote(p.g.src)
	if !p.g.facts.tools["cksum"] {
		p.check <- nil
		return
	}
	for try := 1; ; try++ {
		out.Reset()
		err := p.g.m.do(p.ctx, job{call: shell.Call{Script: script, Home: true}, as: p.g.m.identity(""), stdout: &out, whole: true, spread: p.spread})
		if _, lost := errors.AsType[*LostError](err); lost && try < mostTries {
			continue
		}
		p.want = strings.Join(strings.Fields(out.String()), " ")
		p.check <- err
		return
	}
}

// ask asks for the next part, if there is one, to be put into b.
func (p *parts) ask(b *bytes.Buffer) {
	offset := p.next
	n := min(p.length, p.size-offset)
	if n <= 0 {
		return
	}
	p.next += n
	got := make(chan *aPart, 1)
	p.queue = append(p.queue, got)
	p.work.Go(func() { got <- &aPart{b, p.fetch(offset, n, b)} })
}

// fetch reads one part.
func (p *parts) fetch(offset, n int64, b *bytes.Buffer) error {
	const block = 64 << 10
	script := fmt.Sprintf("exec dd if=%s bs=%d skip=%d count=%d 2>/dev/null", shell.Quote(p.g.src), block, offset/block, (n+block-1)/block)
	if p.g.squeeze != "" {
		script = strings.TrimPrefix(script, "exec ") + " | " + p.g.squeeze + " -1 -c"
	}
	for try := 1; ; try++ {
		b.Reset()
		err := p.receive(script, b)
		if _, lost := errors.AsType[*LostError](err); lost && try < mostTries && p.ctx.Err() == nil {
			p.g.m.config.Log("reading %s: %v: trying again", p.g.src, err)
			continue
		}
		if err == nil && int64(b.Len()) != n {
			err = fmt.Errorf("it changes while it is read: %d bytes instead of %d at %d", b.Len(), n, offset)
		}
		return err
	}
}

// receive runs script and puts its output into b, decompressed.
func (p *parts) receive(script string, b *bytes.Buffer) error {
	run := func(into io.Writer) error {
		return p.g.m.do(p.ctx, job{call: shell.Call{Script: script, Home: true}, as: p.g.m.identity(""), stdout: into, whole: true, spread: p.spread})
	}
	if p.g.squeeze == "" {
		b.Grow(int(p.length) + bytes.MinRead)
		return run(b)
	}
	var packed bytes.Buffer
	if err := run(&packed); err != nil {
		return err
	}
	if p.g.squeeze == "zstd" {
		out, err := p.decoder.DecodeAll(packed.Bytes(), b.AvailableBuffer())
		if err == nil {
			_, err = b.Write(out)
		}
		return err
	}
	r, err := gzip.NewReader(&packed)
	if err != nil {
		return err
	}
	_, err = b.ReadFrom(r)
	return err
}

func (p *parts) Read(out []byte) (int, error) {
	for len(p.at) == 0 {
		part := p.take()
		if part == nil {
			return 0, p.end()
		}
		if part.err != nil {
			return 0, fmt.Errorf("reading %s: %w", p.g.src, part.err)
		}
		p.used, p.at = part.data, part.data.Bytes()
		p.sum = p.sum.update(p.at, p.scrap[:])
		p.got += int64(len(p.at))
		if p.got == p.size {
			if err := p.verify(); err != nil {
				return 0, err
			}
		}
	}
	n := copy(out, p.at)
	p.at = p.at[n:]
	return n, nil
}

// end is what a reader gets after the last part: a file that was given up is
// not one that has ended.
func (p *parts) end() error {
	switch {
	case p.got == p.size:
		return io.EOF
	case p.ctx.Err() != nil:
		return context.Cause(p.ctx)
	}
	return io.ErrUnexpectedEOF
}

// take returns the next part, nil after the last. What held the one before is
// used again.
func (p *parts) take() *aPart {
	b := p.used
	p.used = nil
	if p.pieces != nil {
		if b != nil {
			b.Reset()
			p.free <- b // there is room for all there are
		}
		return <-p.pieces
	}
	if b != nil {
		p.ask(b)
	}
	if len(p.queue) == 0 {
		return nil
	}
	part := <-p.queue[0]
	p.queue = p.queue[1:]
	return part
}

// verify compares checksums.
func (p *parts) verify() error {
	if err := <-p.check; err != nil {
		return fmt.Errorf("checking %s: %w", p.g.src, err)
	}
	if have := fmt.Sprintf("%d %d", p.sum.sum(p.size), p.size); p.want != "" && have != p.want {
		return fmt.Errorf("reading %s: it arrived damaged, or changed while it was read: checksum and size are %s, on the machine %s", path.Base(p.g.src), have, p.want)
	}
	return nil
}

// Close ends what is under way.
func (p *parts) Close() error {
	p.stop()
	return nil
}

func (p *parts) stop() {
	p.cancel(errEnough)
	p.work.Wait()
	if p.decoder != nil {
		p.decoder.Close()
	}
}
