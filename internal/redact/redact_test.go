package redact

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html"
	"html/template"
	"io"
	"net/url"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"

	"bake/internal/need"
	"bake/internal/shell"
)

const password = `p"a'ss $w+rd/<&>\é=`

func TestNoFormOfASecretIsShown(t *testing.T) {
	r := New([]string{password})
	quoted, _ := json.Marshal(password)
	twice, _ := json.Marshal(string(quoted))
	var plain bytes.Buffer
	e := json.NewEncoder(&plain)
	e.SetEscapeHTML(false)
	if err := e.Encode(password); err != nil {
		t.Fatal(err)
	}
	for name, form := range map[string]string{
		"raw":             password,
		"base64":          base64.StdEncoding.EncodeToString([]byte(password)),
		"base64 of echo":  base64.StdEncoding.EncodeToString([]byte(password + "\n")),
		"base64 url":      base64.URLEncoding.EncodeToString([]byte(password)),
		"hex":             hex.EncodeToString([]byte(password)),
		"HEX":             fmt.Sprintf("%X", password),
		"query":           url.QueryEscape(password),
		"path":            url.PathEscape(password),
		"lower query":     strings.ToLower(url.QueryEscape(password)),
		"shell":           shell.Quote(password),
		"json":            string(quoted),
		"json in json":    string(twice),
		"json plain":      plain.String(),
		"go":              strconv.Quote(password),
		"go ascii":        strconv.QuoteToASCII(password),
		"html":            html.EscapeString(password),
		"html/template":   template.HTMLEscapeString(password),
		"userinfo":        (&url.URL{Scheme: "https", Host: "h", User: url.UserPassword("u", password)}).String(),
		"url path":        (&url.URL{Scheme: "https", Host: "h", Path: "/" + password}).String(),
		"javascript":      "p%22a'ss%20%24w%2Brd%2F%3C%26%3E%5C%C3%A9%3D",
		"double-quoted":   "\"p\\\"a'ss \\$w+rd/<&>\\\\é=\"",
		"python's repr":   `'p"a\'ss $w+rd/<&>\\é='`,
		"python's quote":  `'p"a'"'"'ss $w+rd/<&>\é='`,
		"slashes escaped": strings.ReplaceAll(string(quoted), "/", `\/`),
	} {
		got := r.String("before " + form + " after")
		if strings.Contains(got, form) || !strings.Contains(got, Mask) {
			t.Errorf("%s: %q is still %q", name, form, got)
		}
		if !strings.HasPrefix(got, "before ") || !strings.HasSuffix(strings.TrimRight(got, "\n"), " after") {
			t.Errorf("%s: %q lost what is not secret", name, got)
		}
	}
}

func TestBase64IsFoundInsideALongerTextWhereverItLies(t *testing.T) {
	const secret = "correct horse battery"
	r := New([]string{secret})
	for lead := range 7 {
		for trail := range 4 {
			text := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("u", lead) + secret + strings.Repeat(":", trail)))
			got := r.String(text)
			if left := len(got) - len(Mask); !strings.Contains(got, Mask) || left > (lead/3+trail/3)*4+9 {
				t.Errorf("%d before, %d after: %s became %s", lead, trail, text, got)
			}
		}
	}
}

func TestWhatBashPrintsOfASecretIsRedacted(t *testing.T) {
	bash := need.Tool(t, "bash")
	const secret = `it's $5 & "more" (*) \ done;`
	r := New([]string{secret})
	for _, script := range []string{`printf %q "$S"`, `set -x; : "$S"`, `declare -p S`, `echo "$S" | base64`, `printf %s "$S" | od -An -tx1 | tr -d ' \n'`} {
		cmd := exec.Command(bash, "-c", script)
		cmd.Env = []string{"S=" + secret, "PATH=/usr/bin:/bin"}
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v: %s", script, err, out)
		}
		if got := r.String(string(out)); !strings.Contains(got, Mask) || strings.Contains(got, "more") {
			t.Errorf("%s printed %q, redacted %q", script, out, got)
		}
	}
}

func TestASecretOfSeveralLinesIsRedactedByLine(t *testing.T) {
	key := "-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC\n  indented-second-line\nab\n-----END KEY-----\n"
	r := New([]string{key})
	for line, want := range map[string]string{
		"MIIEvQIBADANBgkqhkiG9w0BAQEFAASC":        "***",
		"x indented-second-line":                  "x ***",
		"-----BEGIN KEY-----":                     "-----BEGIN KEY-----",
		"ab":                                      "ab",
		strconv.Quote(key):                        `"***"`,
		strings.TrimSpace(key):                    "***",
		hex.EncodeToString([]byte(key))[:60] + "": "***",
	} {
		if got := r.String(line); got != want {
			t.Errorf("%q became %q, want %q", line, got, want)
		}
	}
}

func TestWrappedBase64IsRedactedLineByLine(t *testing.T) {
	secret := strings.Repeat("0123456789abcdef-", 20)
	r := New([]string{secret})
	text := base64.StdEncoding.EncodeToString([]byte(secret + "\n"))
	for _, width := range []int{64, 76} {
		for rest := text; rest != ""; {
			n := min(width, len(rest))
			line := rest[:n]
			rest = rest[n:]
			if got := r.String(line); len(strings.TrimRight(line, "=")) >= minLine && got != Mask && got != Mask+"==" && got != Mask+"=" {
				t.Errorf("width %d: line %q became %q", width, line, got)
			}
		}
	}
}

func TestShortSecretsAreLeftAloneAndCounted(t *testing.T) {
	r := new(Redactor)
	if got := r.Add("", "1", "dev", "long enough"); got != 3 {
		t.Errorf("Add counted %d short ones, want 3", got)
	}
	if got := r.String("dev 1 long enough"); got != "dev 1 ***" {
		t.Errorf("got %q", got)
	}
}

func TestOverlappingSecretsVanishWhole(t *testing.T) {
	r := New([]string{"abcdef", "defghi", "abcdefghijkl", "mnop"})
	for in, want := range map[string]string{
		"-abcdef-":       "-***-",
		"-abcdefghi-":    "-***-",
		"-abcdefghijkl-": "-***-",
		"-abcdefmnop-":   "-******-",
		"-abcde-":        "-abcde-",
		"abcdabcdef":     "abcd***",
	} {
		if got := r.String(in); got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
}

func TestAWriterHoldsBackOnlyWhatMayBecomeASecret(t *testing.T) {
	var out bytes.Buffer
	w := New([]string{"hunter22"}).Writer(&out)
	for _, step := range []struct{ in, want string }{
		{"hello\n", "hello\n"},
		{"$ hun", "hello\n$ "},
		{"gry\n", "hello\n$ hungry\n"},
		{"hunter", "hello\n$ hungry\n"},
		{"22", "hello\n$ hungry\n***"},
		{" hunt", "hello\n$ hungry\n*** "},
	} {
		if _, err := io.WriteString(w, step.in); err != nil {
			t.Fatal(err)
		}
		if out.String() != step.want {
			t.Errorf("after %q: %q, want %q", step.in, out.String(), step.want)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if want := "hello\n$ hungry\n*** hunt"; out.String() != want {
		t.Errorf("after Close: %q, want %q", out.String(), want)
	}
}

func TestSecretsMayBeLearnedWhileWritersRun(t *testing.T) {
	r := new(Redactor)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			w := r.Writer(io.Discard)
			for j := range 20 {
				r.Add(fmt.Sprintf("secret-%d-%d", i, j))
				fmt.Fprintf(w, "line %d secret-%d-%d\n", j, i, j)
				if got := r.String(fmt.Sprintf("secret-%d-%d", i, j)); got != Mask {
					t.Errorf("a secret that was just added shows as %q", got)
				}
			}
		})
	}
	wg.Wait()
}

// However a text is split into writes, the result is that of String, and no
// form of the secret is left in it.
func FuzzNoSplitShowsASecret(f *testing.F) {
	f.Add("hunter22", "other-secret", "a hunter22 b hunter", uint16(3), uint8(1))
	f.Add("aaaa", "aaab", "aaaaaaab", uint16(2), uint8(3))
	f.Add("line one\nline two\n", "abcd", "x line one\ny", uint16(9), uint8(2))
	f.Fuzz(func(t *testing.T, one, two, noise string, at uint16, form uint8) {
		if len(one) < minSecret || len(one) > 100 || len(two) > 100 || strings.Contains(one+two, "*") {
			t.Skip()
		}
		set := map[string]bool{}
		addForms(set, one)
		var forms []string
		for s := range set {
			forms = append(forms, s)
		}
		i := int(at) % (len(noise) + 1)
		text := noise[:i] + forms[int(form)%len(forms)] + noise[i:]
		r := New([]string{one, two})
		want := r.String(text)
		for s := range set {
			if !strings.Contains(s, "*") && strings.Contains(want, s) {
				t.Fatalf("form %q is in %q", s, want)
			}
		}
		for _, size := range []int{1, 2, 3, 7, 64} {
			var out bytes.Buffer
			w := r.Writer(&out)
			for rest := text; rest != ""; {
				n := min(size, len(rest))
				if _, err := io.WriteString(w, rest[:n]); err != nil {
					t.Fatal(err)
				}
				rest = rest[n:]
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			if out.String() != want {
				t.Fatalf("in writes of %d: %q, want %q", size, out.String(), want)
			}
		}
	})
}

func BenchmarkWriter(b *testing.B) {
	secrets := []string{"ghp_0123456789abcdefghijABCDEFGHIJ012345", "correct horse battery staple", "AKIAIOSFODNN7EXAMPLE",
		"wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", strings.Repeat("MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQ\n", 30)}
	line := "Get:12 http://deb.debian.org/debian bookworm/main amd64 libgcc-s1 amd64 12.2.0-14 [49.9 kB]\n"
	text := []byte(strings.Repeat(line, 350))
	w := New(secrets).Writer(io.Discard)
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		if _, err := w.Write(text); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkStringOfALine(b *testing.B) {
	r := New([]string{"ghp_0123456789abcdefghijABCDEFGHIJ012345", "correct horse battery staple"})
	line := "Get:12 http://deb.debian.org/debian bookworm/main amd64 libgcc-s1 amd64 12.2.0-14 [49.9 kB]"
	b.SetBytes(int64(len(line)))
	for b.Loop() {
		r.String(line)
	}
}
