package ssh

import (
	"fmt"
	"io"
	"io/fs"
	"iter"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"bake/builder"
	"bake/internal/sshtest"
)

const eighty = 40 * time.Millisecond // each way

// steps connects and runs n trivial scripts one after the other.
func benchSteps(b *testing.B, n int, delay time.Duration) {
	s := sshtest.Start(b, sshtest.Options{Delay: delay})
	c := config(s)
	c.Log = func(string, ...any) {}
	for b.Loop() {
		m := connect(b, c)
		for range n {
			if err := m.Run(b.Context(), rootCommand("true")); err != nil {
				b.Fatal(err)
			}
		}
		m.Close()
	}
}

func BenchmarkSteps1(b *testing.B)     { benchSteps(b, 1, 0) }
func BenchmarkSteps20(b *testing.B)    { benchSteps(b, 20, 0) }
func BenchmarkSteps100(b *testing.B)   { benchSteps(b, 100, 0) }
func BenchmarkSteps20Far(b *testing.B) { benchSteps(b, 20, eighty) }

// localFiles yields files as the step `copy` does: an *os.File is an io.ReaderAt.
func localFiles(b testing.TB, paths ...string) iter.Seq2[builder.File, error] {
	return func(yield func(builder.File, error) bool) {
		for _, root := range paths {
			err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
				if err != nil {
					return err
				}
				info, err := d.Info()
				if err != nil {
					return err
				}
				rel, err := filepath.Rel(filepath.Dir(root), p)
				if err != nil {
					return err
				}
				f := builder.File{Path: rel, Mode: info.Mode(), Size: info.Size(), ModTime: info.ModTime(), Open: func() (io.ReadCloser, error) { return os.Open(p) }}
				if !yield(f, nil) {
					return fs.SkipAll
				}
				return nil
			})
			if err != nil {
				yield(builder.File{}, err)
			}
		}
	}
}

func benchPut(b *testing.B, delay time.Duration, path string) {
	s := sshtest.Start(b, sshtest.Options{Delay: delay})
	c := config(s)
	c.Log = func(string, ...any) {}
	for b.Loop() {
		m := connect(b, c)
		if err := m.Put(b.Context(), "/run/put", localFiles(b, path)); err != nil {
			b.Fatal(err)
		}
		m.Close()
		b.StopTimer()
		again := connect(b, c)
		output(b, again, rootCommand("rm -rf /run/put"))
		again.Close()
		b.StartTimer()
	}
	reportMemory(b)
}

func BenchmarkPut1GiB(b *testing.B)      { benchPut(b, 0, halfCompressible(b, 1024)) }
func BenchmarkPut256MiBFar(b *testing.B) { benchPut(b, eighty, halfCompressible(b, 256)) }
func BenchmarkPutTree(b *testing.B)      { benchPut(b, 0, smallFiles(b)) }
func BenchmarkPutTreeFar(b *testing.B)   { benchPut(b, eighty, smallFiles(b)) }

func BenchmarkGet1GiB(b *testing.B) {
	path := halfCompressible(b, 1024)
	s := sshtest.Start(b, sshtest.Options{})
	c := config(s)
	c.Log = func(string, ...any) {}
	for b.Loop() {
		m := connect(b, c)
		for f, err := range m.Get(b.Context(), path) {
			if err != nil {
				b.Fatal(err)
			}
			r, err := f.Open()
			if err != nil {
				b.Fatal(err)
			}
			out, err := os.Create(filepath.Join(b.TempDir(), "got"))
			if err != nil {
				b.Fatal(err)
			}
			if _, err := io.Copy(out, r); err != nil {
				b.Fatal(err)
			}
			out.Close()
			os.Remove(out.Name())
		}
		m.Close()
	}
	reportMemory(b)
}

// The OpenSSH client on the same server, to compare with.
func BenchmarkSCPPut1GiB(b *testing.B)      { benchSCP(b, 0, halfCompressible(b, 1024)) }
func BenchmarkSCPPut256MiBFar(b *testing.B) { benchSCP(b, eighty, halfCompressible(b, 256)) }

func benchSCP(b *testing.B, delay time.Duration, path string) {
	s := sshtest.Start(b, sshtest.Options{Delay: delay})
	for b.Loop() {
		cmd := exec.Command("scp", "-F", "none", "-q", "-P", strconv.Itoa(s.Port), "-i", s.KeyFile, "-o", "UserKnownHostsFile="+s.KnownHosts, path, "root@"+s.Host+":/run/put")
		if out, err := cmd.CombinedOutput(); err != nil {
			b.Fatalf("%v: %s", err, out)
		}
	}
}

// reportMemory reports the most memory the process has held, in MB.
func reportMemory(b *testing.B) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return
	}
	var kb float64
	for line := range lineSeq(string(status)) {
		if _, err := fmt.Sscanf(line, "VmHWM: %f kB", &kb); err == nil {
			b.ReportMetric(kb/1000, "peak-MB")
		}
	}
}

func lineSeq(s string) iter.Seq[string] {
	return func(yield func(string) bool) {
		start := 0
		for i := range s {
			if s[i] == '\n' {
				if !yield(s[start:i]) {
					return
				}
				start = i + 1
			}
		}
	}
}

// halfCompressible makes a file: 64 KiB of noise, 64 KiB of text, and so on.
func halfCompressible(b testing.TB, mib int) string {
	b.Helper()
	path := filepath.Join(b.TempDir(), "data")
	f, err := os.Create(path)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	r := rand.NewChaCha8([32]byte{1})
	noise, text := make([]byte, 64<<10), make([]byte, 64<<10)
	for i := range text {
		text[i] = "abcdefgh ijkl"[i*7%13]
	}
	for range mib * 8 {
		_, _ = r.Read(noise)
		_, _ = r.Read(text[:512])
		if _, err := f.Write(noise); err != nil {
			b.Fatal(err)
		}
		if _, err := f.Write(text); err != nil {
			b.Fatal(err)
		}
	}
	return path
}

// smallFiles makes 10,000 files of 1 KiB in 100 folders.
func smallFiles(b testing.TB) string {
	b.Helper()
	dir := filepath.Join(b.TempDir(), "tree")
	r := rand.NewChaCha8([32]byte{2})
	data := make([]byte, 1024)
	for i := range 10000 {
		sub := filepath.Join(dir, fmt.Sprintf("d%02d", i%100))
		if i < 100 {
			if err := os.MkdirAll(sub, 0o755); err != nil {
				b.Fatal(err)
			}
		}
		_, _ = r.Read(data)
		if err := os.WriteFile(filepath.Join(sub, fmt.Sprintf("f%05d", i)), data, 0o644); err != nil {
			b.Fatal(err)
		}
	}
	return dir
}
