package api

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
)

// maxBody bounds a request; the largest that AWS takes is a task definition's or a user data's.
const maxBody = 8 << 20

// A Server answers the calls of several services on one address.
type Server struct {
	world    *World
	services []*Service
}

// NewServer returns a handler for all services.
func NewServer(w *World, services ...*Service) *Server {
	return &Server{world: w, services: services}
}

func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		http.Error(w, err.Error(), http.StatusRequestEntityTooLarge)
		return
	}
	call := &Call{RequestID: newRequestID(), Account: s.world.Account}
	call.SourceIP, _, _ = net.SplitHostPort(r.RemoteAddr)
	service, req, err := s.route(r, body, call)
	var out any
	if err == nil {
		out, err = s.answer(r.Context(), service, call, req)
	}
	if err != nil {
		writeError(w, service, call, err)
		return
	}
	writeResult(w, service, call, out)
}

// answer runs the action.
func (s *Server) answer(ctx context.Context, service *Service, call *Call, req *Request) (any, error) {
	action, ok := service.Actions[call.Action]
	if !ok {
		return nil, Errorf("InvalidAction", "The action %s is not valid for this web service: bake's sandbox does not have %s:%s", call.Action, service.Name, call.Action)
	}
	return action(ctx, call, req)
}

// route finds the service, by what the request is signed for, and the action.
func (s *Server) route(r *http.Request, body []byte, call *Call) (*Service, *Request, error) {
	scope := credentialScope(r)
	call.AccessKey, call.Region = scope.key, scope.region
	if prefix, action, ok := strings.Cut(r.Header.Get("X-Amz-Target"), "."); ok {
		for _, v := range s.services {
			if v.Protocol == JSON && v.Target == prefix {
				call.Service, call.Action = v.Name, action
				return v, &Request{Protocol: JSON, Body: body}, nil
			}
		}
		return nil, nil, Errorf("UnknownOperationException", "bake's sandbox does not have the service %s", prefix)
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, nil, Errorf("MalformedQueryString", "%v", err)
	}
	for name, values := range r.URL.Query() {
		form[name] = values
	}
	call.Action = form.Get("Action")
	version := form.Get("Version")
	form.Del("Action")
	form.Del("Version")
	for _, v := range s.services {
		if v.Protocol != JSON && v.Version == version && (scope.service == "" || scope.service == v.Name) {
			call.Service = v.Name
			return v, &Request{Protocol: v.Protocol, Form: form}, nil
		}
	}
	return nil, nil, Errorf("InvalidAction", "bake's sandbox does not have the service %q, version %q", scope.service, version)
}

type scope struct{ key, region, service string }

// credentialScope reads who signed the request, and for what
// (Authorization: AWS4-HMAC-SHA256 Credential=KEY/DATE/REGION/SERVICE/aws4_request, ...).
func credentialScope(r *http.Request) scope {
	_, credential, _ := strings.Cut(r.Header.Get("Authorization"), "Credential=")
	credential, _, _ = strings.Cut(credential, ",")
	parts := strings.Split(credential, "/")
	if len(parts) != 5 {
		return scope{region: "us-east-1"}
	}
	return scope{key: parts[0], region: parts[2], service: parts[3]}
}

func newRequestID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // it cannot fail: crypto/rand
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// asError makes every error one that can be answered; what is not an *Error is a bug of the sandbox.
func asError(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return &Error{Code: "InternalError", Message: err.Error(), Status: http.StatusInternalServerError}
}

func writeError(w http.ResponseWriter, service *Service, call *Call, err error) {
	e := asError(err)
	status := e.Status
	if status == 0 {
		status = http.StatusBadRequest
	}
	w.Header().Set("x-amzn-RequestId", call.RequestID)
	if service == nil || service.Protocol == JSON {
		fields := map[string]any{"__type": e.Code, "message": e.Message}
		for k, v := range e.Fields {
			fields[k] = v
		}
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		w.Header().Set("x-amzn-ErrorType", e.Code)
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(fields) // the client is gone if this fails
		return
	}
	w.Header().Set("Content-Type", "text/xml;charset=UTF-8")
	w.WriteHeader(status)
	if service.Protocol == EC2 {
		fmt.Fprintf(w, "%s<Response><Errors><Error><Code>%s</Code><Message>%s</Message></Error></Errors><RequestID>%s</RequestID></Response>",
			xml.Header, escape(e.Code), escape(e.Message), call.RequestID)
		return
	}
	fault := "Sender"
	if status >= 500 {
		fault = "Receiver"
	}
	fmt.Fprintf(w, "<ErrorResponse xmlns=%q><Error><Type>%s</Type><Code>%s</Code><Message>%s</Message></Error><RequestId>%s</RequestId></ErrorResponse>",
		service.XMLNS, fault, escape(e.Code), escape(e.Message), call.RequestID)
}

func escape(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s)) // a Builder takes everything
	return b.String()
}

func writeResult(w http.ResponseWriter, service *Service, call *Call, out any) {
	w.Header().Set("x-amzn-RequestId", call.RequestID)
	if service.Protocol == JSON {
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		_ = json.NewEncoder(w).Encode(out) // the client is gone if this fails
		return
	}
	data, err := marshal(service, call, out)
	if err != nil {
		writeError(w, service, call, err)
		return
	}
	w.Header().Set("Content-Type", "text/xml;charset=UTF-8")
	_, _ = w.Write(data)
}

// marshal writes out's fields into the element that the protocol wants around them.
func marshal(service *Service, call *Call, out any) ([]byte, error) {
	var inner strings.Builder
	e := xml.NewEncoder(&inner)
	if err := e.EncodeElement(out, xml.StartElement{Name: xml.Name{Local: call.Action + "Result"}}); err != nil {
		return nil, err
	}
	if err := e.Close(); err != nil {
		return nil, err
	}
	name := call.Action + "Response"
	if service.Protocol == Query {
		return fmt.Appendf(nil, "<%s xmlns=%q>%s<ResponseMetadata><RequestId>%s</RequestId></ResponseMetadata></%s>",
			name, service.XMLNS, inner.String(), call.RequestID, name), nil
	}
	// EC2 has no Result element: its members stand beside the request's id.
	fields := strings.TrimSuffix(strings.TrimPrefix(inner.String(), "<"+call.Action+"Result>"), "</"+call.Action+"Result>")
	return fmt.Appendf(nil, "%s<%s xmlns=%q><requestId>%s</requestId>%s</%s>", xml.Header, name, service.XMLNS, call.RequestID, fields, name), nil
}
