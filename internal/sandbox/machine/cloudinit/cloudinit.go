// Package cloudinit reads user data as cloud-init does: cloud-config, scripts,
// boot hooks, MIME archives of them, compressed or not. It only reads; package
// guest does what they say.
package cloudinit

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/mail"
	"net/textproto"
	"strings"

	"gopkg.in/yaml.v3"
)

// UserData is what an instance was given.
type UserData struct {
	Config  Config
	Scripts []Script // run once per instance, after everything else
	Hooks   []Script // #cloud-boothook: run early, at each boot
	// Problems are what could not be understood, or is not supported; the rest holds.
	Problems []string
}

// A Script is a part that is run. Its name is that of its file.
type Script struct {
	Name string
	Body []byte
	When string // "per-instance", "per-boot", "per-once"
}

// maxParts and maxSize bound what compressed or nested user data may become.
const (
	maxParts = 1000
	maxSize  = 64 << 20
)

// Parse reads user data. What it cannot read is told in Problems.
func Parse(data []byte) *UserData {
	p := &parser{keys: map[string]*yaml.Node{}, out: new(UserData)}
	p.part(data, "", "")
	p.out.Config = p.config(p.keys)
	return p.out
}

// Defaults reads configuration that user data overrides: the image's
// /etc/cloud/cloud.cfg and what lies in cloud.cfg.d, in their order.
func Defaults(files ...[]byte) Config {
	p := &parser{keys: map[string]*yaml.Node{}, out: new(UserData)}
	for _, f := range files {
		p.cloudConfig(f)
	}
	return p.config(p.keys)
}

type parser struct {
	out   *UserData
	keys  map[string]*yaml.Node // of all cloud-configs; a later one replaces an earlier one's
	parts int
}

func (p *parser) problem(format string, args ...any) {
	p.out.Problems = append(p.out.Problems, fmt.Sprintf(format, args...))
}

// part reads one part; kind is its MIME type, if that was said.
func (p *parser) part(data []byte, kind, name string) {
	if p.parts++; p.parts > maxParts {
		return
	}
	if bytes.HasPrefix(data, []byte{0x1f, 0x8b}) {
		plain, err := gunzip(data)
		if err != nil {
			p.problem("decompressing user data: %v", err)
			return
		}
		data = plain
	}
	if len(bytes.TrimSpace(data)) == 0 {
		return
	}
	if name == "" {
		name = fmt.Sprintf("part-%03d", p.parts)
	}
	if kind == "" || kind == "text/plain" || kind == "text/x-not-multipart" || kind == "application/octet-stream" {
		kind = kindOf(data)
	}
	switch kind {
	case "multipart/mixed", "multipart/related", "multipart/alternative":
		p.multipart(data)
	case "text/cloud-config":
		p.cloudConfig(data)
	case "text/cloud-config-archive":
		p.archive(data)
	case "text/x-shellscript":
		p.out.Scripts = append(p.out.Scripts, Script{name, data, "per-instance"})
	case "text/x-shellscript-per-boot", "text/x-shellscript-per-instance", "text/x-shellscript-per-once":
		p.out.Scripts = append(p.out.Scripts, Script{name, data, strings.TrimPrefix(kind, "text/x-shellscript-")})
	case "text/cloud-boothook":
		_, body, _ := bytes.Cut(data, []byte("\n"))
		if !bytes.HasPrefix(data, []byte("#cloud-boothook")) {
			body = data
		}
		p.out.Hooks = append(p.out.Hooks, Script{name, body, "per-boot"})
	case "":
		p.problem("unhandled non-multipart user data, which begins with %q", firstLine(data))
	default:
		p.problem("user data of type %s is not supported here", kind)
	}
}

// kindOf tells what a part is by how it begins, "" if it cannot.
func kindOf(data []byte) string {
	for _, k := range [][2]string{
		{"#cloud-config-archive", "text/cloud-config-archive"}, {"#cloud-config-jsonp", "text/cloud-config-jsonp"},
		{"#cloud-config", "text/cloud-config"}, {"#!", "text/x-shellscript"},
		{"#cloud-boothook", "text/cloud-boothook"}, {"#include", "text/x-include-url"}, {"#part-handler", "text/part-handler"},
		{"#upstart-job", "text/upstart-job"}, {"## template: jinja", "text/jinja2"},
		{"Content-Type: multipart", "multipart/mixed"}, {"MIME-Version:", "multipart/mixed"}, {"From ", "multipart/mixed"},
	} {
		if len(data) >= len(k[0]) && strings.EqualFold(string(data[:len(k[0])]), k[0]) {
			return k[1]
		}
	}
	return ""
}

func firstLine(data []byte) string {
	line, _, _ := bytes.Cut(data, []byte("\n"))
	return string(line[:min(len(line), 60)])
}

func gunzip(data []byte) ([]byte, error) {
	z, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	plain, err := io.ReadAll(io.LimitReader(z, maxSize+1))
	if len(plain) > maxSize {
		return nil, errors.New("too large")
	}
	return plain, err
}

// multipart reads a MIME message of parts.
func (p *parser) multipart(data []byte) {
	m, err := mail.ReadMessage(bytes.NewReader(data))
	if err != nil {
		p.problem("reading the MIME message: %v", err)
		return
	}
	_, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil {
		p.problem("reading the MIME message's type: %v", err)
		return
	}
	for r := multipart.NewReader(m.Body, params["boundary"]); ; {
		part, err := r.NextPart()
		if err == io.EOF {
			return
		}
		if err != nil {
			p.problem("reading the parts of the MIME message: %v", err)
			return
		}
		p.mimePart(part)
	}
}

func (p *parser) mimePart(part *multipart.Part) {
	body, err := decode(part, part.Header)
	if err != nil {
		p.problem("reading part %q: %v", part.FileName(), err)
		return
	}
	kind, params, err := mime.ParseMediaType(part.Header.Get("Content-Type"))
	if err != nil {
		kind = ""
	}
	if strings.HasPrefix(kind, "multipart/") {
		body = fmt.Appendf(nil, "Content-Type: %s; boundary=%q\r\n\r\n%s", kind, params["boundary"], body)
	}
	if t := part.Header.Get("X-Merge-Type") + part.Header.Get("Merge-Type"); t != "" {
		p.problem("part %q: merging as %q is not supported: its keys replace earlier ones", part.FileName(), t)
	}
	p.part(body, kind, part.FileName())
}

func decode(r io.Reader, h textproto.MIMEHeader) ([]byte, error) {
	if strings.EqualFold(h.Get("Content-Transfer-Encoding"), "base64") {
		r = base64.NewDecoder(base64.StdEncoding, r)
	}
	return io.ReadAll(io.LimitReader(r, maxSize))
}

// archive reads a list of parts in YAML.
func (p *parser) archive(data []byte) {
	var list []yaml.Node
	if err := yaml.Unmarshal(data, &list); err != nil {
		p.problem("reading the cloud-config-archive: %v", err)
		return
	}
	for _, n := range list {
		var entry struct{ Type, Content, Filename string }
		if n.Kind == yaml.ScalarNode {
			entry.Content = n.Value
		} else if err := n.Decode(&entry); err != nil {
			p.problem("reading the cloud-config-archive: %v", err)
			continue
		}
		p.part([]byte(entry.Content), entry.Type, entry.Filename)
	}
}

// cloudConfig takes the keys of one cloud-config.
func (p *parser) cloudConfig(data []byte) {
	var keys map[string]yaml.Node
	if err := yaml.Unmarshal(data, &keys); err != nil {
		p.problem("reading the cloud-config: %v", err)
		return
	}
	for name, n := range keys {
		p.keys[name] = &n
	}
}
