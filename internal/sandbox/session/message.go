package session

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"
)

// The types of messages.
const (
	typeInput       = "input_stream_data"
	typeOutput      = "output_stream_data"
	typeAcknowledge = "acknowledge"
	typeClosed      = "channel_closed"
)

// The types of payloads.
const (
	payloadOutput            = 1 // bytes, either way
	payloadSize              = 3 // of the terminal
	payloadHandshakeRequest  = 5
	payloadHandshakeResponse = 6
	payloadHandshakeComplete = 7
	payloadFlag              = 10
)

// flagTerminate is the flag with which a client ends a session.
const flagTerminate = 2

// headerLength is what stands in a message's first field: the bytes up to the
// length of the payload.
const headerLength = 116

// A message is one of the data channel's: a header of fixed length, big endian,
// and a payload.
type message struct {
	Type        string
	Sequence    int64
	Flags       uint64
	ID          [16]byte
	PayloadType uint32
	Payload     []byte
}

func newMessage(kind string, sequence int64, payloadType uint32, payload []byte) message {
	m := message{Type: kind, Sequence: sequence, PayloadType: payloadType, Payload: payload}
	_, _ = rand.Read(m.ID[:]) // it cannot fail: crypto/rand
	m.ID[6], m.ID[8] = m.ID[6]&0x0f|0x40, m.ID[8]&0x3f|0x80
	return m
}

// uuid is the message's id as text.
func (m message) uuid() string {
	return fmt.Sprintf("%x-%x-%x-%x-%x", m.ID[:4], m.ID[4:6], m.ID[6:8], m.ID[8:10], m.ID[10:])
}

// encode writes the message. The second half of the id comes first.
func (m message) encode() []byte {
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

// decode reads a message and checks its payload's digest.
func decode(data []byte) (message, error) {
	var m message
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
