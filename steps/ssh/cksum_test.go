package ssh

import (
	"math/rand/v2"
	"testing"
)

func TestCksumIsThatOfPOSIX(t *testing.T) {
	for text, want := range map[string]uint32{"": 4294967295, "a": 1220704766, "123456789": 930766865} { // cksum(1)
		if got := cksum(0).update([]byte(text), make([]byte, 64)).sum(int64(len(text))); got != want {
			t.Errorf("%q: %d, want %d", text, got, want)
		}
	}
}

func TestCksumOfPartsIsThatOfTheWhole(t *testing.T) {
	data := make([]byte, 100_000)
	_, _ = rand.NewChaCha8([32]byte{}).Read(data)
	scratch := make([]byte, 999)
	whole := cksum(0).update(data, scratch)
	for _, cut := range []int{0, 1, 8, 4095, 65536, len(data)} {
		a, b := cksum(0).update(data[:cut], scratch), cksum(0).update(data[cut:], scratch)
		if got := a.then(b, int64(len(data)-cut)); got != whole {
			t.Errorf("cut at %d: %08x, want %08x", cut, got, whole)
		}
	}
}
