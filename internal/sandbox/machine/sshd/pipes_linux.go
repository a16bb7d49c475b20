package sshd

import (
	"io"
	"os"
	"os/exec"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"bake/internal/drain"
)

// pipes are our ends of a command's standard streams.
type pipes struct {
	in     *os.File
	outs   []output
	far    []*os.File // the command's ends
	copies sync.WaitGroup
	ended  chan struct{}
}

type output struct {
	from *os.File
	to   io.Writer
}

// open makes three pipes and gives the command its ends.
func (p *pipes) open(cmd *exec.Cmd, channel ssh.Channel) error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	cmd.Stdin, p.in = r, w
	p.far = append(p.far, r)
	for _, to := range []io.Writer{channel, channel.Stderr()} {
		r, w, err := os.Pipe()
		if err != nil {
			p.close()
			return err
		}
		p.outs, p.far = append(p.outs, output{r, to}), append(p.far, w)
	}
	cmd.Stdout, cmd.Stderr = p.far[1], p.far[2]
	return nil
}

func (p *pipes) closeFar() {
	for _, f := range p.far {
		f.Close()
	}
	p.far = nil
}

func (p *pipes) close() {
	p.closeFar()
	if p.in != nil {
		p.in.Close()
	}
	for _, o := range p.outs {
		o.from.Close()
	}
}

// copy begins to move what is read and written.
func (p *pipes) copy(channel ssh.Channel) {
	p.ended = make(chan struct{})
	terminal := len(p.outs) == 1
	go func() {
		// Not waited for: the peer may never say that nothing more comes.
		_, _ = io.Copy(p.in, channel)
		if !terminal {
			p.in.Close()
		}
	}()
	for _, o := range p.outs {
		p.copies.Go(func() { p.output(o) })
	}
}

// output copies until every holder of the other end is gone, or the command
// itself has ended and all that was written until then has been passed on.
func (p *pipes) output(o output) {
	_, err := io.Copy(o.to, o.from)
	select {
	case <-p.ended:
		drain.File(o.to, o.from)
	default:
		if err != nil {
			o.from.Close() // the peer is gone: who writes shall know
		}
	}
}

// finish returns when all that the command wrote has been passed on.
func (p *pipes) finish() {
	close(p.ended)
	for _, o := range p.outs {
		_ = o.from.SetReadDeadline(time.Now())
	}
	p.copies.Wait()
	p.close()
}
