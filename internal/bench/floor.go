package main

import (
	"archive/tar"
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// The floor is what a case costs at least: a client that does only this case,
// by the shortest way that golang.org/x/crypto/ssh has, and neither checks,
// keeps nor reports anything. It is this program, called again with floorWord
// and the name of one of floorCases.
const floorWord = "floor"

// floorCases are what the floor can do, by name. Each takes the arguments that
// follow HOST:PORT and the file of the private key.
func floorCases() map[string]func(*floor, []string) error {
	return map[string]func(*floor, []string) error{
		"steps": (*floor).steps, // N
		"put":   (*floor).put,   // FILE TO CHANNELS CONNECTIONS
		"get":   (*floor).get,   // FROM FILE
		"tree":  (*floor).tree,  // FOLDER TO
	}
}

// runFloor does one case: CASE HOST:PORT KEY ARGUMENTS...
func runFloor(args []string) error {
	if len(args) < 3 || floorCases()[args[0]] == nil {
		return fmt.Errorf("floor %q: want CASE HOST:PORT KEY ARGUMENTS", args)
	}
	text, err := os.ReadFile(args[2])
	if err != nil {
		return err
	}
	key, err := ssh.ParsePrivateKey(text)
	if err != nil {
		return err
	}
	f := &floor{addr: args[1], config: &ssh.ClientConfig{User: "root", Auth: []ssh.AuthMethod{ssh.PublicKeys(key)},
		HostKeyCallback: ssh.InsecureIgnoreHostKey()}} // it is our own server, and checking costs
	return floorCases()[args[0]](f, args[3:])
}

// A floor is the client of one run.
type floor struct {
	addr   string
	config *ssh.ClientConfig
}

// dial makes a connection that ends with the process.
func (f *floor) dial() (*ssh.Client, error) {
	c, err := net.Dial("tcp", f.addr)
	if err != nil {
		return nil, err
	}
	cc, chans, reqs, err := ssh.NewClientConn(prompt{c.(*net.TCPConn)}, f.addr, f.config)
	if err != nil {
		return nil, err
	}
	return ssh.NewClient(cc, chans, reqs), nil
}

// prompt acknowledges what arrives at once: OpenSSH's server waits for that
// until its first command.
type prompt struct{ *net.TCPConn }

func (p prompt) Read(b []byte) (int, error) {
	if raw, err := p.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_QUICKACK, 1) })
	}
	return p.TCPConn.Read(b)
}

// steps runs commands one after another, each in a session of its own that
// was opened while the one before it ran.
func (f *floor) steps(args []string) error {
	n, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	c, err := f.dial()
	if err != nil {
		return err
	}
	ahead := make(chan *ssh.Session, 1)
	var opening errgroup.Group
	opening.Go(func() error {
		defer close(ahead)
		for range n {
			s, err := c.NewSession()
			if err != nil {
				return err
			}
			ahead <- s
		}
		return nil
	})
	i := 0
	for s := range ahead {
		if err := s.Run(stepCommand(i)); err != nil {
			return err
		}
		i++
	}
	return opening.Wait()
}

// put writes a file, cut into as many ranges as there are channels.
func (f *floor) put(args []string) error {
	from, to := args[0], args[1]
	channels, err := strconv.Atoi(args[2])
	if err != nil {
		return err
	}
	connections, err := strconv.Atoi(args[3])
	if err != nil {
		return err
	}
	file, err := os.Open(from)
	if err != nil {
		return err
	}
	info, err := file.Stat()
	if err != nil {
		return err
	}
	const unit = 1 << 20
	each := (info.Size()/unit + int64(channels)) / int64(channels)
	var work errgroup.Group
	for i := range int64(connections) {
		work.Go(func() error {
			c, err := f.dial()
			if err != nil {
				return err
			}
			var ranges errgroup.Group
			for k := i; k < int64(channels); k += int64(connections) {
				ranges.Go(func() error {
					return feed(c, fmt.Sprintf("dd of=%s bs=%d seek=%d conv=notrunc iflag=fullblock status=none", to, unit, each*k),
						io.NewSectionReader(file, each*unit*k, each*unit))
				})
			}
			return ranges.Wait()
		})
	}
	return work.Wait()
}

// feed runs a command that reads all of from.
func feed(c *ssh.Client, command string, from io.Reader) error {
	s, err := c.NewSession()
	if err != nil {
		return err
	}
	in, err := s.StdinPipe()
	if err != nil {
		return err
	}
	if err := s.Start(command); err != nil {
		return err
	}
	if _, err := io.CopyBuffer(in, struct{ io.Reader }{from}, make([]byte, 256<<10)); err != nil {
		return err
	}
	return errors.Join(in.Close(), s.Wait())
}

// get reads a file through one channel.
func (f *floor) get(args []string) error {
	c, err := f.dial()
	if err != nil {
		return err
	}
	s, err := c.NewSession()
	if err != nil {
		return err
	}
	file, err := os.Create(args[1])
	if err != nil {
		return err
	}
	s.Stdout = file
	return errors.Join(s.Run("cat "+args[0]), file.Close())
}

// tree writes a folder as one tar stream.
func (f *floor) tree(args []string) error {
	c, err := f.dial()
	if err != nil {
		return err
	}
	out, in := io.Pipe()
	go func() {
		w := bufio.NewWriterSize(in, 256<<10)
		in.CloseWithError(errors.Join(pack(w, args[0]), w.Flush()))
	}()
	return feed(c, "mkdir -p "+args[1]+" && tar -C "+args[1]+" -xf -", out)
}

// pack writes the regular files and folders below root.
func pack(w io.Writer, root string) error {
	tw := tar.NewWriter(w)
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		h, err := tar.FileInfoHeader(info, "")
		if err != nil {
			return err
		}
		if h.Name, err = filepath.Rel(root, path); err != nil {
			return err
		}
		if err := tw.WriteHeader(h); err != nil || !info.Mode().IsRegular() {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		_, err = tw.Write(content)
		return err
	})
	return errors.Join(err, tw.Close())
}
