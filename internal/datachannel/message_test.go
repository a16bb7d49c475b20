package datachannel

import "testing"

func TestAMessageHasTheLayoutOfTheDataChannel(t *testing.T) {
	m := New(Output, 7, Bytes, []byte("hello"))
	data := m.Encode()
	if len(data) != 125 || string(data[4:22]) != "output_stream_data" || data[3] != 116 || data[55] != 7 || data[115] != 1 || data[119] != 5 || string(data[120:]) != "hello" {
		t.Errorf("%x", data)
	}
	got, err := Decode(data)
	if err != nil || got.Type != m.Type || got.Sequence != 7 || got.UUID() != m.UUID() || string(got.Payload) != "hello" {
		t.Errorf("%+v, %v", got, err)
	}
	data[121] ^= 1
	if _, err := Decode(data); err == nil {
		t.Error("a payload that is not what its digest says was taken")
	}
}
