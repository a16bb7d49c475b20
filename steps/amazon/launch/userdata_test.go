package launch

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"errors"
	"io"
	"math/rand/v2"
	"mime"
	"mime/multipart"
	"net/mail"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const own = "#cloud-config\nruncmd:\n- shutdown -P +240\n"

// unpack reads a MIME message as cloud-init does: type and body of each part.
func unpack(t *testing.T, message []byte) [][2]string {
	t.Helper()
	m, err := mail.ReadMessage(bytes.NewReader(message))
	if err != nil {
		t.Fatal(err)
	}
	kind, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil || !strings.HasPrefix(kind, "multipart/") {
		t.Fatalf("type %q: %v", kind, err)
	}
	var out [][2]string
	r := multipart.NewReader(m.Body, params["boundary"])
	for {
		p, err := r.NextPart()
		if err == io.EOF {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(p)
		if err != nil {
			t.Fatal(err)
		}
		kind, params, _ := mime.ParseMediaType(p.Header.Get("Content-Type"))
		if strings.HasPrefix(kind, "multipart/") {
			nested := "Content-Type: multipart/mixed; boundary=\"" + params["boundary"] + "\"\r\n\r\n" + string(body)
			out = append(out, unpack(t, []byte(nested))...)
			continue
		}
		out = append(out, [2]string{kind, string(body)})
	}
}

func TestUserDataIsMergedWithBakesOwn(t *testing.T) {
	zipped := new(bytes.Buffer)
	w := gzip.NewWriter(zipped)
	_, _ = w.Write([]byte("#!/bin/sh\necho zipped\n"))
	_ = w.Close()
	for _, c := range []struct{ name, user, kind, body string }{
		{"a script", "#!/bin/sh\necho hi\n", "text/x-shellscript", "#!/bin/sh\necho hi\n"},
		{"a cloud-config", "#cloud-config\npackages: [jq]\n", "text/cloud-config", "#cloud-config\npackages: [jq]\n"},
		{"a boothook", "#cloud-boothook\n#!/bin/sh\n", "text/cloud-boothook", "#cloud-boothook\n#!/bin/sh\n"},
		{"an include", "#include\nhttp://x\n", "text/x-include-url", "#include\nhttp://x\n"},
		{"in base64 already", base64.StdEncoding.EncodeToString([]byte("#!/bin/sh\necho coded\n")), "text/x-shellscript", "#!/bin/sh\necho coded\n"},
		{"compressed", zipped.String(), "text/x-shellscript", "#!/bin/sh\necho zipped\n"},
		{"compressed and in base64", base64.StdEncoding.EncodeToString(zipped.Bytes()), "text/x-shellscript", "#!/bin/sh\necho zipped\n"},
		{"a MIME message of its own", "MIME-Version: 1.0\nContent-Type: multipart/mixed;\n boundary=\"b\"\n\n--b\nContent-Type: text/x-shellscript\n\n#!/bin/sh\necho part\n--b--\n", "text/x-shellscript", "#!/bin/sh\necho part"},
	} {
		t.Run(c.name, func(t *testing.T) {
			user, err := (&UserData{Text: c.user, Merge: true}).Read(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			data, err := Merge([]byte(own), user)
			if err != nil {
				t.Fatal(err)
			}
			got := unpack(t, data)
			if len(got) != 2 || got[0] != [2]string{"text/cloud-config", own} || got[1][0] != c.kind || strings.TrimSpace(got[1][1]) != strings.TrimSpace(c.body) {
				t.Errorf("got %q", got)
			}
		})
	}
}

func TestUserDataComesFromATextAFileOrATemplate(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"script": "#!/bin/sh\necho filed\n", "made": "#!/bin/sh\necho {{ .who }}\n", "wanting": "#!/bin/sh\necho {{ .nobody }}\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		from UserData
		want string // or part of the error
	}{
		{UserData{Text: "#!/bin/sh\necho said\n"}, "#!/bin/sh\necho said\n"},
		{UserData{File: "script"}, "#!/bin/sh\necho filed\n"},
		{UserData{File: filepath.Join(dir, "script")}, "#!/bin/sh\necho filed\n"},
		{UserData{Template: "made", Vars: map[string]any{"who": "web"}}, "#!/bin/sh\necho web\n"},
		{UserData{Template: "wanting", Vars: map[string]any{"who": "web"}}, "nobody"},
		{UserData{File: "nowhere"}, "nowhere"},
		{UserData{Text: "aGVsbG8gd29ybGQ="}, "aGVsbG8gd29ybGQ="}, // base64 of what no machine would take is meant as it stands
	} {
		got, err := c.from.Read(dir)
		if err == nil && string(got) != c.want || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %q, %v", c.from, got, err)
		}
	}
}

func TestTheUsersCloudConfigAddsToBakes(t *testing.T) {
	data, err := Merge([]byte(own), []byte("#cloud-config\nruncmd: [[touch, /x]]\n"))
	if err != nil || !strings.Contains(string(data), "Merge-Type: list(append)+dict(recurse_array)+str()") {
		t.Errorf("%s, %v", data, err)
	}
}

func TestUserDataAloneIsNotWrapped(t *testing.T) {
	for _, c := range []struct{ own, user, want string }{{own, "", own}, {own, " \n", own}, {"", "#!/bin/sh\n", "#!/bin/sh\n"}} {
		got, err := Merge([]byte(c.own), []byte(c.user))
		if err != nil || string(got) != c.want {
			t.Errorf("got %q, %v", got, err)
		}
	}
	if _, err := Merge([]byte(own), []byte("hello")); err == nil {
		t.Error("what cloud-init would not know was merged")
	}
}

func TestUserDataIsCompressedWhenItMustAndRefusedWhenItDoesNotFit(t *testing.T) {
	compressible := append([]byte("#!/bin/sh\n"), bytes.Repeat([]byte("echo hello world\n"), 2000)...)
	noise := make([]byte, 17<<10)
	for i := range noise {
		noise[i] = byte(rand.Uint32())
	}
	for _, c := range []struct {
		name   string
		data   []byte
		zipped bool
		err    bool
	}{
		{"16 KiB as it is", bytes.Repeat([]byte("x"), 16<<10), false, false},
		{"one byte more", bytes.Repeat([]byte("x"), 16<<10+1), true, false},
		{"a long script", compressible, true, false},
		{"noise", noise, false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			text, err := EncodeUserData(c.data)
			var large *UserDataError
			if errors.As(err, &large) != c.err {
				t.Fatalf("error %v", err)
			}
			if c.err {
				return
			}
			data, err := base64.StdEncoding.DecodeString(text)
			if err != nil || isGzip(data) != c.zipped || len(data) > 16<<10 {
				t.Errorf("%d bytes, compressed %v, %v", len(data), isGzip(data), err)
			}
		})
	}
}
