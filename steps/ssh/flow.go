package ssh

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"bake/internal/shell"
)

const (
	piece       = 256 << 10
	piecesAhead = 8 // that wait to be handed on
)

// flow reads the file as one stream, which goes on where it was if the
// connection breaks.
func (p *parts) flow() {
	defer close(p.pieces)
	w := &cutter{p: p, left: p.size}
	for try := 1; ; try++ {
		err := p.g.m.do(p.ctx, job{call: shell.Call{Script: w.script(), Home: true}, as: p.g.m.identity(""), stdout: w, whole: true, spread: p.spread})
		if _, lost := errors.AsType[*LostError](err); lost && try < mostTries && p.ctx.Err() == nil {
			p.g.m.config.Log("reading %s: %v: going on at byte %d", p.g.src, err, p.size-w.left)
			continue
		}
		if err == nil && w.left > 0 {
			err = fmt.Errorf("it changes while it is read: it ends %d bytes early", w.left)
		}
		if err == nil {
			err = w.flush()
		}
		if err != nil {
			_ = w.send(&aPart{err: err}) // nobody waits for it if that fails
		}
		return
	}
}

// A cutter cuts a stream into pieces.
type cutter struct {
	p    *parts
	left int64 // bytes that have not come yet
	skip int64 // bytes to come that are known
	b    *bytes.Buffer
}

// script returns what the machine is to do to send what is left.
func (w *cutter) script() string {
	file := shell.Quote(w.p.g.src)
	offset := w.p.size - w.left
	if offset == 0 {
		return "exec cat <" + file
	}
	const block = 64 << 10
	w.skip = offset % block
	return fmt.Sprintf("exec dd if=%s bs=%d skip=%d 2>/dev/null", file, block, offset/block)
}

// Write takes a part of the stream. What is more than was announced is dropped:
// the checksum shows it.
func (w *cutter) Write(data []byte) (int, error) {
	n := len(data)
	known := min(w.skip, int64(n))
	w.skip -= known
	data = data[known:]
	data = data[:min(w.left, int64(len(data)))]
	for len(data) > 0 {
		if w.b == nil {
			w.b = w.buffer()
		}
		k := min(piece-w.b.Len(), len(data))
		w.b.Write(data[:k])
		w.left -= int64(k)
		if data = data[k:]; w.b.Len() == piece {
			if err := w.flush(); err != nil {
				return 0, err
			}
		}
	}
	return n, nil
}

func (w *cutter) buffer() *bytes.Buffer {
	select {
	case b := <-w.p.free:
		return b
	default:
		return bytes.NewBuffer(make([]byte, 0, piece))
	}
}

// flush hands on what has come.
func (w *cutter) flush() error {
	if w.b == nil {
		return nil
	}
	b := w.b
	w.b = nil
	return w.send(&aPart{data: b})
}

func (w *cutter) send(part *aPart) error {
	select {
	case w.p.pieces <- part:
		return nil
	case <-w.p.ctx.Done():
		return context.Cause(w.p.ctx)
	}
}
