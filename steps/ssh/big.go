package ssh

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"bake/builder"
	"bake/internal/shell"
)

// A bigPut is a file that travels in parts, to a temporary name beside its own.
type bigPut struct {
	p    *put
	f    builder.File
	path string
	temp string

	parts sync.WaitGroup
	mu    sync.Mutex
	sums  map[int64]cksum // register of the part that begins there
	sizes map[int64]int64
}

// big sends a big file in parts.
func (p *put) big(f builder.File) error {
	if len(f.Xattrs) > 0 && !p.facts.tools["setfattr"] {
		return fmt.Errorf("putting %s: extended attributes of a big file need setfattr (package attr) on the machine", f.Path)
	}
	p.sent = true
	var random [6]byte
	_, _ = rand.Read(random[:]) // never fails
	full := path.Join(p.dst, f.Path)
	b := &bigPut{p: p, f: f, path: full, sums: map[int64]cksum{}, sizes: map[int64]int64{},
		temp: path.Join(path.Dir(full), ".bake-"+hex.EncodeToString(random[:]))}
	content, err := f.Open()
	if err != nil {
		return fmt.Errorf("reading %s: %w", f.Path, err)
	}
	at, ok := content.(io.ReaderAt)
	if ok {
		err = b.inPlace(at)
	} else {
		err = b.inOrder(content)
	}
	// The file is finished when its last part is there; the next ones go on meanwhile.
	p.work.Go(func() {
		b.parts.Wait()
		content.Close()
		if err == nil && p.ctx.Err() == nil {
			if err := b.finish(); err != nil {
				p.fail(err)
			}
		}
		if p.ctx.Err() != nil || err != nil {
			b.remove()
		}
	})
	return err
}

// inPlace sends parts that are read when they are sent.
func (b *bigPut) inPlace(at io.ReaderAt) error {
	const slots = transferConns * perConn
	part := max(1<<20, min(b.p.part, (b.f.Size/slots+64<<10)&^(64<<10-1)))
	if b.p.spread.each == 1 {
		part = b.p.part
	}
	for offset := int64(0); offset < b.f.Size; offset += part {
		n := min(part, b.f.Size-offset)
		if err := b.send(offset, n, 256<<10, func() io.Reader { return io.NewSectionReader(at, offset, n) }); err != nil {
			return err
		}
	}
	return nil
}

// inOrder reads parts into memory and sends them from there.
func (b *bigPut) inOrder(content io.Reader) error {
	const part = 2 << 20
	for offset := int64(0); offset < b.f.Size; {
		n := min(part, b.f.Size-offset)
		// Room first: the memory is not to be allocated while others hold it all.
		if err := b.p.memory.Acquire(b.p.ctx, n); err != nil {
			return context.Cause(b.p.ctx)
		}
		data := make([]byte, n)
		_, err := io.ReadFull(content, data)
		b.p.memory.Release(n)
		if err != nil {
			return fmt.Errorf("reading %s: %w", b.f.Path, err)
		}
		if err := b.send(offset, n, n, func() io.Reader { return bytes.NewReader(data) }); err != nil {
			return err
		}
		offset += n
	}
	return nil
}

// send sends one part.
func (b *bigPut) send(offset, size, weight int64, open func() io.Reader) error {
	b.parts.Add(1)
	err := b.p.send(weight, func() error {
		defer b.parts.Done()
		return b.write(offset, size, open)
	})
	if err != nil {
		b.parts.Done()
	}
	return err
}

// write has the machine write one part at its place.
func (b *bigPut) write(offset, size int64, open func() io.Reader) error {
	const block = 64 << 10 // parts begin at multiples of it
	script := fmt.Sprintf("mkdir -p -- %s && umask 077 && exec dd of=%s bs=%d seek=%d conv=notrunc 2>/dev/null",
		shell.Quote(path.Dir(b.path)), shell.Quote(b.temp), block, offset/block)
	var last *summing
	err := b.p.m.stream(b.p.ctx, "putting "+b.f.Path, b.squeezed(script), b.p.spread, func() io.Reader {
		last = &summing{from: open(), left: size}
		if b.p.squeeze == "" {
			return last
		}
		return newSqueezing(last, b.p)
	})
	if err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sums[offset], b.sizes[offset] = last.sum, size
	return nil
}

func (b *bigPut) squeezed(script string) string {
	if b.p.squeeze == "" {
		return script
	}
	return strings.Replace(script, "exec dd", b.p.squeeze+" -dcq | dd", 1)
}

// finish checks what has arrived and gives it its name, owner, mode and time.
func (b *bigPut) finish() error {
	var sum cksum
	for _, offset := range slices.Sorted(maps.Keys(b.sums)) {
		sum = sum.then(b.sums[offset], b.sizes[offset])
	}
	return b.p.m.stream(b.p.ctx, "putting "+b.f.Path, b.finishing(sum.sum(b.f.Size)), b.p.spread, func() io.Reader { return strings.NewReader("") })
}

// finishing returns the script that does that. It may run again after it has
// done its work.
func (b *bigPut) finishing(sum uint32) string {
	temp, name := shell.Quote(b.temp), shell.Quote(b.path)
	whole := fmt.Sprintf(`[ "$(wc -c <"$1" | tr -d ' ')" = %d ]`, b.f.Size)
	if b.p.facts.tools["cksum"] {
		whole = fmt.Sprintf(`[ "$(cksum <"$1" | tr -s ' \t' '  ')" = '%d %d' ]`, sum, b.f.Size)
	}
	var s strings.Builder
	fmt.Fprintf(&s, "set -e\nwhole() { %s; }\n", whole)
	fmt.Fprintf(&s, "if [ ! -e %s ] && [ -f %s ] && whole %s; then exit 0; fi\n", temp, name, name)
	fmt.Fprintf(&s, "if [ -d %[1]s ] && [ ! -L %[1]s ]; then echo %[1]s is a directory >&2; exit 1; fi\n", name)
	fmt.Fprintf(&s, "whole %s || { echo 'it arrived damaged' >&2; exit 74; }\n", temp)
	if b.p.facts.UID == 0 {
		fmt.Fprintf(&s, "chown %d:%d %s\n", b.f.UID, b.f.GID, temp)
	}
	fmt.Fprintf(&s, "chmod %04o %s\n", permissions(b.f.Mode), temp)
	for _, k := range slices.Sorted(maps.Keys(b.f.Xattrs)) {
		fmt.Fprintf(&s, "setfattr -n %s -v 0x%x %s\n", shell.Quote(k), b.f.Xattrs[k], temp)
	}
	if !b.f.ModTime.IsZero() {
		fmt.Fprintf(&s, "TZ=UTC0 touch -t %s %s\n", b.f.ModTime.UTC().Format("200601021504.05"), temp)
	}
	fmt.Fprintf(&s, "if [ -L %[2]s ]; then rm -f %[2]s; fi\nmv -f %[1]s %[2]s\n", temp, name)
	return s.String()
}

// remove removes what has arrived of a file that will not be finished.
func (b *bigPut) remove() {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(b.p.ctx), 10*time.Second)
	defer cancel()
	if b.p.m.pool.idle() {
		return // there is no connection any more
	}
	if err := b.p.m.stream(ctx, "removing "+b.temp, "rm -f "+shell.Quote(b.temp), b.p.spread, func() io.Reader { return strings.NewReader("") }); err != nil {
		b.p.m.config.Log("%v", err)
	}
}

// summing reads exactly left bytes and computes their checksum.
type summing struct {
	from    io.Reader
	left    int64
	sum     cksum
	scratch [32 << 10]byte
}

func (s *summing) Read(p []byte) (int, error) {
	if s.left == 0 {
		return 0, io.EOF
	}
	n, err := s.from.Read(p[:min(int64(len(p)), s.left)])
	s.sum = s.sum.update(p[:n], s.scratch[:])
	s.left -= int64(n)
	if errors.Is(err, io.EOF) {
		err = nil
		if s.left > 0 {
			err = fmt.Errorf("the file is shorter than it was: %w", io.ErrUnexpectedEOF)
		}
	}
	return n, err
}
