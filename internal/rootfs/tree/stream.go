package tree

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
)

// A stream is a sequence of records, each a kind byte and what the kind says.
const (
	recordEntry = 1 // length, entry; content of Size bytes
	recordEnd   = 2
	recordError = 3 // length, text
)

const (
	maxRecord  = 32 << 20 // an entry with every extended attribute the kernel would give it
	bufferSize = 256 << 10
)

// A Writer writes a stream.
type Writer struct {
	w   *bufio.Writer
	buf []byte
}

// NewWriter returns a Writer to w. Nothing is complete before Close.
func NewWriter(w io.Writer) *Writer {
	return &Writer{w: bufio.NewWriterSize(w, bufferSize)}
}

// Write writes an entry and copies its content from r; it is a Func.
func (w *Writer) Write(e *Entry, r io.Reader) error {
	w.buf = appendEntry(w.buf[:0], e)
	if err := w.record(recordEntry, w.buf); err != nil {
		return err
	}
	if e.Hard || !e.Mode.IsRegular() || e.Size == 0 {
		return nil
	}
	n, err := io.CopyN(w.w, r, e.Size)
	if err == nil {
		return nil
	}
	// The reader of the stream expects Size bytes, whatever became of the file.
	if _, padErr := io.CopyN(w.w, zeros{}, e.Size-n); padErr != nil {
		return padErr
	}
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("%s: the file became shorter while it was read", e.Path)
	}
	return fmt.Errorf("%s: %w", e.Path, err)
}

// Close ends the stream, with an error for the reader if err is not nil.
func (w *Writer) Close(err error) error {
	var werr error
	if err != nil {
		werr = w.record(recordError, []byte(err.Error()))
	} else {
		werr = w.w.WriteByte(recordEnd)
	}
	if werr != nil {
		return werr
	}
	return w.w.Flush()
}

func (w *Writer) record(kind byte, body []byte) error {
	head := binary.AppendUvarint([]byte{kind}, uint64(len(body)))
	if _, err := w.w.Write(head); err != nil {
		return err
	}
	_, err := w.w.Write(body)
	return err
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// Read reads a stream to its end and calls fn with each entry. Content that fn
// left is skipped.
func Read(r io.Reader, fn Func) error {
	br := bufio.NewReaderSize(r, bufferSize)
	var buf []byte
	for {
		kind, err := br.ReadByte()
		if err == io.EOF {
			return io.ErrUnexpectedEOF
		}
		if err != nil || kind == recordEnd {
			return err
		}
		if buf, err = readRecord(br, buf); err != nil {
			return err
		}
		if kind == recordError {
			return errors.New(string(buf))
		}
		e, err := parseEntry(buf)
		if err != nil {
			return err
		}
		content := &io.LimitedReader{R: br}
		if e.Mode.IsRegular() && !e.Hard {
			content.N = e.Size
		}
		if err := fn(e, content); err != nil {
			return err
		}
		if _, err := io.Copy(io.Discard, content); err != nil {
			return err
		}
		if content.N > 0 {
			return io.ErrUnexpectedEOF
		}
	}
}

func readRecord(br *bufio.Reader, buf []byte) ([]byte, error) {
	n, err := binary.ReadUvarint(br)
	if err != nil {
		return nil, err
	}
	if n > maxRecord {
		return nil, fmt.Errorf("record of %d bytes is too long", n)
	}
	buf = slices.Grow(buf[:0], int(n))[:n]
	_, err = io.ReadFull(br, buf)
	return buf, err
}

func appendEntry(b []byte, e *Entry) []byte {
	hard := uint64(0)
	if e.Hard {
		hard = 1
	}
	for _, n := range []uint64{uint64(e.Mode), uint64(e.UID), uint64(e.GID), uint64(e.Size), hard, uint64(e.Sec), uint64(e.Nsec), uint64(e.Major), uint64(e.Minor), uint64(len(e.Xattrs))} {
		b = binary.AppendUvarint(b, n)
	}
	b = appendString(appendString(b, e.Path), e.Link)
	for name, value := range e.Xattrs {
		b = appendString(appendString(b, name), value)
	}
	return b
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func parseEntry(b []byte) (*Entry, error) {
	p := parser{b: b}
	e := &Entry{Mode: fs.FileMode(p.num()), UID: int(p.num()), GID: int(p.num()), Size: int64(p.num()), Hard: p.num() == 1,
		Sec: int64(p.num()), Nsec: int64(p.num()), Major: uint32(p.num()), Minor: uint32(p.num())}
	n := p.num()
	e.Path, e.Link = p.str(), p.str()
	if n > 0 && !p.bad {
		e.Xattrs = map[string]string{}
	}
	for range n {
		if p.bad {
			break
		}
		name := p.str()
		e.Xattrs[name] = p.str()
	}
	if p.bad || e.Size < 0 {
		return nil, errors.New("malformed entry in a stream")
	}
	return e, nil
}

type parser struct {
	b   []byte
	bad bool
}

func (p *parser) num() uint64 {
	v, n := binary.Uvarint(p.b)
	if n <= 0 {
		p.bad, p.b = true, nil
		return 0
	}
	p.b = p.b[n:]
	return v
}

func (p *parser) str() string {
	n := p.num()
	if n > uint64(len(p.b)) {
		p.bad = true
		return ""
	}
	s := string(p.b[:n])
	p.b = p.b[n:]
	return s
}
