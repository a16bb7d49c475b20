// Package datachannel is the wire format of Session Manager's data channel: what
// travels over a session's WebSocket between a client and the agent of an
// instance or a container. bake is a client of it, the sandbox the other side.
package datachannel

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

// The types of messages.
const (
	Input       = "input_stream_data"  // from the client
	Output      = "output_stream_data" // from the agent
	Acknowledge = "acknowledge"        // of one of those
	Closed      = "channel_closed"     // by the agent
	Pause       = "pause_publication"  // the client is to send nothing
	Start       = "start_publication"  // until this comes
)

// The types of payloads.
const (
	Bytes             = 1 // either way
	Size              = 3 // of the terminal
	HandshakeRequest  = 5
	HandshakeResponse = 6
	HandshakeComplete = 7
	Flag              = 10 // four bytes
)

// The flags.
const (
	Disconnected = 1 // the connection to the port has ended, the session goes on
	Terminate    = 2 // the client ends the session
	Unreachable  = 3 // the agent cannot connect to the port
)

// maxPayload is how many bytes one message carries.
const maxPayload = 1024

// An Opening is the first thing a client sends over the WebSocket, as JSON.
type Opening struct {
	MessageSchemaVersion, RequestId, TokenValue, ClientId, ClientVersion string
}

// An Acknowledgement is the payload of an Acknowledge message.
type Acknowledgement struct {
	AcknowledgedMessageType           string
	AcknowledgedMessageId             string
	AcknowledgedMessageSequenceNumber int64
	IsSequentialMessage               bool
}

// headerLength is what stands in a message's first field: the bytes up to the
// length of the payload.
const headerLength = 116

// A Message is one of the data channel's: a header of fixed length, big endian,
// and a payload.
type Message struct {
	Type        string
	Sequence    int64
	Flags       uint64
	ID          [16]byte
	PayloadType uint32
	Payload     []byte
}

// New returns a message with an id of its own.
func New(kind string, sequence int64, payloadType uint32, payload []byte) Message {
	m := Message{Type: kind, Sequence: sequence, PayloadType: payloadType, Payload: payload}
	_, _ = rand.Read(m.ID[:]) // it cannot fail: crypto/rand
	m.ID[6], m.ID[8] = m.ID[6]&0x0f|0x40, m.ID[8]&0x3f|0x80
	return m
}

// UUID is the message's id as text.
func (m Message) UUID() string {
	return fmt.Sprintf("%x-%x-%x-%x-%x", m.ID[:4], m.ID[4:6], m.ID[6:8], m.ID[8:10], m.ID[10:])
}

// Encode writes the message. The second half of the id comes first.
func (m Message) Encode() []byte {
	var b bytes.Buffer
	word := func(n uint32) { b.Write(binary.BigEndian.AppendUint32(nil, n)) }
	long := func(n uint64) { b.Write(binary.BigEndian.AppendUint64(nil, n)) }
	word(headerLength)
	fmt.Fprintf(&b, "%-32s", m.Type)
	word(1) // version of the schema
	long(uint64(time.Now().UnixMilli()))
	long(uint64(m.Sequence))
	long(m.Flags)
	b.Write(m.ID[8:])
	b.Write(m.ID[:8])
	sum := sha256.Sum256(m.Payload)
	b.Write(sum[:])
	word(m.PayloadType)
	word(uint32(len(m.Payload)))
	b.Write(m.Payload)
	return b.Bytes()
}

// Ack returns the acknowledgement of m.
func (m Message) Ack() Message {
	payload, _ := json.Marshal(Acknowledgement{m.Type, m.UUID(), m.Sequence, true}) // of text and numbers
	return New(Acknowledge, 0, 0, payload)
}

// Decode reads a message and checks its payload's digest.
func Decode(data []byte) (Message, error) {
	var m Message
	if len(data) < headerLength+4 || binary.BigEndian.Uint32(data) != headerLength {
		return m, errors.New("malformed message on the data channel")
	}
	m.Type = strings.TrimRight(string(data[4:36]), " \x00")
	m.Sequence = int64(binary.BigEndian.Uint64(data[48:]))
	m.Flags = binary.BigEndian.Uint64(data[56:])
	copy(m.ID[8:], data[64:72])
	copy(m.ID[:8], data[72:80])
	m.PayloadType = binary.BigEndian.Uint32(data[112:])
	m.Payload = data[headerLength+4:]
	if int(binary.BigEndian.Uint32(data[116:])) != len(m.Payload) {
		return m, errors.New("message on the data channel with a wrong length")
	}
	if sum := sha256.Sum256(m.Payload); !bytes.Equal(sum[:], data[80:112]) {
		return m, errors.New("message on the data channel with a wrong digest")
	}
	return m, nil
}
