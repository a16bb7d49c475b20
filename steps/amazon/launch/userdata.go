package launch

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/textproto"
	"os"
	"path/filepath"
	"strings"
	"text/template"

	"bake/templates"
)

// UserData is what an instance is told at its first boot.
type UserData struct {
	Text     string         `yaml:"text" bake:"main" doc:"The user data itself: a script, #cloud-config, or a MIME message of several."`
	File     string         `yaml:"file" doc:"File that holds it, relative to the template."`
	Template string         `yaml:"template" doc:"Go text/template that makes it, relative to the template."`
	Vars     map[string]any `yaml:"vars" doc:"What the text/template may name: {{ .name }}."`
	Merge    bool           `yaml:"merge" default:"true" doc:"Send bake's own user data with it (host key, dead-man timer); false: send it alone, for images without cloud-init."`
}

// Validate wants one of the three, and what can be read to fit.
func (u *UserData) Validate(b templates.Block) templates.Diagnostics {
	if b.Unresolved() {
		return nil
	}
	given := 0
	for _, s := range []string{u.Text, u.File, u.Template} {
		if s != "" {
			given++
		}
	}
	if given != 1 {
		return templates.Diagnostics{b.Errorf("want one of text, file and template")}
	}
	if b.Dir() == "" {
		return nil
	}
	data, err := u.Read(b.Dir())
	if err == nil && u.Merge {
		_, err = parts(data)
	}
	if err == nil {
		_, err = fit(data)
	}
	if err != nil {
		return templates.Diagnostics{b.Errorf("%v", err)}
	}
	return nil
}

// Read returns the user's own part. Relative paths start in dir.
func (u *UserData) Read(dir string) ([]byte, error) {
	if u == nil {
		return nil, nil
	}
	name := u.File + u.Template
	if name == "" {
		return plain([]byte(u.Text))
	}
	if !filepath.IsAbs(name) {
		name = filepath.Join(dir, name)
	}
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("reading user data: %w", err)
	}
	if u.Template == "" {
		return plain(data)
	}
	t, err := template.New(u.Template).Option("missingkey=error").Parse(string(data))
	if err != nil {
		return nil, fmt.Errorf("reading user data: %w", err)
	}
	var out bytes.Buffer
	if err := t.Execute(&out, u.Vars); err != nil {
		return nil, fmt.Errorf("filling user data: %w", err)
	}
	return plain(out.Bytes())
}

// plain undoes what was done to the data for the API's sake: some tools want
// it in base64, some images take it compressed.
func plain(data []byte) ([]byte, error) {
	if decoded, err := base64.StdEncoding.DecodeString(string(bytes.TrimSpace(data))); err == nil && (isGzip(decoded) || kindOf(decoded) != "") {
		data = decoded
	}
	if !isGzip(data) {
		return data, nil
	}
	r, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("unpacking user data: %w", err)
	}
	out, err := io.ReadAll(io.LimitReader(r, 1<<20))
	if err != nil {
		return nil, fmt.Errorf("unpacking user data: %w", err)
	}
	return out, nil
}

func isGzip(data []byte) bool { return bytes.HasPrefix(data, []byte{0x1f, 0x8b}) }

// kindOf is the MIME type of a part, by how it begins (cloud-init's
// "User data formats"); empty if cloud-init would not know it.
func kindOf(data []byte) string {
	for _, k := range [][2]string{
		{"#!", "text/x-shellscript"},
		{"#cloud-config-archive", "text/cloud-config-archive"},
		{"#cloud-config", "text/cloud-config"},
		{"#cloud-boothook", "text/cloud-boothook"},
		{"#include-once", "text/x-include-once-url"},
		{"#include", "text/x-include-url"},
		{"#part-handler", "text/part-handler"},
		{"## template: jinja", "text/jinja2"},
		{"Content-Type: multipart/", "multipart"},
		{"MIME-Version:", "multipart"},
	} {
		if strings.HasPrefix(string(data), k[0]) {
			return k[1]
		}
	}
	return ""
}

var errNotMergeable = errors.New("user data begins with nothing that cloud-init knows (#!, #cloud-config, ...); merge: false sends it alone")

func parts(user []byte) (string, error) {
	kind := kindOf(user)
	if kind == "" && len(bytes.TrimSpace(user)) > 0 {
		return "", errNotMergeable
	}
	return kind, nil
}

// boundary is the same for the same data: RunInstances with one client token
// has to be repeated with the same user data.
const boundary = "=====bake-user-data====="

// Merge joins bake's own cloud-config with the user's data, both whole.
func Merge(own, user []byte) ([]byte, error) {
	kind, err := parts(user)
	switch {
	case err != nil:
		return nil, err
	case len(own) == 0:
		return user, nil
	case kind == "":
		return own, nil
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "Content-Type: multipart/mixed; boundary=%q\r\nMIME-Version: 1.0\r\n\r\n", boundary)
	w := multipart.NewWriter(&b)
	if err := w.SetBoundary(boundary); err != nil {
		return nil, err
	}
	if err := addPart(w, textproto.MIMEHeader{"Content-Type": {"text/cloud-config; charset=\"utf-8\""}}, own); err != nil {
		return nil, err
	}
	header := textproto.MIMEHeader{"Content-Type": {kind + "; charset=\"utf-8\""}}
	if kind == "text/cloud-config" {
		// Lists grow (runcmd, write_files), and the user's other keys win.
		header.Set("Merge-Type", "list(append)+dict(recurse_array)+str()")
	}
	if kind == "multipart" { // it brings its own header
		head, body := splitMessage(user)
		header, user = head, body
	}
	if err := addPart(w, header, user); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

func addPart(w *multipart.Writer, header textproto.MIMEHeader, body []byte) error {
	p, err := w.CreatePart(header)
	if err != nil {
		return err
	}
	_, err = p.Write(body)
	return err
}

// splitMessage takes a MIME message apart: its headers, its body.
func splitMessage(message []byte) (textproto.MIMEHeader, []byte) {
	text := strings.ReplaceAll(string(message), "\r\n", "\n")
	head, body, _ := strings.Cut(text, "\n\n")
	header := textproto.MIMEHeader{}
	last := ""
	for line := range strings.Lines(head) {
		line = strings.TrimRight(line, "\n")
		if strings.HasPrefix(line, " ") || strings.HasPrefix(line, "\t") { // folded
			if values := header[last]; len(values) > 0 {
				values[len(values)-1] += " " + strings.TrimSpace(line)
			}
			continue
		}
		if name, value, ok := strings.Cut(line, ":"); ok && !strings.EqualFold(name, "MIME-Version") {
			last = textproto.CanonicalMIMEHeaderKey(name)
			header.Add(last, strings.TrimSpace(value))
		}
	}
	return header, []byte(body)
}

// mostUserData is what RunInstances takes, before base64.
const mostUserData = 16 << 10

// A UserDataError is user data that is too large.
type UserDataError struct{ Size, Packed int }

func (e *UserDataError) Error() string {
	return fmt.Sprintf("user data has %d bytes (%d compressed), AWS takes %d", e.Size, e.Packed, mostUserData)
}

// Hint says what to do.
func (e *UserDataError) Hint() string {
	return "fetch the larger part at boot, or do it in a step: run and copy have no such limit"
}

// fit returns the data as it is or, if it is too large, compressed: cloud-init
// takes both.
func fit(data []byte) ([]byte, error) {
	if len(data) <= mostUserData {
		return data, nil
	}
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err == nil {
		_, err = w.Write(data)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		return nil, fmt.Errorf("compressing user data: %w", err)
	}
	if b.Len() > mostUserData {
		return nil, &UserDataError{Size: len(data), Packed: b.Len()}
	}
	return b.Bytes(), nil
}

// EncodeUserData makes user data what RunInstances takes: compressed if that
// is needed, in base64.
func EncodeUserData(data []byte) (string, error) {
	data, err := fit(data)
	return base64.StdEncoding.EncodeToString(data), err
}
