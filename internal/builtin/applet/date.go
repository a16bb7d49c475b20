package applet

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// location is the time zone of the call: UTC unless TZ names one that is there.
func (c *Call) location() *time.Location {
	if tz := c.Getenv("TZ"); tz != "" {
		if loc, err := time.LoadLocation(strings.TrimPrefix(tz, ":")); err == nil {
			return loc
		}
	}
	return time.UTC
}

func date(_ context.Context, c *Call) error {
	o, err := c.parse("ud:r:RI::s:", map[string]byte{"utc": 'u', "date": 'd', "reference": 'r', "rfc-email": 'R', "iso-8601": 'I'})
	if err != nil {
		return err
	}
	loc := c.location()
	if o.has("u") {
		loc = time.UTC
	}
	now := time.Now()
	switch {
	case o.has("s"):
		return fmt.Errorf("setting the clock is not for a container")
	case o.has("d"):
		now, err = parseDate(o.get('d', ""), loc)
	case o.has("r"):
		info, statErr := os.Stat(c.Path(o.get('r', "")))
		if err = statErr; err == nil {
			now = info.ModTime()
		}
	}
	if err != nil {
		return err
	}
	format := "%a %b %e %H:%M:%S %Z %Y"
	switch {
	case o.has("R"):
		format = "%a, %d %b %Y %H:%M:%S %z"
	case o.has("I"):
		format = "%Y-%m-%d"
		if strings.HasPrefix(o.get('I', ""), "s") {
			format = "%Y-%m-%dT%H:%M:%S%:z"
		}
	}
	if len(o.rest) > 0 {
		text, ok := strings.CutPrefix(o.rest[0], "+")
		if !ok {
			return usagef("invalid date '%s'", o.rest[0])
		}
		format = text
	}
	return c.printf("%s\n", strftime(format, now.In(loc)))
}

// strftime formats a time as date's operand says.
func strftime(format string, t time.Time) string {
	layouts := map[byte]string{'a': "Mon", 'A': "Monday", 'b': "Jan", 'h': "Jan", 'B': "January", 'd': "02", 'e': "_2", 'm': "01",
		'y': "06", 'Y': "2006", 'H': "15", 'I': "03", 'M': "04", 'S': "05", 'p': "PM", 'Z': "MST", 'z': "-0700", 'j': "002",
		'F': "2006-01-02", 'T': "15:04:05", 'R': "15:04", 'D': "01/02/06", 'c': "Mon Jan _2 15:04:05 2006", 'x': "01/02/06", 'X': "15:04:05", 'N': "000000000"}
	var b strings.Builder
	for i := 0; i < len(format); i++ {
		if format[i] != '%' || i+1 == len(format) {
			b.WriteByte(format[i])
			continue
		}
		i++
		pad := byte(0)
		if strings.IndexByte("-_0", format[i]) >= 0 && i+1 < len(format) {
			pad = format[i]
			i++
		}
		text := ""
		switch letter := format[i]; letter {
		case 's':
			text = strconv.FormatInt(t.Unix(), 10)
		case 'N':
			text = fmt.Sprintf("%09d", t.Nanosecond())
		case 'n':
			text = "\n"
		case 't':
			text = "\t"
		case 'u':
			text = strconv.Itoa(cmp.Or(int(t.Weekday()), 7))
		case 'w':
			text = strconv.Itoa(int(t.Weekday()))
		case 'C':
			text = fmt.Sprintf("%02d", t.Year()/100)
		case 'V', 'G':
			year, week := t.ISOWeek()
			text = map[byte]string{'V': fmt.Sprintf("%02d", week), 'G': strconv.Itoa(year)}[letter]
		case '%':
			text = "%"
		case ':':
			if strings.HasPrefix(format[i:], ":z") {
				i++
				text = t.Format("-07:00")
			}
		default:
			text = "%" + string(letter)
			if layout, ok := layouts[letter]; ok {
				text = t.Format(layout)
			}
		}
		if pad == '-' {
			text = cmp.Or(strings.TrimLeft(text, "0 "), "0")
		}
		b.WriteString(text)
	}
	return b.String()
}

// parseDate reads @SECONDS, "now" and the common written forms.
func parseDate(text string, loc *time.Location) (time.Time, error) {
	if sec, ok := strings.CutPrefix(text, "@"); ok {
		f, err := strconv.ParseFloat(sec, 64)
		if err != nil {
			return time.Time{}, usagef("invalid date '%s'", text)
		}
		return time.Unix(int64(f), int64((f-float64(int64(f)))*1e9)), nil
	}
	now := time.Now().In(loc)
	midnight := time.Date(now.Year(), now.Month(), now.Day(), 0, 0, 0, 0, loc)
	switch text {
	case "now", "":
		return now, nil
	case "today":
		return now, nil
	case "yesterday":
		return now.AddDate(0, 0, -1), nil
	case "tomorrow":
		return now.AddDate(0, 0, 1), nil
	}
	text, isUTC := strings.CutSuffix(text, " UTC")
	if isUTC {
		loc = time.UTC
	}
	for _, layout := range []string{time.RFC3339Nano, time.RFC1123Z, time.RFC1123, "2006-01-02 15:04:05 -0700", "2006-01-02 15:04:05 MST",
		"2006-01-02 15:04:05.999999999", "2006-01-02T15:04:05", "2006-01-02T15:04:05Z0700", "2006-01-02 15:04", "2006-01-02T15:04", "2006-01-02",
		"2006/01/02", "20060102", "Mon Jan _2 15:04:05 MST 2006", "Mon Jan _2 15:04:05 2006", "2 Jan 2006", "Jan 2 2006"} {
		if t, err := time.ParseInLocation(layout, text, loc); err == nil {
			return t, nil
		}
	}
	if t, err := time.ParseInLocation("15:04", text, loc); err == nil {
		return midnight.Add(time.Duration(t.Hour())*time.Hour + time.Duration(t.Minute())*time.Minute), nil
	}
	return time.Time{}, usagef("invalid date '%s'", text)
}

// parseStamp reads touch -t: [[CC]YY]MMDDhhmm[.ss].
func parseStamp(text string, loc *time.Location) (time.Time, error) {
	main, sec, _ := strings.Cut(text, ".")
	layout := map[int]string{8: "01021504", 10: "0601021504", 12: "200601021504"}[len(main)]
	t, err := time.ParseInLocation(layout, main, loc)
	if err != nil || layout == "" {
		return t, usagef("invalid date format '%s'", text)
	}
	if len(main) == 8 {
		t = t.AddDate(time.Now().Year()-t.Year(), 0, 0)
	}
	n, _ := strconv.Atoi(cmp.Or(sec, "0"))
	return t.Add(time.Duration(n) * time.Second), nil
}

// parseSize reads a number of bytes with an optional unit: 10, 4K, 1M, 2MB, 1GiB.
func parseSize(text string) (int64, error) {
	end := 0
	for end < len(text) && (isDigit(text[end]) || end == 0 && (text[0] == '-' || text[0] == '+')) {
		end++
	}
	n, err := strconv.ParseInt(text[:end], 10, 64)
	if err != nil {
		return 0, usagef("invalid size '%s'", text)
	}
	unit := strings.TrimSuffix(text[end:], "iB")
	base := int64(1024)
	if short, ok := strings.CutSuffix(unit, "B"); ok && short != "" {
		unit, base = short, 1000
	}
	switch unit {
	case "":
		return n, nil
	case "b":
		return n * 512, nil
	case "c":
		return n, nil
	}
	power := strings.Index("KMGTPE", strings.ToUpper(unit))
	if power < 0 || len(unit) != 1 {
		return 0, usagef("invalid size '%s'", text)
	}
	for range power + 1 {
		n *= base
	}
	return n, nil
}
