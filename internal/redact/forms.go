package redact

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"html"
	"net/url"
	"strconv"
	"strings"
)

const (
	// minLine is the length of the shortest line of a secret of several lines
	// that counts as a secret itself: "}" and "- key" say nothing.
	minLine = 8
	// maxWhole bounds the memory that a huge secret (a key ring in a file) costs:
	// longer ones are only looked for line by line, as they are.
	maxWhole = 64 << 10
)

// addForms adds every form of the secret to set.
func addForms(set map[string]bool, secret string) {
	add := func(s string) {
		if len(s) >= minSecret {
			set[s] = true
		}
	}
	whole := []string{secret}
	if t := strings.TrimSpace(secret); t != secret && len(t) >= minSecret {
		whole = append(whole, t)
	}
	if lines := strings.Split(secret, "\n"); len(lines) > 1 {
		for _, l := range lines {
			if l = strings.TrimSpace(l); len(l) >= minLine && !armour(l) {
				whole = append(whole, l)
			}
		}
	}
	for i, s := range whole {
		if len(secret) > maxWhole {
			if i > 0 {
				add(s)
			}
			continue
		}
		add(s)
		addBase64(add, s)
		addHex(add, s)
		addURL(add, s)
		addShell(add, s)
		addQuoted(add, s)
		addHTML(add, s)
	}
}

// armour reports whether the line is the frame of a PEM block, which is the
// same for every key.
func armour(line string) bool { return strings.HasPrefix(line, "-----") }

// addBase64 adds what the secret looks like inside encoded text. Three bytes
// become four characters, so there are three ways it can lie; the characters at
// its ends that neighbours have a part in are left out, except where it is
// the whole text or a line of its own.
func addBase64(add func(string), s string) {
	for _, enc := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		for lead, skip := range []int{0, 2, 3} {
			text := enc.EncodeToString([]byte(strings.Repeat("\x00", lead) + s))
			if (lead+len(s))%3 != 0 {
				text = text[:len(text)-1]
			}
			if len(text) > skip {
				add(text[skip:])
			}
		}
		for _, t := range []string{s, s + "\n"} {
			text := enc.EncodeToString([]byte(t))
			add(text)
			add(enc.WithPadding(base64.StdPadding).EncodeToString([]byte(t)))
			addWrapped(add, text, 76) // base64(1), MIME
			addWrapped(add, text, 64) // openssl, PEM
		}
	}
}

func addHex(add func(string), s string) {
	h := hex.EncodeToString([]byte(s))
	add(h)
	add(strings.ToUpper(h))
	addWrapped(add, h, 60) // xxd -p
}

// addWrapped adds the lines into which tools cut a long text.
func addWrapped(add func(string), text string, width int) {
	for len(text) > width {
		add(text[:width])
		if text = text[width:]; len(text) <= width && len(text) >= minLine {
			add(text)
		}
	}
}

func addURL(add func(string), s string) {
	query := url.QueryEscape(s)
	component := strings.ReplaceAll(query, "+", "%20")
	for _, e := range []string{
		query,
		component,
		// JavaScript's encodeURIComponent
		strings.NewReplacer("%21", "!", "%27", "'", "%28", "(", "%29", ")", "%2A", "*").Replace(component),
		url.PathEscape(s),
		(&url.URL{Path: s}).EscapedPath(),
		strings.TrimPrefix(url.UserPassword("", s).String(), ":"),
	} {
		add(e)
		add(lowerEscapes(e))
	}
}

// lowerEscapes returns %2F as %2f.
func lowerEscapes(s string) string {
	b := []byte(s)
	for i := 0; i+2 < len(b); i++ {
		if b[i] == '%' {
			copy(b[i+1:i+3], strings.ToLower(string(b[i+1:i+3])))
		}
	}
	return string(b)
}

func addShell(add func(string), s string) {
	add(strings.ReplaceAll(s, "'", `'\''`))
	add(strings.ReplaceAll(s, "'", `'"'"'`))
	add(strings.NewReplacer(`\`, `\\`, `"`, `\"`, "$", `\$`, "`", "\\`").Replace(s))
	var q strings.Builder // printf %q
	for _, r := range s {
		if strings.ContainsRune(" \t!\"#$&'()*,;<>?[\\]^`{|}~", r) {
			q.WriteByte('\\')
		}
		q.WriteRune(r)
	}
	add(q.String())
}

// addQuoted adds what stands between the quotes in JSON, Go, Python and C.
func addQuoted(add func(string), s string) {
	once := inJSON(s)
	add(once)
	add(inJSON(once)) // JSON inside JSON
	add(strings.ReplaceAll(once, "/", `\/`))
	plain := unescapeHTML(once)
	add(plain)
	add(inJSON(plain))
	add(unescapeHTML(inJSON(plain)))
	add(inside(strconv.QuoteToASCII(s))) // also json.dumps of Python, but for what is beyond 16 bits
	add(inside(strconv.Quote(s)))
	single := strings.NewReplacer(`\"`, `"`, `'`, `\'`)
	add(single.Replace(inside(strconv.Quote(s))))
}

// inJSON returns s as json.Marshal writes it, without the quotes.
func inJSON(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		return s // a string is always valid
	}
	return inside(string(b))
}

func unescapeHTML(s string) string {
	return strings.NewReplacer(`\u003c`, "<", `\u003e`, ">", `\u0026`, "&").Replace(s)
}

func inside(quoted string) string { return quoted[1 : len(quoted)-1] }

func addHTML(add func(string), s string) {
	e := html.EscapeString(s)
	add(e)
	add(strings.ReplaceAll(e, "+", "&#43;")) // html/template
	add(strings.NewReplacer("&#34;", "&quot;", "&#39;", "&apos;").Replace(e))
	add(strings.NewReplacer("&#34;", "&quot;", "&#39;", "&#x27;").Replace(e))
}
