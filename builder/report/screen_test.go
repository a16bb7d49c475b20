package report

import (
	"strconv"
	"strings"
	"testing"
)

// A vt is as much of a terminal as a live view needs: it fails the test on any
// sequence that a view should not send.
type vt struct {
	t             *testing.T
	width, height int
	rows          [][]string // cells of the screen; "" follows a wide character
	scrolled      []string   // lines that left at the top
	x, y          int
	wrap, cursor  bool
}

func newVT(t *testing.T, width, height int) *vt {
	v := &vt{t: t, width: width, height: height, wrap: true, cursor: true}
	for range height {
		v.rows = append(v.rows, make([]string, width))
	}
	return v
}

func (v *vt) Write(p []byte) (int, error) {
	for g := sequences().StringGraphemes(string(p)); g.Next(); {
		seq, width := g.Value(), g.Width()
		switch {
		case seq == "\r\n":
			v.x = 0
			v.down()
		case seq == "\r":
			v.x = 0
		case seq == "\n":
			v.down()
		case strings.HasPrefix(seq, "\x1b["):
			v.csi(seq[2:])
		case width > 0:
			v.put(seq, width)
		default:
			v.t.Errorf("the view wrote %q", seq)
		}
	}
	return len(p), nil
}

func (v *vt) put(cell string, width int) {
	if v.x+width > v.width {
		if v.wrap {
			v.x = 0
			v.down()
		} else {
			v.x = v.width - width
		}
	}
	v.rows[v.y][v.x] = cell
	for i := 1; i < width; i++ {
		v.rows[v.y][v.x+i] = ""
	}
	v.x += width
}

func (v *vt) down() {
	if v.y < v.height-1 {
		v.y++
		return
	}
	v.scrolled = append(v.scrolled, v.line(0))
	v.rows = append(v.rows[1:], make([]string, v.width))
}

func (v *vt) csi(seq string) {
	final := seq[len(seq)-1]
	arg, _ := strconv.Atoi(seq[:len(seq)-1])
	switch {
	case seq == "?7h" || seq == "?7l":
		v.wrap = final == 'h'
	case seq == "?25h" || seq == "?25l":
		v.cursor = final == 'h'
	case strings.HasPrefix(seq, "?2026"), final == 'm':
	case final == 'A':
		v.y = max(0, v.y-arg)
	case final == 'K' && arg == 0:
		v.clear(v.y, v.x)
	default:
		v.t.Errorf("the view wrote CSI %q", seq)
	}
}

func (v *vt) clear(y, x int) {
	for ; x < v.width; x++ {
		v.rows[y][x] = " "
	}
}

func (v *vt) line(y int) string {
	var b strings.Builder
	for x := 0; x < v.width; x++ {
		c := v.rows[y][x]
		if c == "" && (x == 0 || cells(v.rows[y][x-1]) < 2) {
			c = " "
		}
		b.WriteString(c)
	}
	return strings.TrimRight(b.String(), " ")
}

// text is the screen as one sees it, without empty lines at its end.
func (v *vt) text() string {
	var lines []string
	for y := range v.height {
		lines = append(lines, v.line(y))
	}
	return strings.TrimRight(strings.Join(lines, "\n"), "\n") + "\n"
}

// all is what scrolled by and the screen.
func (v *vt) all() string {
	return strings.Join(append(v.scrolled, v.text()), "\n")
}
