package oci_test

import (
	"archive/tar"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"bake/builder"
	"bake/builder/buildertest"
	"bake/steps/oci"
)

// TestHostileLayersReachNothingOutside unpacks layers as nobody honest makes
// them. VICTIM is a directory of this machine.
func TestHostileLayersReachNothingOutside(t *testing.T) {
	dir := func(name string) tar.Header { return tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: 0o777} }
	link := func(name, to string) tar.Header {
		return tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: to}
	}
	hard := func(name, to string) tar.Header {
		return tar.Header{Typeflag: tar.TypeLink, Name: name, Linkname: to}
	}
	with := func(h tar.Header, name, value string) tar.Header {
		h.PAXRecords = map[string]string{"SCHILY.xattr." + name: value}
		return h
	}
	up := strings.Repeat("../", 30)
	for name, tc := range map[string]struct {
		files []tar.Header
		ok    bool   // the layer may be used, what it asks for being harmless
		see   string // a script in the machine that must succeed then
	}{
		"a name with dots":                      {files: []tar.Header{file("../../../../VICTIM/x")}},
		"dots in the middle":                    {files: []tar.Header{file("bin/../../../../VICTIM/x")}},
		"an absolute name":                      {files: []tar.Header{file("/VICTIM/x")}, ok: true, see: "test -e VICTIM/x"},
		"a parent that is an absolute link":     {files: []tar.Header{link("out", "/VICTIM"), file("out/x")}},
		"a parent that is a link with dots":     {files: []tar.Header{link("out", up+"VICTIM"), file("out/x")}},
		"a link replaced by a directory":        {files: []tar.Header{link("out", "/VICTIM"), dir("out"), file("out/x")}, ok: true, see: "test -f /out/x"},
		"a directory replaced by a link":        {files: []tar.Header{dir("out"), file("out/a"), link("out", "/VICTIM"), file("out/x")}},
		"a grandparent replaced by a link":      {files: []tar.Header{dir("a"), dir("a/b"), file("a/b/c"), link("a", "/VICTIM"), file("a/b/x")}},
		"a link chain":                          {files: []tar.Header{link("a", "b"), link("b", "/VICTIM"), file("a/x")}},
		"writing through a link":                {files: []tar.Header{link("x", "/VICTIM/x"), file("x")}, ok: true, see: "test -f /x"},
		"a hard link with dots":                 {files: []tar.Header{hard("x", up+"VICTIM/secret")}},
		"an absolute hard link":                 {files: []tar.Header{hard("x", "/VICTIM/secret")}},
		"a hard link through a link":            {files: []tar.Header{link("out", "/VICTIM"), hard("x", "out/secret")}},
		"writing through a hard link to a link": {files: []tar.Header{link("l", "/VICTIM/x"), hard("h", "l"), file("h")}, ok: true, see: "test -f /h"},
		"a link loop":                           {files: []tar.Header{link("a", "b"), link("b", "a"), file("a/x")}},
		"a whiteout of the parent":              {files: []tar.Header{file("bin/.wh...")}},
		"a whiteout of the directory":           {files: []tar.Header{file("bin/.wh..")}},
		"a whiteout of nothing":                 {files: []tar.Header{file("bin/.wh.")}},
		"a whiteout through a link":             {files: []tar.Header{link("out", "/VICTIM"), file("out/.wh.secret")}},
		"opaque through a link":                 {files: []tar.Header{link("out", "/VICTIM"), file("out/.wh..wh..opq")}},
		"a device that is a whiteout":           {files: []tar.Header{{Typeflag: tar.TypeChar, Name: "bin/sh"}}},
		"overlayfs's redirect":                  {files: []tar.Header{with(dir("out"), "trusted.overlay.redirect", "/bin")}, ok: true, see: "test ! -e /out/sh"},
		"overlayfs's opaque mark":               {files: []tar.Header{with(with(dir("bin"), "trusted.overlay.opaque", "y"), "user.overlay.opaque", "y")}, ok: true, see: "test -x /bin/sh"},
		"a file that is the top":                {files: []tar.Header{file(".")}},
		"/dev that leads outside":               {files: []tar.Header{link("dev", "/VICTIM")}, ok: true},
		"/proc that leads outside":              {files: []tar.Header{link("proc", "/VICTIM")}, ok: true},
		"resolv.conf that leads outside":        {files: []tar.Header{link("etc/resolv.conf", up+"VICTIM/secret")}, ok: true, see: "! grep -q untouched /etc/resolv.conf"},
		"a name with a newline":                 {files: []tar.Header{file("a\nb")}, ok: true, see: "test -f '/a\nb'"},
	} {
		t.Run(name, func(t *testing.T) {
			victim := t.TempDir()
			if err := os.WriteFile(filepath.Join(victim, "secret"), []byte("untouched"), 0o644); err != nil {
				t.Fatal(err)
			}
			e := newEngine(t, oci.Options{})
			replace := strings.NewReplacer("VICTIM", strings.TrimPrefix(victim, "/"))
			for i, h := range tc.files {
				tc.files[i].Name, tc.files[i].Linkname = replace.Replace(h.Name), replace.Replace(h.Linkname)
			}
			img := busybox(t, layerOf(t, tc.files, nil))
			err := use(t, e, img, replace.Replace(tc.see))
			if (err == nil) != tc.ok && tc.see != "" || err == nil && !tc.ok {
				t.Errorf("got %v", err)
			}
			left, rerr := os.ReadDir(victim)
			secret, serr := os.ReadFile(filepath.Join(victim, "secret"))
			if rerr != nil || len(left) != 1 || serr != nil || string(secret) != "untouched" {
				t.Errorf("outside: %v %q (%v, %v)", left, secret, rerr, serr)
			}
		})
	}
}

type tarHeader = tar.Header

func file(name string) tar.Header {
	return tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o666}
}

// use opens a machine on the image and runs a script in it, if there is one.
func use(t *testing.T, e *oci.Engine, img v1.Image, script string) error {
	t.Helper()
	cat := catalog(e, func(context.Context) (v1.Image, error) { return img, nil })
	sc := buildertest.Scope(t, cat, t.TempDir())
	src := cat.Sources["box"]()
	m, err := src.Open(t.Context(), sc, builder.Opening{Platform: here(t), Pin: builder.Pin{Digest: "sha256:box"}})
	if err != nil {
		return err
	}
	comm, err := src.Dial(t.Context(), sc, m)
	if err != nil {
		return err
	}
	defer comm.Close()
	if script == "" {
		return nil
	}
	return comm.Run(t.Context(), builder.Command{Script: script})
}

// TestStepsAndCopiesStayInside tries the same at run time.
func TestStepsAndCopiesStayInside(t *testing.T) {
	victim := t.TempDir()
	_, comm, _ := machine(t, newEngine(t, oci.Options{}), busybox(t))
	script := "ln -s " + victim + " /out; ln -s ../../../../../../.." + victim + " /dots; mkdir -p " + victim + "; touch /out/x /dots/y; cd /; i=0; while [ $i -lt 50 ]; do cd ..; i=$((i+1)); done; mkdir -p ." + victim + "/z"
	if err := comm.Run(t.Context(), builder.Command{Script: script}); err != nil {
		t.Fatal(err)
	}
	for _, dst := range []string{"/out", "/dots", "/../../../.." + victim} {
		err := comm.Put(t.Context(), dst, func(yield func(builder.File, error) bool) {
			yield(builder.File{Path: "put", Mode: 0o644}, nil)
		})
		t.Logf("put to %s: %v", dst, err)
	}
	if left, err := os.ReadDir(victim); err != nil || len(left) > 0 {
		t.Errorf("outside: %v, %v", left, err)
	}
}
