//go:build tools

// Package deps holds modules in go.mod while packages that use them are being written.
package deps

import (
	_ "github.com/bmatcuk/doublestar/v4"
	_ "github.com/cyphar/filepath-securejoin"
	_ "github.com/distribution/reference"
	_ "github.com/docker/cli/cli/config"
	_ "github.com/docker/docker/client"
	_ "github.com/docker/go-connections/tlsconfig"
	_ "github.com/expr-lang/expr"
	_ "github.com/gofrs/flock"
	_ "github.com/google/go-cmp/cmp"
	_ "github.com/google/go-containerregistry/pkg/registry"
	_ "github.com/google/go-containerregistry/pkg/v1/remote"
	_ "github.com/kevinburke/ssh_config"
	_ "github.com/klauspost/compress/zstd"
	_ "github.com/klauspost/pgzip"
	_ "github.com/moby/go-archive"
	_ "github.com/moby/patternmatcher/ignorefile"
	_ "github.com/opencontainers/image-spec/specs-go/v1"
	_ "github.com/pkg/sftp"
	_ "github.com/rogpeppe/go-internal/testscript"
	_ "github.com/santhosh-tekuri/jsonschema/v6"
	_ "github.com/spf13/cobra"
	_ "golang.org/x/crypto/ssh"
	_ "golang.org/x/sync/errgroup"
	_ "golang.org/x/sys/unix"
	_ "golang.org/x/term"
	_ "gopkg.in/yaml.v3"
	_ "mvdan.cc/sh/v3/interp"
)
