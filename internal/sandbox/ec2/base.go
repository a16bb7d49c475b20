package ec2

import (
	"archive/tar"
	"bytes"
	"context"
	"io"
	"runtime"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"bake/builder"
	"bake/internal/builtin"
)

// The built-in base has neither sudo nor users. As what Amazon's and Debian's
// images hold, it gets the logins that people know, all of them root, and a sudo
// that has nothing to do but to read its options.
const (
	basePasswd = `root:x:0:0:root:/root:/bin/sh
nobody:x:65534:65534:nobody:/:/bin/false
ec2-user:x:0:0:EC2 Default User:/home/ec2-user:/bin/sh
admin:x:0:0:Debian:/home/admin:/bin/sh
`
	baseSudo = `#!/bin/sh
# Everybody is root here.
while [ $# -gt 0 ]; do
	case "$1" in
	-u | --user)
		case "$2" in
		root | ec2-user | admin) shift 2 ;;
		*) echo "sudo: the built-in base has root alone, not $2" >&2; exit 1 ;;
		esac ;;
	-p | -g | -C | -D | -T | --prompt | --group | --chdir) shift 2 ;;
	-v | -k | -K | -l | --validate | --list) exit 0 ;;
	--) shift; break ;;
	-*) shift ;;
	*=*) export "$1"; shift ;;
	*) break ;;
	esac
done
[ $# -gt 0 ] || exec /bin/sh
exec "$@"
`
)

// builtInBase is bake's built-in root filesystem with users.
func builtInBase(ctx context.Context) (v1.Image, error) {
	img, _, err := builtin.Image(ctx, builder.Platform{OS: "linux", Arch: runtime.GOARCH})
	if err != nil {
		return nil, err
	}
	var data bytes.Buffer
	w := tar.NewWriter(&data)
	for _, f := range []struct {
		name, text string
		mode       int64
	}{{"etc/passwd", basePasswd, 0o644}, {"usr/bin/sudo", baseSudo, 0o755}, {"home/ec2-user/", "", 0o755}, {"home/admin/", "", 0o755}} {
		h := &tar.Header{Name: f.name, Mode: f.mode, Size: int64(len(f.text)), Typeflag: tar.TypeReg}
		if f.text == "" {
			h.Typeflag = tar.TypeDir
		}
		if err := w.WriteHeader(h); err != nil {
			return nil, err
		}
		if _, err := io.WriteString(w, f.text); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data.Bytes())), nil })
	if err != nil {
		return nil, err
	}
	return mutate.AppendLayers(img, layer)
}
