package report

import (
	"io"
	"testing"

	"bake/builder"
	"bake/internal/redact"
)

// A line of output on its way through all that a run has in CI: secrets taken
// out, the run's files, plain lines.
func BenchmarkLogLine(b *testing.B) {
	files, err := NewFiles(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	plain, err := New(Options{Mode: Plain, Err: io.Discard})
	if err != nil {
		b.Fatal(err)
	}
	sink := Redact(Tee(files, plain), redact.New([]string{"ghp_0123456789abcdefghijABCDEFGHIJ012345", "correct horse battery staple"}))
	e := builder.Event{Type: builder.StepLog, Step: "web/provision/0", Stream: "stdout",
		Text: "Get:12 http://deb.debian.org/debian bookworm/main amd64 libgcc-s1 amd64 12.2.0-14 [49.9 kB]"}
	b.SetBytes(int64(len(e.Text)))
	for b.Loop() {
		sink.Emit(e)
	}
	if err := sink.Close(); err != nil {
		b.Fatal(err)
	}
}

func BenchmarkFrameOfTenBuilds(b *testing.B) {
	var r Run
	s := tenBuilds()
	for _, e := range s.events[:len(s.events)/2] {
		r.Apply(e)
	}
	for b.Loop() {
		layout(&r, newStyle(true, false), 120, 40, s.now)
	}
}
