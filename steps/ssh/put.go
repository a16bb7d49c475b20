package ssh

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"strings"
	"sync"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"golang.org/x/sync/semaphore"

	"bake/builder"
	"bake/internal/shell"
)

const (
	bigFile   = 4 << 20  // a file from this size on travels on its own
	inFlight  = 16 << 20 // bytes that are held in memory until the machine has confirmed them
	farAway   = 8 * time.Millisecond
	mostTries = 8 // of one block, each after a broken connection
)

// Put writes files below dst. Small ones go as tar streams of a few MiB, big
// ones in parts; each stream is a session of its own that is repeated if the
// connection breaks.
func (m *Communicator) Put(ctx context.Context, dst string, files iter.Seq2[builder.File, error]) error {
	facts, err := m.Facts(ctx)
	if err != nil {
		return err
	}
	if facts.tar == "" {
		return m.putSFTP(ctx, dst, files, facts)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	p := m.newPut(ctx, cancel, dst, facts)
	for f, err := range files {
		if err == nil {
			err = p.add(f)
		}
		if err != nil {
			p.fail(err)
			break
		}
	}
	return p.finish()
}

// A put is one Put under way.
type put struct {
	m      *Communicator
	ctx    context.Context
	cancel context.CancelCauseFunc
	dst    string
	facts  Facts

	spread    spread
	batchSize int
	part      int64  // size of the parts of big files
	squeeze   string // what streams are compressed with: "zstd", "gzip", ""
	encoder   *zstd.Encoder

	batch   *batch
	buffers chan *bytes.Buffer // that were used and are free again
	sent    bool               // a batch or a big file was sent already
	dirs    []builder.File     // their modes and times come last, or what is put into them would change them
	links   []builder.File     // hard links, which come after what they link to

	memory *semaphore.Weighted
	slots  chan struct{}
	work   sync.WaitGroup
}

func (m *Communicator) newPut(ctx context.Context, cancel context.CancelCauseFunc, dst string, facts Facts) *put {
	p := &put{m: m, ctx: ctx, cancel: cancel, dst: dst, facts: facts, memory: semaphore.NewWeighted(inFlight)}
	// Nearby, the processors are the limit: two streams keep two busy. Far away
	// it is the window of a session, some 2 MiB a round trip.
	p.spread, p.batchSize, p.part = spread{2, 1}, 2<<20, 32<<20
	if m.pool.roundTrip(ctx) > farAway {
		p.spread, p.batchSize, p.part = spread{transferConns, perConn}, 1<<20, 8<<20
		for _, tool := range []string{"gzip", "zstd"} {
			if facts.tools[tool] {
				p.squeeze = tool
			}
		}
	}
	p.buffers = make(chan *bytes.Buffer, inFlight/p.batchSize)
	p.slots = make(chan struct{}, p.spread.conns*p.spread.each)
	if p.squeeze == "zstd" {
		p.encoder, _ = zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(2), zstd.WithWindowSize(512<<10), zstd.WithLowerEncoderMem(true)) // the options are valid
	}
	return p
}

// add takes one file. Its content is read before add returns, unless it can be
// read in parts.
func (p *put) add(f builder.File) error {
	if err := p.check(f); err != nil {
		return err
	}
	switch {
	case p.ctx.Err() != nil:
		return context.Cause(p.ctx)
	case f.Hard:
		p.links = append(p.links, f)
		return nil
	case f.Mode.IsDir():
		p.dirs = append(p.dirs, f)
		f.Mode |= 0o700 // until what is in it is there
		return p.write(f)
	case f.Mode.IsRegular() && f.Size >= bigFile:
		return p.big(f)
	}
	return p.write(f)
}

// check refuses what would leave dst, and owners that the login cannot give.
func (p *put) check(f builder.File) error {
	if err := checkPath(f.Path); err != nil {
		return err
	}
	if f.Hard {
		if err := checkPath(f.Link); err != nil {
			return fmt.Errorf("%s is a link: %w", f.Path, err)
		}
	}
	if me := p.facts.UID; me != 0 && f.UID != 0 && f.UID != me {
		return &OwnerError{Path: f.Path, UID: f.UID, GID: f.GID}
	}
	return nil
}

// OwnerError says that the login may not give a file the owner it is to have.
type OwnerError struct {
	Path     string
	UID, GID int
}

func (e *OwnerError) Error() string {
	return fmt.Sprintf("putting %s: only root can give it the owner %d:%d", e.Path, e.UID, e.GID)
}

// Hint says what to do.
func (e *OwnerError) Hint() string { return "set sudo: true in the source" }

func checkPath(path string) error {
	if path == "." {
		return nil
	}
	for name := range strings.SplitSeq(path, "/") {
		if name == "" || name == "." || name == ".." || strings.ContainsRune(name, 0) {
			return fmt.Errorf("file name %q: want a relative path that does not lead up", path)
		}
	}
	return nil
}

// write appends a file to the current batch, and sends that if it is full.
func (p *put) write(f builder.File) error {
	if p.batch != nil && p.batch.size()+int(f.Size) > p.batchSize {
		if err := p.flush(); err != nil {
			return err
		}
	}
	if p.batch == nil {
		p.batch = newBatch(p.buffer())
	}
	return p.batch.add(f, p.facts)
}

// flush sends the current batch. It returns as soon as there is room for the next.
func (p *put) flush() error {
	b := p.batch
	p.batch = nil
	if b == nil {
		return nil
	}
	p.sent = true
	body, err := b.end()
	if err != nil {
		return err
	}
	return p.send(int64(body.Len()), func() error {
		defer p.recycle(body)
		return p.extract(body)
	})
}

func (p *put) buffer() *bytes.Buffer {
	select {
	case b := <-p.buffers:
		return b
	default:
		return new(bytes.Buffer)
	}
}

func (p *put) recycle(b *bytes.Buffer) {
	select {
	case p.buffers <- b:
	default:
	}
}

// send does work in the background, as soon as there is room for weight more
// bytes in memory. An error of it ends the whole.
func (p *put) send(weight int64, work func() error) error {
	weight = min(weight, inFlight)
	if err := p.memory.Acquire(p.ctx, weight); err != nil {
		return context.Cause(p.ctx)
	}
	select {
	case p.slots <- struct{}{}:
	case <-p.ctx.Done():
		p.memory.Release(weight)
		return context.Cause(p.ctx)
	}
	p.work.Go(func() {
		defer p.memory.Release(weight)
		defer func() { <-p.slots }()
		if err := work(); err != nil {
			p.fail(err)
		}
	})
	return nil
}

func (p *put) fail(err error) { p.cancel(err) }

// finish sends what is left and waits for all.
func (p *put) finish() error {
	if p.sent && p.ctx.Err() == nil {
		if err := p.flush(); err != nil {
			p.fail(err)
		}
		p.work.Wait()
	}
	for _, f := range append(p.links, p.dirs...) {
		if p.ctx.Err() != nil {
			break
		}
		if err := p.write(f); err != nil {
			p.fail(err)
		}
	}
	if p.batch == nil && !p.sent && p.ctx.Err() == nil {
		p.batch = newBatch(p.buffer()) // nothing at all: dst is made nevertheless
	}
	if p.ctx.Err() == nil {
		if err := p.flush(); err != nil {
			p.fail(err)
		}
	}
	p.work.Wait()
	if p.encoder != nil {
		p.encoder.Close()
	}
	return context.Cause(p.ctx)
}

// extract has the machine unpack a tar stream.
func (p *put) extract(body *bytes.Buffer) error {
	if p.squeeze != "" {
		packed := p.buffer()
		defer p.recycle(packed)
		if err := p.compress(packed, body.Bytes()); err != nil {
			return err
		}
		body = packed
	}
	script := "mkdir -p -- " + shell.Quote(p.dst) + " && cd " + shell.Quote(p.dst) + " && exec " + unpack(p.facts, p.squeeze)
	return p.m.stream(p.ctx, "unpacking files below "+p.dst, script, p.spread, func() io.Reader { return bytes.NewReader(body.Bytes()) })
}

// unpack returns the command that unpacks its stdin into the current directory.
func unpack(facts Facts, squeeze string) string {
	args := []string{"tar", "-x", "-p", "-f", "-"}
	if facts.tar == "gnu" {
		args = append(args, "--numeric-owner", "--keep-directory-symlink", "--warning=no-timestamp", "--xattrs", "--xattrs-include=*")
		if squeeze == "zstd" {
			args = append(args, "-I", "zstd")
		}
	}
	if squeeze == "gzip" {
		args = append(args, "-z")
	}
	if squeeze == "zstd" && facts.tar != "gnu" {
		return "sh -c " + shell.Quote("zstd -dcq | "+shell.Join(args...))
	}
	return shell.Join(args...)
}

func (p *put) compress(into *bytes.Buffer, body []byte) error {
	into.Reset()
	if p.squeeze == "zstd" {
		into.Grow(len(body)/2 + 1024)
		_, err := into.Write(p.encoder.EncodeAll(body, into.AvailableBuffer()))
		return err
	}
	w, err := gzip.NewWriterLevel(into, gzip.BestSpeed)
	if err != nil {
		return err
	}
	if _, err := w.Write(body); err != nil {
		return err
	}
	return w.Close()
}

// stream runs a script that reads body, again if the connection breaks: so it
// must not matter how often it runs.
func (m *Communicator) stream(ctx context.Context, what, script string, sp spread, body func() io.Reader) error {
	for try := 1; ; try++ {
		var errs tailBuffer
		call := shell.Call{Argv: []string{"/bin/sh", "-c", script}, Stdin: true, Env: map[string]string{"LC_ALL": "C"}, Home: true}
		err := m.do(ctx, job{call: call, as: m.identity(""), stdin: body(), again: body, stderr: &errs, spread: sp})
		if err == nil {
			return nil
		}
		if _, lost := errors.AsType[*LostError](err); lost && try < mostTries && ctx.Err() == nil {
			m.config.Log("%s: %v: trying again", what, err)
			continue
		}
		if _, failed := errors.AsType[*builder.ExitError](err); failed {
			return fmt.Errorf("%s: %w: %s", what, err, errs.String())
		}
		return fmt.Errorf("%s: %w", what, err)
	}
}

// tailBuffer keeps the end of what is written to it.
type tailBuffer struct{ data []byte }

func (b *tailBuffer) Write(p []byte) (int, error) {
	b.data = append(b.data, p...)
	if len(b.data) > 8<<10 {
		b.data = append(b.data[:0], b.data[len(b.data)-4<<10:]...)
	}
	return len(p), nil
}

func (b *tailBuffer) String() string { return strings.TrimSpace(string(b.data)) }

// permissions are the bits of a mode that chmod and tar know.
func permissions(m fs.FileMode) int64 {
	bits := int64(m.Perm())
	for _, b := range []struct {
		have fs.FileMode
		want int64
	}{{fs.ModeSetuid, 0o4000}, {fs.ModeSetgid, 0o2000}, {fs.ModeSticky, 0o1000}} {
		if m&b.have != 0 {
			bits |= b.want
		}
	}
	return bits
}
