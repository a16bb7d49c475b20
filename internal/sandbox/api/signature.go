package api

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxSkew is how far a request's clock may be from AWS's.
const maxSkew = 5 * time.Minute

// timeForm is how signature version 4 writes a time.
const timeForm = "20060102T150405Z"

// A signature is what a request says about who signed it, in its header or,
// presigned, in its query.
type signature struct {
	key, date, region, service string
	headers                    []string // that are signed, lower case
	value                      string
	token                      string
	time                       time.Time
	lasts                      time.Duration // presigned; 0: in the header
	query                      bool
}

// readSignature finds the signature of version 4; nil if there is none.
func readSignature(r *http.Request) (*signature, error) {
	header := r.Header.Get("Authorization")
	q := r.URL.Query()
	s := &signature{}
	var credential, headers, date string
	switch {
	case strings.HasPrefix(header, "AWS4-HMAC-SHA256 "):
		fields := map[string]string{}
		for part := range strings.SplitSeq(strings.TrimPrefix(header, "AWS4-HMAC-SHA256 "), ",") {
			k, v, _ := strings.Cut(strings.TrimSpace(part), "=")
			fields[k] = v
		}
		credential, headers, s.value = fields["Credential"], fields["SignedHeaders"], fields["Signature"]
		date, s.token = r.Header.Get("X-Amz-Date"), r.Header.Get("X-Amz-Security-Token")
	case q.Get("X-Amz-Signature") != "":
		credential, headers, s.value = q.Get("X-Amz-Credential"), q.Get("X-Amz-SignedHeaders"), q.Get("X-Amz-Signature")
		date, s.token, s.query = q.Get("X-Amz-Date"), q.Get("X-Amz-Security-Token"), true
		s.lasts = 15 * time.Minute
		if text := q.Get("X-Amz-Expires"); text != "" {
			seconds, err := strconv.Atoi(text)
			if err != nil {
				return nil, Errorf("IncompleteSignature", "X-Amz-Expires must be a number of seconds")
			}
			s.lasts = time.Duration(seconds) * time.Second
		}
	case header != "":
		return nil, Errorf("IncompleteSignature", "Authorization header requires 'Credential' parameter. Authorization header requires 'Signature' parameter.")
	default:
		return nil, nil
	}
	parts := strings.Split(credential, "/")
	if len(parts) != 5 || headers == "" || s.value == "" {
		return nil, Errorf("IncompleteSignature", "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got '%s'", credential)
	}
	s.key, s.date, s.region, s.service = parts[0], parts[1], parts[2], parts[3]
	s.headers = strings.Split(headers, ";")
	if date == "" {
		date = httpDate(r.Header.Get("Date"))
	}
	var err error
	if s.time, err = time.Parse(timeForm, date); err != nil {
		return nil, Errorf("IncompleteSignature", "Date must be in ISO-8601 'basic format'. Got '%s'.", date)
	}
	return s, nil
}

func httpDate(text string) string {
	t, err := http.ParseTime(text)
	if err != nil {
		return text
	}
	return t.UTC().Format(timeForm)
}

// fits reports whether the request was signed with the secret.
func (s *signature) fits(r *http.Request, body []byte, secret string) bool {
	scope := strings.Join([]string{s.date, s.region, s.service, "aws4_request"}, "/")
	canonical := sha256.Sum256([]byte(s.canonical(r, body)))
	text := strings.Join([]string{"AWS4-HMAC-SHA256", s.time.Format(timeForm), scope, hex.EncodeToString(canonical[:])}, "\n")
	key := []byte("AWS4" + secret)
	for _, part := range []string{s.date, s.region, s.service, "aws4_request", text} {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(part))
		key = mac.Sum(nil)
	}
	return hmac.Equal([]byte(hex.EncodeToString(key)), []byte(s.value))
}

// canonical is the request as it was signed
// (docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html).
func (s *signature) canonical(r *http.Request, body []byte) string {
	var b strings.Builder
	path := r.URL.EscapedPath()
	if path == "" {
		path = "/"
	}
	fmt.Fprintf(&b, "%s\n%s\n%s\n", r.Method, path, canonicalQuery(r.URL.Query()))
	for _, name := range s.headers {
		fmt.Fprintf(&b, "%s:%s\n", name, headerValue(r, name))
	}
	hash := r.Header.Get("X-Amz-Content-Sha256")
	if hash != "UNSIGNED-PAYLOAD" {
		sum := sha256.Sum256(body)
		hash = hex.EncodeToString(sum[:])
	}
	fmt.Fprintf(&b, "\n%s\n%s", strings.Join(s.headers, ";"), hash)
	return b.String()
}

func headerValue(r *http.Request, name string) string {
	switch name {
	case "host":
		return r.Host
	case "content-length":
		return strconv.FormatInt(r.ContentLength, 10)
	}
	values := slices.Clone(r.Header.Values(name))
	for i, v := range values {
		values[i] = strings.Join(strings.Fields(v), " ")
	}
	return strings.Join(values, ",")
}

// canonicalQuery is the query sorted and escaped, without the signature itself.
func canonicalQuery(q url.Values) string {
	var pairs []string
	for name, values := range q {
		if name == "X-Amz-Signature" {
			continue
		}
		for _, v := range values {
			pairs = append(pairs, uriEncode(name)+"="+uriEncode(v))
		}
	}
	slices.Sort(pairs)
	return strings.Join(pairs, "&")
}

// uriEncode is url.QueryEscape with a space as %20, as AWS has it.
func uriEncode(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }
