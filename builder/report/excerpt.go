package report

import "strings"

// An excerpt keeps the first and the last lines of a text, within bounds, and
// counts those between.
type excerpt struct {
	headRoom, tailRoom int // bytes
	head, tail         []string
	headSize, tailSize int
	full               bool // head takes no more
	skipped            int
}

func newExcerpt(head, tail int) *excerpt { return &excerpt{headRoom: head, tailRoom: tail} }

func (x *excerpt) add(line string) {
	n := len(line) + 1
	if !x.full && x.headSize+n <= x.headRoom {
		x.head = append(x.head, line)
		x.headSize += n
		return
	}
	x.full = true
	if n > x.tailRoom {
		line = strings.ToValidUTF8(line[:max(x.tailRoom-1, 0)], "")
		n = len(line) + 1
	}
	x.tail = append(x.tail, line)
	x.tailSize += n
	drop := 0
	for x.tailSize > x.tailRoom && drop < len(x.tail)-1 {
		x.tailSize -= len(x.tail[drop]) + 1
		drop++
	}
	x.skipped += drop
	clear(x.tail[:drop])
	x.tail = x.tail[drop:]
}

func (x *excerpt) parts() (head []string, skipped int, tail []string) {
	return x.head, x.skipped, x.tail
}
