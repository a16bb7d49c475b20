package ecs

import (
	"bytes"
	"errors"
	"io"
	"sync"
	"time"

	"bake/internal/sandbox/api"
	"bake/internal/sandbox/ecs/wire"
)

// logWriter makes the log stream of a container with the awslogs driver; what
// others write is thrown away.
func (x *runner) logWriter(d *wire.ContainerDefinition) (*lineWriter, error) {
	l := d.LogConfiguration
	if l == nil || l.LogDriver != "awslogs" || x.c.deps.Logs == nil {
		return &lineWriter{}, nil
	}
	region := l.Options["awslogs-region"]
	if region == "" {
		region = x.r.Region
	}
	group := l.Options["awslogs-group"]
	stream := newID() // without a prefix it is the container's id
	if prefix := l.Options["awslogs-stream-prefix"]; prefix != "" {
		stream = prefix + "/" + d.Name + "/" + x.t.id()
	}
	err := x.c.deps.Logs.EnsureStream(x.r.Account, region, group, stream, l.Options["awslogs-create-group"] == "true")
	if err != nil {
		text := err.Error()
		if e, ok := errors.AsType[*api.Error](err); ok {
			text = e.Code + ": " + e.Message
		}
		return nil, resourceError("failed to validate logger args: create stream has been retried 1 times: failed to create Cloudwatch log stream: %s : exit status 1", text)
	}
	return &lineWriter{line: func(s string) { x.c.deps.Logs.Append(x.r.Account, region, group, stream, time.Now(), s) }}, nil
}

// A lineWriter gives what containers write away by lines.
type lineWriter struct {
	line func(string)
	mu   sync.Mutex
	outs []*lineStream
}

// A lineStream is one of a container's two outputs.
type lineStream struct {
	w   *lineWriter
	buf []byte
}

// maxLine is where the awslogs driver cuts a line, in bytes.
const maxLine = 16 << 10

// stream returns a further output; nil if nobody reads it.
func (w *lineWriter) stream() io.Writer {
	if w.line == nil {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	s := &lineStream{w: w}
	w.outs = append(w.outs, s)
	return s
}

// Write passes on every line that is whole.
func (s *lineStream) Write(p []byte) (int, error) {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	s.buf = append(s.buf, p...)
	for {
		i := bytes.IndexByte(s.buf, '\n')
		if i < 0 && len(s.buf) < maxLine {
			return len(p), nil
		}
		end, next := maxLine, maxLine
		if i >= 0 && i <= maxLine {
			end, next = i, i+1
		}
		s.w.line(string(bytes.TrimSuffix(s.buf[:end], []byte("\r"))))
		s.buf = append([]byte(nil), s.buf[next:]...)
	}
}

// flush passes on what is left without an end of line.
func (w *lineWriter) flush() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range w.outs {
		if len(s.buf) > 0 {
			w.line(string(s.buf))
			s.buf = nil
		}
	}
}
