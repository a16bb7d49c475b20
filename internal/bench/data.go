package main

import (
	"bufio"
	"errors"
	"math/rand/v2"
	"os"
	"strings"
)

const block = 64 << 10

// writeHalfCompressible writes size bytes, of which every second block of
// 64 KiB is random and the others are text of a few words: about what a
// system's files are. The same seed gives the same bytes.
func writeHalfCompressible(path string, size int64, seed uint64) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(f, 1<<20)
	defer func() { err = errors.Join(err, w.Flush(), f.Close()) }()
	random := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	r := rand.New(random)
	words := make([]string, 200)
	for i := range words {
		letters := make([]byte, 4+r.IntN(9))
		for j := range letters {
			letters[j] = byte('a' + r.IntN(26))
		}
		words[i] = string(letters)
	}
	buf := make([]byte, block)
	for i := int64(0); i*block < size; i++ {
		n := min(block, size-i*block)
		if i%2 == 0 {
			random.Read(buf) // it never fails
		} else {
			copy(buf, prose(r, words))
		}
		if _, err := w.Write(buf[:n]); err != nil {
			return err
		}
	}
	return nil
}

// prose is a block of words in random order.
func prose(r *rand.Rand, words []string) string {
	var b strings.Builder
	for b.Len() < block {
		b.WriteString(words[r.IntN(len(words))])
		b.WriteByte(' ')
	}
	return b.String()[:block]
}
