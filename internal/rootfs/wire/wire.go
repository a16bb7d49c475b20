//go:build linux

// Package wire carries messages and file descriptors between bake and its
// process inside a root. It uses the standard library only, because that
// process must be ready before larger dependencies are initialised.
package wire

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"syscall"
)

// maxMessage bounds what one message may ask the other side to hold.
const maxMessage = 16 << 20

// A Conn is one end of a connection. One goroutine may send while another
// receives. It is also the byte stream that follows a message.
type Conn struct {
	file *os.File
	raw  syscall.RawConn
}

// Pair returns both ends of a new connection; the second is for another process.
func Pair() (*Conn, *os.File, error) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("socketpair: %w", err)
	}
	c, err := New(fds[0])
	if err != nil {
		syscall.Close(fds[1])
		return nil, nil, err
	}
	return c, os.NewFile(uintptr(fds[1]), "peer"), nil
}

// New makes a connection of the descriptor of one end of a Pair, and owns it.
func New(fd int) (*Conn, error) {
	// Without this the runtime could not end a call that waits.
	if err := syscall.SetNonblock(fd, true); err != nil {
		return nil, fmt.Errorf("opening a connection: %w", err)
	}
	f := os.NewFile(uintptr(fd), "connection")
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, err
	}
	return &Conn{file: f, raw: raw}, nil
}

// Read reads bytes after a message.
func (c *Conn) Read(p []byte) (int, error) { return c.file.Read(p) }

// Write writes bytes after a message.
func (c *Conn) Write(p []byte) (int, error) { return c.file.Write(p) }

// Close ends the connection; the other side reads io.EOF, and calls that wait here return.
func (c *Conn) Close() error { return c.file.Close() }

// CloseWrite tells the other side that nothing more comes.
func (c *Conn) CloseWrite() error {
	var serr error
	err := c.raw.Control(func(fd uintptr) { serr = syscall.Shutdown(int(fd), syscall.SHUT_WR) })
	if err != nil {
		return err
	}
	return serr
}

// Send sends v as JSON, with copies of the files' descriptors.
func (c *Conn) Send(v any, files ...*os.File) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	msg := append(binary.LittleEndian.AppendUint32(nil, uint32(len(body))), body...)
	var oob []byte
	if len(files) > 0 {
		fds := make([]int, len(files))
		for i, f := range files {
			fds[i] = int(f.Fd())
		}
		oob = syscall.UnixRights(fds...)
	}
	var n int
	var serr error
	err = c.raw.Write(func(fd uintptr) bool {
		n, serr = syscall.SendmsgN(int(fd), msg, oob, nil, syscall.MSG_NOSIGNAL)
		return serr != syscall.EAGAIN
	})
	if err == nil {
		err = serr
	}
	if err != nil {
		return fmt.Errorf("sending a message: %w", err)
	}
	if n < len(msg) {
		_, err = c.file.Write(msg[n:])
	}
	return err
}

// Recv waits for a message, decodes it into v and returns the descriptors that
// came with it. At the end of the connection it returns io.EOF.
func (c *Conn) Recv(v any) ([]int, error) {
	var head [4]byte
	n, files, err := c.recvmsg(head[:])
	if err == nil && n < len(head) {
		_, err = io.ReadFull(c.file, head[n:])
	}
	if err != nil {
		closeAll(files)
		return nil, err
	}
	size := binary.LittleEndian.Uint32(head[:])
	if size > maxMessage {
		closeAll(files)
		return nil, fmt.Errorf("message of %d bytes is too long", size)
	}
	body := make([]byte, size)
	if _, err := io.ReadFull(c.file, body); err != nil {
		closeAll(files)
		return nil, err
	}
	if err := json.Unmarshal(body, v); err != nil {
		closeAll(files)
		return nil, fmt.Errorf("reading a message: %w", err)
	}
	return files, nil
}

func (c *Conn) recvmsg(p []byte) (int, []int, error) {
	oob := make([]byte, syscall.CmsgSpace(8*4))
	var n, oobn int
	var serr error
	err := c.raw.Read(func(fd uintptr) bool {
		for {
			n, oobn, _, _, serr = syscall.Recvmsg(int(fd), p, oob, syscall.MSG_CMSG_CLOEXEC)
			if serr != syscall.EINTR {
				return serr != syscall.EAGAIN
			}
		}
	})
	if err == nil {
		err = serr
	}
	if err != nil {
		return 0, nil, err
	}
	if n == 0 {
		return 0, nil, io.EOF
	}
	files, err := rights(oob[:oobn])
	return n, files, err
}

func rights(oob []byte) ([]int, error) {
	if len(oob) == 0 {
		return nil, nil
	}
	msgs, err := syscall.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, err
	}
	var files []int
	for i := range msgs {
		fds, err := syscall.ParseUnixRights(&msgs[i])
		if err != nil {
			return files, err
		}
		files = append(files, fds...)
	}
	return files, nil
}

func closeAll(fds []int) {
	for _, fd := range fds {
		syscall.Close(fd)
	}
}
