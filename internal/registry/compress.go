package registry

import (
	"fmt"
	"io"
	"runtime"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/zstd"
	"github.com/klauspost/pgzip"
)

// Compression is how a layer is compressed.
type Compression string

// The compressions of layers. Every registry and engine takes Gzip.
const (
	None Compression = "none"
	Gzip Compression = "gzip"
	Zstd Compression = "zstd"
)

// MediaType returns the OCI media type of a layer compressed so.
func (c Compression) MediaType() types.MediaType {
	switch c {
	case None:
		return types.OCIUncompressedLayer
	case Zstd:
		return types.OCILayerZStd
	}
	return types.OCILayer
}

// gzipBlock is what one processor compresses at a time, in bytes. The output
// depends on it, so it is the same everywhere.
const gzipBlock = 256 << 10

// Writer compresses what is written to it into w, on all processors and fast
// rather than small. The same input gives the same output on every machine.
func (c Compression) Writer(w io.Writer) (io.WriteCloser, error) {
	switch c {
	case None:
		return writeCloser{w}, nil
	case Zstd:
		return zstd.NewWriter(w, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(runtime.GOMAXPROCS(0)), zstd.WithWindowSize(1<<20))
	case Gzip:
		gz, err := pgzip.NewWriterLevel(w, pgzip.BestSpeed)
		if err != nil {
			return nil, err
		}
		return gz, gz.SetConcurrency(gzipBlock, runtime.GOMAXPROCS(0)+1)
	}
	return nil, fmt.Errorf("compression %q: want none, gzip or zstd", c)
}

type writeCloser struct{ io.Writer }

func (writeCloser) Close() error { return nil }

// descriptor names a finished layer.
func (p packed) descriptor() v1.Descriptor {
	return v1.Descriptor{MediaType: p.MediaType, Digest: p.Digest, Size: p.Size}
}
