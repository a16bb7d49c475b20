package ssh

import (
	"encoding/binary"
	"hash/crc32"
	"math/bits"
)

// A cksum is the register of the CRC that POSIX's cksum(1) computes. It is
// the one checksum that every machine has, and the fastest: the polynomial is
// that of Ethernet, but bits are taken most significant first. Reflecting each
// byte lets the processor's instructions for the usual order do the work.
type cksum uint32

// update returns the register after p.
func (c cksum) update(p, scratch []byte) cksum {
	state := ^bits.Reverse32(uint32(c))
	for len(p) > 0 {
		n := min(len(p), len(scratch))
		reflect(scratch[:n], p[:n])
		state = crc32.Update(state, crc32.IEEETable, scratch[:n])
		p = p[n:]
	}
	return cksum(bits.Reverse32(^state))
}

// reflect writes the bytes of p into out, the bits of each in reverse.
func reflect(out, p []byte) {
	for len(p) >= 8 {
		binary.LittleEndian.PutUint64(out, bits.ReverseBytes64(bits.Reverse64(binary.LittleEndian.Uint64(p))))
		out, p = out[8:], p[8:]
	}
	for i, b := range p {
		out[i] = bits.Reverse8(b)
	}
}

// then returns the register after n more bytes whose own register is next.
func (c cksum) then(next cksum, n int64) cksum {
	return cksum(multiply(uint32(c), power(uint64(n)*8))) ^ next
}

// sum returns what cksum(1) prints for size bytes.
func (c cksum) sum(size int64) uint32 {
	var length []byte
	for n := uint64(size); n > 0; n >>= 8 {
		length = append(length, byte(n))
	}
	return ^uint32(c.update(length, make([]byte, 8)))
}

const polynomial = 0x04C11DB7

// multiply multiplies polynomials over GF(2), modulo the CRC's.
func multiply(a, b uint32) uint32 {
	var product uint32
	for b != 0 {
		if b&1 != 0 {
			product ^= a
		}
		b >>= 1
		carry := a >> 31
		a = a<<1 ^ carry*polynomial
	}
	return product
}

// power returns x to the n, modulo the CRC's polynomial.
func power(n uint64) uint32 {
	result, square := uint32(1), uint32(2)
	for ; n > 0; n >>= 1 {
		if n&1 != 0 {
			result = multiply(result, square)
		}
		square = multiply(square, square)
	}
	return result
}
