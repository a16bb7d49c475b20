package main

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"bake/internal/dockertest"
)

// baseTar returns the root filesystem that all builds start from: a Debian
// minbase, or, where no bootstrapper can make one, busybox alone. It is kept for
// the next time.
func (l *lab) baseTar(ctx context.Context) (string, error) {
	path := filepath.Join(l.dir, "base.tar")
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	tmp := path + ".part"
	var err error
	switch {
	case l.tools["mmdebstrap"] != "" && os.Geteuid() == 0:
		err = l.do(ctx, l.cmd("mmdebstrap", "--variant=minbase", "--quiet", "--format=tar", "bookworm", tmp))
	default:
		err = errors.New("mmdebstrap is not installed")
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "bench: the base is busybox, not Debian: %v\n", err)
		if err := busyboxTar(tmp); err != nil {
			return "", err
		}
	}
	return path, os.Rename(tmp, path)
}

// busyboxTar writes a root filesystem of nothing but busybox.
func busyboxTar(path string) (err error) {
	program, err := os.Open("/bin/busybox")
	if err != nil {
		return err
	}
	defer program.Close()
	info, err := program.Stat()
	if err != nil {
		return err
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	tw := tar.NewWriter(f)
	for _, dir := range []string{"bin/", "dev/", "etc/", "proc/", "sys/", "tmp/"} {
		if err := tw.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: dir, Mode: 0o755}); err != nil {
			return err
		}
	}
	if err := tw.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "bin/busybox", Mode: 0o755, Size: info.Size()}); err != nil {
		return err
	}
	if _, err := io.Copy(tw, program); err != nil {
		return err
	}
	for _, name := range []string{"sh", "cat", "echo", "mkdir", "rm", "chmod", "true", "sleep"} {
		if err := tw.WriteHeader(&tar.Header{Typeflag: tar.TypeSymlink, Name: "bin/" + name, Linkname: "busybox", Mode: 0o777}); err != nil {
			return err
		}
	}
	return tw.Close()
}

// baseDocker starts a private Docker engine and loads the base into it as
// bench-base.
func (l *lab) baseDocker(ctx context.Context) error {
	if err := l.engine(); err != nil {
		return err
	}
	return l.once("loading the base into docker", func() error {
		base, err := l.baseTar(ctx)
		if err != nil {
			return err
		}
		return l.do(ctx, l.cmd("docker", "import", base, "bench-base:latest"))
	})
}

// engine starts the private Docker engine.
func (l *lab) engine() error {
	return l.once("starting a private dockerd", func() error {
		if l.tools["dockerd"] == "" {
			return errors.New("dockerd is not installed")
		}
		dir := l.path("docker")
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		daemon, err := dockertest.Launch(dir)
		if err != nil {
			return err
		}
		l.closers = append(l.closers, daemon.Stop)
		l.docker = daemon.Host
		return nil
	})
}

// baseBuildah makes the base an image of buildah's own storage.
func (l *lab) baseBuildah(ctx context.Context) error {
	return l.once("importing the base into buildah", func() error {
		base, err := l.baseTar(ctx)
		if err != nil {
			return err
		}
		dir := l.path("buildah-base")
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		if err := os.Link(base, filepath.Join(dir, "base.tar")); err != nil {
			return err
		}
		if _, err := l.file("buildah-base/Dockerfile", "FROM scratch\nADD base.tar /\n"); err != nil {
			return err
		}
		l.closers = append(l.closers, func() error {
			// Its storage has mounts of its own.
			return l.do(context.WithoutCancel(ctx), l.buildah("rmi", "--all", "--force"))
		})
		return l.do(ctx, l.buildah("bud", "--quiet", "-t", "bench-base", dir))
	})
}
