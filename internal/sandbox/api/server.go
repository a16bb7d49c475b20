package api

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"
)

// A Server answers the calls of several services on one address. Set its
// fields before it serves.
type Server struct {
	world    *World
	services []*Service

	// Keys knows the callers; nil: all are the default account's.
	Keys Keys
	// Authorize refuses a call with an *Error; nil: everybody may do everything.
	Authorize func(ctx context.Context, c *Call, r *Request) error
	// State is what GET /_sandbox/state answers. May be nil.
	State func() (map[string]json.RawMessage, error)
	// Faults go wrong on demand, and count calls: the world's, if it has any.
	Faults *Faults
}

// NewServer returns a handler for all services.
func NewServer(w *World, services ...*Service) *Server {
	faults := w.Faults
	if faults == nil {
		faults = new(Faults)
	}
	return &Server{world: w, services: services, Faults: faults}
}

// Add joins another service; not while it serves.
func (s *Server) Add(services ...*Service) { s.services = append(s.services, services...) }

func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, "/_sandbox/") {
		s.control(w, r)
		return
	}
	call := newCall(r)
	service, req, err := s.admit(w, r, call)
	if err != nil {
		failure(service, call, err).send(w, call)
		return
	}
	call.Fresh = s.Faults.fresh(call)
	hits, over := s.Faults.Meet(call)
	// AWS carries out what it was asked, whether or not the client waits for the answer.
	reply := s.do(context.WithoutCancel(r.Context()), service, call, req, hits)
	if reply == nil {
		over("")
		panic(http.ErrAbortHandler) // cuts the connection
	}
	over(reply.code)
	if slices.ContainsFunc(hits, func(f Fault) bool { return f.Kind == FaultLost }) {
		panic(http.ErrAbortHandler)
	}
	reply.send(w, call)
}

// Refuse answers a request with an error, in the words of its protocol, and does
// nothing: no fault befalls it, and it is not counted.
func (s *Server) Refuse(w http.ResponseWriter, r *http.Request, why *Error) {
	call := newCall(r)
	service, _, err := s.admit(w, r, call)
	if err == nil {
		err = why
	}
	failure(service, call, err).send(w, call)
}

func newCall(r *http.Request) *Call {
	call := &Call{RequestID: newRequestID(), Region: "us-east-1", protocol: spoken(r)}
	call.SourceIP, _, _ = net.SplitHostPort(r.RemoteAddr)
	return call
}

// admit reads a request, finds what it is for, and who calls.
func (s *Server) admit(w http.ResponseWriter, r *http.Request, call *Call) (*Service, *Request, error) {
	sent, meant, err := readBody(w, r)
	if err != nil {
		return nil, nil, err
	}
	sig, err := readSignature(r)
	if err != nil {
		return nil, nil, err
	}
	if sig != nil {
		call.Region = sig.region
	}
	service, req, err := s.route(r, meant, sig, call)
	if err != nil {
		return service, nil, err
	}
	if len(s.world.Regions) > 0 && !slices.Contains(s.world.Regions, call.Region) {
		return service, nil, Errorf("InvalidRegion", "bake's sandbox does not have the region %s; it has %s", call.Region, strings.Join(s.world.Regions, ", "))
	}
	return service, req, s.identify(r, sent, sig, call, service.Unsigned[call.Action])
}

// do carries a call out, unless a fault keeps it from that; nil: the connection is cut.
func (s *Server) do(ctx context.Context, service *Service, call *Call, req *Request, hits []Fault) *reply {
	for _, f := range hits {
		switch f.Kind {
		case FaultSlow:
			time.Sleep(time.Duration(f.Delay))
		case FaultDrop:
			return nil
		case FaultThrottle:
			return failure(service, call, throttled(call.protocol))
		case FaultError:
			return failure(service, call, f.Asked())
		}
	}
	out, err := s.act(ctx, service, call, req)
	if err != nil {
		return failure(service, call, err)
	}
	answer, err := result(service, call, out)
	if err != nil {
		return failure(service, call, err)
	}
	return answer
}

// act runs the action, and keeps what it changed before the answer is sent.
func (s *Server) act(ctx context.Context, service *Service, call *Call, req *Request) (any, error) {
	action, ok := service.Actions[call.Action]
	if !ok {
		code := "InvalidAction"
		if call.protocol == JSON || call.protocol == CBOR {
			code = "UnknownOperationException"
		}
		return nil, Errorf(code, "The action %s is not valid for this web service: bake's sandbox does not have %s:%s", call.Action, service.Name, call.Action)
	}
	if s.Authorize != nil {
		if err := s.Authorize(ctx, call, req); err != nil {
			return nil, err
		}
	}
	out, err := action(ctx, call, req)
	if err == nil {
		s.Faults.noteValues(call, req, out)
	}
	if s.world.Changed != nil && !isRead(call.Action) {
		if kept := s.world.Changed(); kept != nil && err == nil {
			err = kept
		}
	}
	return out, err
}
