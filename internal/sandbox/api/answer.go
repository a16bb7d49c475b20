package api

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/aws/smithy-go/encoding/cbor"
)

// A reply is an answer as bytes.
type reply struct {
	status      int
	contentType string
	code        string // of an error
	body        []byte
}

// result encodes what an action returned.
func result(service *Service, call *Call, out any) (*reply, error) {
	switch call.protocol {
	case EC2, Query:
		body, err := marshalXML(service, call, out)
		return &reply{status: http.StatusOK, contentType: "text/xml;charset=UTF-8", body: body}, err
	}
	t, err := tree(reflect.ValueOf(out))
	if err != nil {
		return nil, err
	}
	body, contentType, err := call.encode(t)
	return &reply{status: http.StatusOK, contentType: contentType, body: body}, err
}

// encode writes a tree as the call's protocol has it.
func (c *Call) encode(t any) (body []byte, contentType string, err error) {
	if c.protocol == CBOR {
		v, err := asCBOR(t)
		if err != nil {
			return nil, "", err
		}
		return cbor.Encode(v), "application/cbor", nil
	}
	var b bytes.Buffer
	err = writeJSON(&b, t)
	contentType = "application/x-amz-json-1.1"
	if strings.HasPrefix(c.contentType, "application/x-amz-json-1.0") {
		contentType = "application/x-amz-json-1.0"
	}
	return b.Bytes(), contentType, err
}

// marshalXML writes an answer's fields into the elements that the protocol wants around them.
func marshalXML(service *Service, call *Call, out any) ([]byte, error) {
	var w xmlWriter
	if err := w.fields(reflect.ValueOf(out)); err != nil {
		return nil, err
	}
	name := call.Action + "Response"
	if call.protocol == Query {
		return fmt.Appendf(nil, "<%s xmlns=%q><%sResult>%s</%sResult><ResponseMetadata><RequestId>%s</RequestId></ResponseMetadata></%s>",
			name, service.XMLNS, call.Action, w.b.String(), call.Action, call.RequestID, name), nil
	}
	// EC2 has no Result element: its members stand beside the request's id.
	return fmt.Appendf(nil, "%s<%s xmlns=%q><requestId>%s</requestId>%s</%s>",
		xml.Header, name, service.XMLNS, call.RequestID, w.b.String(), name), nil
}

// asError makes every error one that can be answered; what is not an *Error is a bug of the sandbox.
func asError(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return &Error{Code: "InternalError", Message: err.Error(), Status: http.StatusInternalServerError}
}

// failure encodes an error.
func failure(service *Service, call *Call, err error) *reply {
	e := asError(err)
	r := &reply{status: e.Status, code: e.Code, contentType: "text/xml;charset=UTF-8"}
	if r.status == 0 {
		r.status = http.StatusBadRequest
	}
	switch call.protocol {
	case EC2:
		r.body = fmt.Appendf(nil, "%s<Response><Errors><Error><Code>%s</Code><Message>%s</Message></Error></Errors><RequestID>%s</RequestID></Response>",
			xml.Header, escape(e.Code), escape(e.Message), call.RequestID)
	case Query:
		fault, xmlns := "Sender", "http://webservices.amazon.com/AWSFault/2005-15-09"
		if r.status >= 500 {
			fault = "Receiver"
		}
		if service != nil {
			xmlns = service.XMLNS
		}
		r.body = fmt.Appendf(nil, "<ErrorResponse xmlns=%q><Error><Type>%s</Type><Code>%s</Code><Message>%s</Message></Error><RequestId>%s</RequestId></ErrorResponse>",
			xmlns, fault, escape(e.Code), escape(e.Message), call.RequestID)
	default:
		r.body, r.contentType = call.encodeError(e)
	}
	return r
}

func (c *Call) encodeError(e *Error) (body []byte, contentType string) {
	fields := object{{"__type", e.Code}, {"message", e.Message}, {"Message", e.Message}}
	if c.protocol == CBOR { // whose clients take no member twice
		fields = fields[:2]
	}
	for _, name := range slices.Sorted(maps.Keys(e.Fields)) {
		t, err := tree(reflect.ValueOf(e.Fields[name]))
		if err == nil {
			fields = append(fields, member{name, t})
		}
	}
	body, contentType, err := c.encode(fields)
	if err != nil { // of Fields only, which tree has let through
		body, _ = json.Marshal(map[string]string{"__type": "InternalError", "message": err.Error()})
	}
	return body, contentType
}

// send writes a reply, with the headers that clients look for.
func (r *reply) send(w http.ResponseWriter, call *Call) {
	h := w.Header()
	h.Set("x-amzn-RequestId", call.RequestID)
	h.Set("Content-Type", r.contentType)
	h.Set("Content-Length", strconv.Itoa(len(r.body)))
	switch call.protocol {
	case JSON:
		h.Set("x-amz-crc32", strconv.FormatUint(uint64(crc32.ChecksumIEEE(r.body)), 10))
		if r.code != "" {
			h.Set("x-amzn-ErrorType", r.code)
		}
	case CBOR:
		h.Set("smithy-protocol", "rpc-v2-cbor")
		if r.code != "" {
			h.Set("x-amzn-query-error", r.code+";Sender")
		}
	}
	if r.status == http.StatusServiceUnavailable || r.status == http.StatusTooManyRequests {
		h.Set("Retry-After", "1")
	}
	w.WriteHeader(r.status)
	_, _ = w.Write(r.body) // the client is gone if this fails
}

func newRequestID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // it cannot fail: crypto/rand
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
