package drain_test

import (
	"bytes"
	"os"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"bake/internal/drain"
)

func TestWhatWasWrittenIsReadAndNobodyIsWaitedFor(t *testing.T) {
	for name, open := range map[string]func(*testing.T) (near, far *os.File){"pipe": pipe, "terminal": terminal} {
		t.Run(name, func(t *testing.T) {
			near, far := open(t)
			// So often that the kernel's work queue is behind now and then.
			for i := range 2000 {
				want := []byte(strconv.Itoa(i) + ";")
				if _, err := far.Write(want); err != nil {
					t.Fatal(err)
				}
				if err := near.SetReadDeadline(time.Now()); err != nil { // as one who gave up reading
					t.Fatal(err)
				}
				var got bytes.Buffer
				drain.File(&got, near)
				if !bytes.Equal(got.Bytes(), want) {
					t.Fatalf("got %q; want %q", got.Bytes(), want)
				}
			}
			far.Close()
			drain.File(new(bytes.Buffer), near)
		})
	}
}

func pipe(t *testing.T) (near, far *os.File) {
	near, far, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { near.Close(); far.Close() })
	return near, far
}

func terminal(t *testing.T) (near, far *os.File) {
	near, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { near.Close() })
	raw, err := near.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var n int
	var failed error
	if err := raw.Control(func(fd uintptr) {
		if failed = unix.IoctlSetPointerInt(int(fd), unix.TIOCSPTLCK, 0); failed == nil {
			n, failed = unix.IoctlGetInt(int(fd), unix.TIOCGPTN)
		}
	}); err != nil || failed != nil {
		t.Fatal(err, failed)
	}
	far, err = os.OpenFile("/dev/pts/"+strconv.Itoa(n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { far.Close() })
	return near, far
}
