package api

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/aws/smithy-go/encoding/cbor"
)

// maxBody bounds a request; the largest are layer parts of ECR, in base64.
const maxBody = 32 << 20

// readBody returns the body as it was sent, which is what is signed, and as it
// is meant: clients may compress it.
func readBody(w http.ResponseWriter, r *http.Request) (sent, meant []byte, err error) {
	sent, err = io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		return nil, nil, &Error{Code: "RequestEntityTooLarge", Message: err.Error(), Status: http.StatusRequestEntityTooLarge}
	}
	if r.Header.Get("Content-Encoding") != "gzip" {
		return sent, sent, nil
	}
	z, err := gzip.NewReader(bytes.NewReader(sent))
	if err == nil {
		meant, err = io.ReadAll(io.LimitReader(z, maxBody))
	}
	if err != nil {
		return nil, nil, Errorf("SerializationException", "reading the compressed body: %v", err)
	}
	return sent, meant, nil
}

// spoken is the protocol that a request's headers tell.
func spoken(r *http.Request) Protocol {
	switch {
	case r.Header.Get("Smithy-Protocol") == "rpc-v2-cbor":
		return CBOR
	case r.Header.Get("X-Amz-Target") != "":
		return JSON
	}
	return Query
}

// route finds the service and the action that a request is for.
func (s *Server) route(r *http.Request, body []byte, sig *signature, call *Call) (*Service, *Request, error) {
	if r.Header.Get("Smithy-Protocol") == "rpc-v2-cbor" {
		return s.routeCBOR(r, body, call)
	}
	if prefix, action, ok := cutLast(r.Header.Get("X-Amz-Target")); ok {
		call.protocol, call.contentType = JSON, r.Header.Get("Content-Type")
		v := s.target(prefix)
		if v == nil {
			return nil, nil, Errorf("UnknownOperationException", "bake's sandbox does not have the service %s", prefix)
		}
		call.Service, call.Action = v.Name, action
		return v, &Request{Protocol: JSON, Body: body}, nil
	}
	return s.routeForm(r, body, sig, call)
}

func (s *Server) routeForm(r *http.Request, body []byte, sig *signature, call *Call) (*Service, *Request, error) {
	call.protocol = Query
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, nil, Errorf("MalformedQueryString", "%v", err)
	}
	for name, values := range r.URL.Query() {
		if !strings.HasPrefix(name, "X-Amz-") {
			form[name] = values
		}
	}
	version := form.Get("Version")
	call.Action = form.Get("Action")
	form.Del("Action")
	form.Del("Version")
	signedFor := ""
	if sig != nil {
		signedFor = sig.service
	}
	for _, v := range s.services {
		if v.Version == "" || signedFor != "" && signedFor != v.Name || signedFor == "" && version != v.Version {
			continue
		}
		call.Service, call.protocol = v.Name, v.Protocol
		if version != v.Version {
			return nil, nil, Errorf("NoSuchVersion", "The requested version (%s) of service %s does not exist: bake's sandbox has %s", version, v.Name, v.Version)
		}
		if call.Action == "" {
			return nil, nil, Errorf("MissingAction", "The request must contain the parameter Action")
		}
		return v, &Request{Protocol: v.Protocol, Form: form}, nil
	}
	return nil, nil, Errorf("InvalidAction", "bake's sandbox does not have the service %q, version %q", signedFor, version)
}

// routeCBOR reads /service/TARGET/operation/ACTION.
func (s *Server) routeCBOR(r *http.Request, body []byte, call *Call) (*Service, *Request, error) {
	call.protocol = CBOR
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	if len(parts) != 4 || parts[0] != "service" || parts[2] != "operation" {
		return nil, nil, Errorf("UnknownOperationException", "the path %s is not /service/NAME/operation/ACTION", r.URL.Path)
	}
	v := s.target(parts[1])
	if v == nil {
		return nil, nil, Errorf("UnknownOperationException", "bake's sandbox does not have the service %s", parts[1])
	}
	call.Service, call.Action = v.Name, parts[3]
	if len(body) == 0 {
		return v, &Request{Protocol: CBOR}, nil
	}
	value, err := cbor.Decode(body)
	if err != nil {
		return nil, nil, Errorf("SerializationException", "%v", err)
	}
	fields, err := fromCBOR(value)
	if err != nil {
		return nil, nil, Errorf("SerializationException", "%v", err)
	}
	asJSON, err := json.Marshal(fields)
	return v, &Request{Protocol: CBOR, Body: asJSON}, err
}

// target finds a service by its JSON name.
func (s *Server) target(name string) *Service {
	i := slices.IndexFunc(s.services, func(v *Service) bool { return v.Target != "" && v.Target == name })
	if i < 0 {
		return nil
	}
	return s.services[i]
}

func cutLast(s string) (before, after string, ok bool) {
	i := strings.LastIndexByte(s, '.')
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+1:], true
}
