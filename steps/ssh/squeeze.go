package ssh

import (
	"bytes"
	"io"

	"github.com/klauspost/compress/gzip"
)

// squeezing compresses what it reads, a piece at a time: each piece is a frame
// of its own, so that an encoder serves all streams and none holds memory.
type squeezing struct {
	from  io.Reader
	p     *put
	piece []byte
	out   []byte // the piece, compressed
	ready []byte // what is left of it
	err   error
}

const squeezePiece = 128 << 10

func newSqueezing(from io.Reader, p *put) io.Reader {
	return &squeezing{from: from, p: p, piece: make([]byte, squeezePiece)}
}

func (s *squeezing) Read(p []byte) (int, error) {
	for len(s.ready) == 0 {
		if s.err != nil {
			return 0, s.err
		}
		n, err := io.ReadFull(s.from, s.piece)
		if err == io.ErrUnexpectedEOF && n > 0 || err == io.EOF {
			err = io.EOF
		}
		s.err = err
		if n == 0 {
			continue
		}
		if s.p.squeeze == "zstd" {
			s.out = s.p.encoder.EncodeAll(s.piece[:n], s.out[:0])
			s.ready = s.out
			continue
		}
		var b bytes.Buffer
		w, err := gzip.NewWriterLevel(&b, gzip.BestSpeed)
		if err != nil {
			return 0, err
		}
		_, _ = w.Write(s.piece[:n]) // memory does not fail
		_ = w.Close()
		s.ready = b.Bytes()
	}
	n := copy(p, s.ready)
	s.ready = s.ready[n:]
	return n, nil
}
