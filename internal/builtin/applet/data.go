package applet

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/klauspost/compress/gzip"
)

// checksum makes sha256sum and its like.
func checksum(newHash func() hash.Hash) Func {
	sum := func(r io.Reader) (string, error) {
		h := newHash()
		_, err := io.Copy(h, r)
		return hex.EncodeToString(h.Sum(nil)), err
	}
	return func(_ context.Context, c *Call) error {
		o, err := c.parse("cbtsqw", map[string]byte{"check": 'c', "status": 's', "quiet": 'q', "binary": 'b', "text": 't', "warn": 'w'})
		if err != nil {
			return err
		}
		if o.has("c") {
			return c.verify(o, sum)
		}
		return c.eachInput(o.rest, func(name string, r io.Reader) error {
			digest, err := sum(r)
			if err != nil {
				return err
			}
			return c.printf("%s  %s\n", digest, name)
		})
	}
}

// verify reads lists of digests and checks the files they name.
func (c *Call) verify(o options, sum func(io.Reader) (string, error)) error {
	bad, checked := 0, 0
	err := c.eachInput(o.rest, func(_ string, r io.Reader) error {
		return eachLine(r, func(line string) error {
			want, name, ok := strings.Cut(strings.TrimSpace(line), " ")
			if !ok {
				return nil
			}
			name = strings.TrimPrefix(strings.TrimPrefix(name, " "), "*")
			checked++
			result := "OK"
			f, err := os.Open(c.Path(name))
			if err != nil {
				c.Warn(relabel(err, name))
				result = "FAILED open or read"
			} else {
				got, err := sum(f)
				f.Close()
				if err != nil || !strings.EqualFold(got, want) {
					result = "FAILED"
				}
			}
			if result != "OK" {
				bad++
			}
			if o.has("s") || o.has("q") && result == "OK" {
				return nil
			}
			return c.printf("%s: %s\n", name, result)
		})
	})
	switch {
	case err != nil:
		return err
	case checked == 0:
		return errors.New("no properly formatted checksum lines found")
	case bad > 0:
		return fmt.Errorf("WARNING: %d of %d computed checksums did NOT match", bad, checked)
	}
	return nil
}

func base64Coder(_ context.Context, c *Call) error {
	o, err := c.parse("diw:", map[string]byte{"decode": 'd', "wrap": 'w', "ignore-garbage": 'i'})
	if err != nil {
		return err
	}
	width, err := strconv.Atoi(o.get('w', "76"))
	if err != nil {
		return usagef("invalid wrap size: '%s'", o.get('w', ""))
	}
	return c.eachInput(o.rest, func(_ string, r io.Reader) error {
		if o.has("d") {
			_, err := io.Copy(c.Stdout, base64.NewDecoder(base64.StdEncoding, r))
			return err
		}
		out := &wrapper{w: bufio.NewWriter(c.Stdout), width: width}
		enc := base64.NewEncoder(base64.StdEncoding, out)
		_, err := io.Copy(enc, r)
		return errors.Join(err, enc.Close(), out.end())
	})
}

// A wrapper breaks text into lines of a width; 0 is one line without an end.
type wrapper struct {
	w          *bufio.Writer
	width, col int
}

func (w *wrapper) Write(p []byte) (int, error) {
	for _, b := range p {
		if w.width > 0 && w.col == w.width {
			w.w.WriteByte('\n')
			w.col = 0
		}
		w.col++
		if err := w.w.WriteByte(b); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}

func (w *wrapper) end() error {
	if w.width > 0 && w.col > 0 {
		w.w.WriteByte('\n')
	}
	return w.w.Flush()
}

func gzipper(_ context.Context, c *Call) error {
	o, err := c.parse("cdfkntqv123456789", map[string]byte{"stdout": 'c', "to-stdout": 'c', "decompress": 'd', "uncompress": 'd',
		"force": 'f', "keep": 'k', "test": 't', "fast": '1', "best": '9', "no-name": 'n'})
	if err != nil {
		return err
	}
	z := zipper{decompress: o.has("dt") || c.Name != "gzip", level: gzip.DefaultCompression}
	if l := o.last("123456789"); l != 0 {
		z.level = int(l - '0')
	}
	names := o.rest
	if len(names) == 0 {
		names = []string{"-"}
	}
	for _, name := range names {
		if name == "-" || o.has("c") || o.has("t") || c.Name == "zcat" {
			out := c.Stdout
			if o.has("t") {
				out = io.Discard
			}
			if err := c.eachInput([]string{name}, func(_ string, r io.Reader) error { return z.copy(out, r) }); err != nil {
				return err
			}
			continue
		}
		if err := z.file(c.Path(name), o.has("k"), o.has("f")); err != nil {
			c.Warn(err)
		}
	}
	return nil
}

type zipper struct {
	decompress bool
	level      int
}

func (z zipper) copy(w io.Writer, r io.Reader) error {
	if z.decompress {
		gr, err := gzip.NewReader(r)
		if err != nil {
			return err
		}
		_, err = io.Copy(w, gr)
		return err
	}
	gw, err := gzip.NewWriterLevel(w, z.level)
	if err != nil {
		return err
	}
	_, err = io.Copy(gw, r)
	return errors.Join(err, gw.Close())
}

// file replaces a file by its compressed or plain form.
func (z zipper) file(path string, keep, force bool) error {
	to := path + ".gz"
	if z.decompress {
		var ok bool
		if to, ok = strings.CutSuffix(path, ".gz"); !ok {
			if to, ok = strings.CutSuffix(path, ".tgz"); !ok {
				return fmt.Errorf("%s: unknown suffix -- ignored", path)
			}
			to += ".tar"
		}
	}
	in, err := os.Open(path)
	if err != nil {
		return err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	flags := os.O_WRONLY | os.O_CREATE | os.O_EXCL
	if force {
		flags = os.O_WRONLY | os.O_CREATE | os.O_TRUNC
	}
	out, err := os.OpenFile(to, flags, 0o600)
	if err != nil {
		return err
	}
	if err := errors.Join(z.copy(out, in), out.Close()); err != nil {
		os.Remove(to)
		return fmt.Errorf("%s: %w", path, err)
	}
	if err := copyMeta(to, info); err != nil || keep {
		return err
	}
	return os.Remove(path)
}

// dd copies blocks: if= of= bs= count= skip= seek= and conv=notrunc.
func dd(_ context.Context, c *Call) error {
	arg := map[string]string{"bs": "512", "count": "-1", "skip": "0", "seek": "0"}
	for _, a := range c.Args {
		key, value, ok := strings.Cut(a, "=")
		if !ok {
			return usagef("unrecognized operand '%s'", a)
		}
		arg[key] = value
	}
	var size [4]int64
	for i, key := range []string{"bs", "count", "skip", "seek"} {
		var err error
		if size[i], err = parseSize(arg[key]); err != nil {
			return err
		}
	}
	bs, count, skip, seek := size[0], size[1], size[2], size[3]
	if bs < 1 {
		return usagef("invalid number: '%s'", arg["bs"])
	}
	in, out := c.Stdin, c.Stdout
	if name := arg["if"]; name != "" {
		f, err := os.Open(c.Path(name))
		if err != nil {
			return err
		}
		defer f.Close()
		in = f
	}
	if name := arg["of"]; name != "" {
		f, err := os.OpenFile(c.Path(name), os.O_WRONLY|os.O_CREATE, 0o666)
		if err != nil {
			return err
		}
		defer f.Close()
		if !strings.Contains(arg["conv"], "notrunc") {
			// Devices cannot be truncated and need not be.
			f.Truncate(seek * bs)
		}
		if seek > 0 {
			if _, err := f.Seek(seek*bs, io.SeekStart); err != nil {
				return err
			}
		}
		out = f
	}
	if _, err := io.CopyN(io.Discard, in, skip*bs); err != nil && err != io.EOF {
		return err
	}
	return c.blocks(out, in, bs, count, arg["status"] == "none")
}

func (c *Call) blocks(out io.Writer, in io.Reader, bs, count int64, silent bool) error {
	buf := make([]byte, bs)
	var full, partial, total int64
	for count < 0 || full+partial < count {
		n, err := io.ReadFull(in, buf)
		if n > 0 {
			if _, err := out.Write(buf[:n]); err != nil {
				return err
			}
			total += int64(n)
		}
		if int64(n) == bs {
			full++
		} else if n > 0 {
			partial++
		}
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			break
		}
		if err != nil {
			return err
		}
	}
	if !silent {
		fmt.Fprintf(c.Stderr, "%d+%d records in\n%d+%d records out\n%d bytes copied\n", full, partial, full, partial, total)
	}
	return nil
}
