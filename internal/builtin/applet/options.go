package applet

import "strings"

// options is a parsed command line.
type options struct {
	seen []option
	rest []string // operands
}

type option struct {
	letter byte
	value  string
}

// parse reads options as getopt does. spec lists the letters, those with an
// argument followed by a colon, or two if it is optional and then attached; a
// leading "+" stops at the first operand, where
// otherwise options may stand behind operands. long maps long names to letters.
func (c *Call) parse(spec string, long map[string]byte) (options, error) {
	spec, inOrder := strings.CutPrefix(spec, "+")
	var o options
	args := c.Args
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		var err error
		switch {
		case arg == "--":
			o.rest = append(o.rest, args...)
			return o, nil
		case strings.HasPrefix(arg, "--"):
			args, err = o.addLong(spec, long, arg[2:], args)
		case len(arg) > 1 && arg[0] == '-':
			args, err = o.addShort(spec, arg[1:], args)
		case inOrder:
			o.rest = append(append(o.rest, arg), args...)
			return o, nil
		default:
			o.rest = append(o.rest, arg)
		}
		if err != nil {
			return o, err
		}
	}
	return o, nil
}

func (o *options) addLong(spec string, long map[string]byte, arg string, args []string) ([]string, error) {
	name, value, given := strings.Cut(arg, "=")
	letter, ok := long[name]
	if !ok {
		return nil, usagef("unrecognized option '--%s'", name)
	}
	if takesValue(spec, letter) && !given && !optionalValue(spec, letter) {
		if len(args) == 0 {
			return nil, usagef("option '--%s' requires an argument", name)
		}
		value, args = args[0], args[1:]
	}
	o.seen = append(o.seen, option{letter, value})
	return args, nil
}

func (o *options) addShort(spec, letters string, args []string) ([]string, error) {
	for i := range len(letters) {
		letter := letters[i]
		if letter == ':' || !strings.Contains(spec, string(letter)) {
			return nil, usagef("invalid option -- '%c'", letter)
		}
		if !takesValue(spec, letter) {
			o.seen = append(o.seen, option{letter: letter})
			continue
		}
		value := letters[i+1:]
		if value == "" && !optionalValue(spec, letter) {
			if len(args) == 0 {
				return nil, usagef("option requires an argument -- '%c'", letter)
			}
			value, args = args[0], args[1:]
		}
		o.seen = append(o.seen, option{letter, value})
		break
	}
	return args, nil
}

func takesValue(spec string, letter byte) bool {
	i := strings.IndexByte(spec, letter)
	return i >= 0 && i+1 < len(spec) && spec[i+1] == ':'
}

func optionalValue(spec string, letter byte) bool {
	i := strings.IndexByte(spec, letter)
	return i >= 0 && strings.HasPrefix(spec[i+1:], "::")
}

// has reports whether one of the letters was given.
func (o options) has(letters string) bool {
	for _, s := range o.seen {
		if strings.IndexByte(letters, s.letter) >= 0 {
			return true
		}
	}
	return false
}

// get returns the last value of an option, or a default.
func (o options) get(letter byte, def string) string {
	for _, s := range o.seen {
		if s.letter == letter {
			def = s.value
		}
	}
	return def
}

// all returns the values of an option in order.
func (o options) all(letter byte) []string {
	var values []string
	for _, s := range o.seen {
		if s.letter == letter {
			values = append(values, s.value)
		}
	}
	return values
}

// last returns which of the letters was given last, 0 for none.
func (o options) last(letters string) byte {
	var last byte
	for _, s := range o.seen {
		if strings.IndexByte(letters, s.letter) >= 0 {
			last = s.letter
		}
	}
	return last
}
