package rootfs

import "bake/internal/rootfs/wire"

// A spare is an init on its way: it starts while another container works, and
// waits to be told what its root is.
type spare struct {
	ready chan struct{} // closed when the fields below are set
	ct    *Container
	err   error
}

// prepare starts the next init in the background. Whoever has started two
// containers will start more, as a rule; for one alone it would be for nothing.
func (h *Host) prepare() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.starts++
	if h.closed || h.spare != nil || h.starts < 2 {
		return
	}
	s := &spare{ready: make(chan struct{})}
	h.spare = s
	go func() {
		s.ct, s.err = h.spawn()
		close(s.ready)
	}()
}

// init returns a running init that is nobody else's.
func (h *Host) init() (*Container, error) {
	defer h.prepare()
	s := h.takeSpare()
	if s == nil {
		return h.spawn()
	}
	<-s.ready
	if s.err != nil {
		return nil, s.err
	}
	select {
	case <-s.ct.done: // somebody killed it
		s.ct.Close()
		return h.spawn()
	default:
		return s.ct, nil
	}
}

func (h *Host) takeSpare() *spare {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.spare
	h.spare = nil
	return s
}

// closeSpare ends the init that waits, if there is one.
func (h *Host) closeSpare() {
	s := h.takeSpare()
	if s == nil {
		return
	}
	if <-s.ready; s.err == nil {
		s.ct.Close()
	}
}

// spawn starts an init.
func (h *Host) spawn() (*Container, error) {
	conn, far, err := wire.Pair()
	if err != nil {
		return nil, err
	}
	defer far.Close()
	ct := &Container{peer: peer{conn: conn}, done: make(chan struct{})}
	if err := h.startInit(ct, far); err != nil {
		conn.Close()
		return nil, err
	}
	return ct, nil
}
