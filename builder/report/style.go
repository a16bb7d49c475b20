package report

// A style colours text and knows the symbols that can be shown. The zero style
// has no colour and ASCII symbols only.
type style struct {
	color bool
	sym   symbols
}

type symbols struct {
	ok, failed, running, stopped, waiting, cached, skipped, bar, ellipsis string
	full, empty                                                           string // of progress bars
}

func newStyle(color, ascii bool) style {
	if ascii {
		return style{color, symbols{"+", "x", ">", "!", " ", "=", "-", "|", "...", "#", "-"}}
	}
	return style{color, symbols{"✔", "✘", "▸", "■", "·", "●", "○", "│", "…", "━", "─"}}
}

func (s style) sgr(code, text string) string {
	if !s.color || text == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

func (s style) bold(t string) string   { return s.sgr("1", t) }
func (s style) dim(t string) string    { return s.sgr("2", t) }
func (s style) red(t string) string    { return s.sgr("31", t) }
func (s style) green(t string) string  { return s.sgr("32", t) }
func (s style) yellow(t string) string { return s.sgr("33", t) }
func (s style) cyan(t string) string   { return s.sgr("36", t) }

// mark is the coloured symbol of a status.
func (s style) mark(of Status) string {
	switch of {
	case Done:
		return s.green(s.sym.ok)
	case Cached:
		return s.cyan(s.sym.cached)
	case Failed:
		return s.red(s.sym.failed)
	case Running:
		return s.yellow(s.sym.running)
	case Interrupted:
		return s.yellow(s.sym.stopped)
	case Skipped:
		return s.dim(s.sym.skipped)
	}
	return s.dim(s.sym.waiting)
}
