package ami_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"bake/builder"
	"bake/builder/buildertest"
	"bake/internal/sandbox/api"
)

// A line is a process's way to AWS, which ends with the process: killed at the
// n-th call, it answers no more, and the journal takes nothing any more.
type line struct {
	w      *world
	server *httptest.Server
	kill   context.CancelFunc

	mu    sync.Mutex
	calls int
	at    int  // the call that is the last; 0: none
	after bool // the call is carried out, its answer lost
	dead  bool
}

func (w *world) newLine(at int, after bool, kill context.CancelFunc) *line {
	l := &line{w: w, at: at, after: after, kill: kill}
	l.server = httptest.NewServer(l)
	w.t.Cleanup(l.server.Close)
	return l
}

func (l *line) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	last, forward := l.next()
	if forward {
		l.pass(rw, r, body, last)
	}
	if last || !forward {
		rw.WriteHeader(http.StatusForbidden)
		fmt.Fprint(rw, `<Response><Errors><Error><Code>UnauthorizedOperation</Code><Message>killed</Message></Error></Errors></Response>`)
	}
}

// next counts a call. It says whether it is the last and whether it goes through.
func (l *line) next() (last, forward bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dead {
		return false, false
	}
	l.calls++
	if l.calls != l.at {
		return false, true
	}
	l.dead = true
	l.kill()
	return true, l.after
}

func (l *line) pass(rw http.ResponseWriter, r *http.Request, body []byte, silent bool) {
	u, err := url.Parse(l.w.sandbox.URL)
	if err != nil {
		panic(err)
	}
	out, err := http.NewRequestWithContext(context.WithoutCancel(r.Context()), r.Method, u.JoinPath(r.URL.Path).String()+"?"+r.URL.RawQuery, bytes.NewReader(body))
	if err != nil {
		panic(err)
	}
	out.Header, out.Host, out.ContentLength = r.Header, r.Host, int64(len(body))
	resp, err := http.DefaultTransport.RoundTrip(out)
	if err != nil || silent {
		return
	}
	defer resp.Body.Close()
	for k, v := range resp.Header {
		rw.Header()[k] = v
	}
	rw.WriteHeader(resp.StatusCode)
	_, _ = io.Copy(rw, resp.Body) // the client is gone if this fails
}

func (l *line) isDead() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.dead
}

// mortal is the journal of a process: dead, it neither writes nor reads.
type mortal struct {
	builder.Journal
	line *line
}

func (j mortal) Append(ctx context.Context, e builder.Entry) error {
	if j.line.isDead() {
		return buildertest.ErrCrash
	}
	return j.Journal.Append(ctx, e)
}

func (j mortal) Entries(ctx context.Context) ([]builder.Entry, error) {
	if j.line.isDead() {
		return nil, buildertest.ErrCrash
	}
	return j.Journal.Entries(ctx)
}

// tiny is a template whose whole run is short.
const tiny = `
name: web
source: {ami: {owner: amazon, name: "al2023-ami-2023.*-x86_64"}}
steps: [{script: echo one >>/log}]
outputs: [{ami: web-1}]
`

// tested is tiny with a test on a fresh machine.
const tested = tiny + "tests: [{script: '[ \"$(uniq /log)\" = one ]'}]\n"

// whole asks for every combination, which takes minutes: BAKE_EVERY_CRASH=1.
// Otherwise a sample of them is tried.
func whole() bool { return os.Getenv("BAKE_EVERY_CRASH") != "" }

// sampled reports whether the k-th of choices is tried at the n-th point.
func sampled(n, k, choices int) bool { return whole() || n%4 == 1 && n/4%choices == k }

// killed runs a plan in a process that is killed at its n-th call. It reports
// whether it came that far.
func (w *world) killed(p *builder.Plan, n int, after bool) bool {
	w.t.Helper()
	ctx, kill := context.WithTimeout(w.t.Context(), time.Minute)
	defer kill()
	l := w.newLine(n, after, kill)
	e := w.engineAt(l.server.URL, mortal{w.journal, l})
	_, err := e.Run(ctx, "r1", p)
	if !l.isDead() && err != nil {
		w.t.Fatalf("call %d: %v", n, err)
	}
	return l.isDead()
}

// TestKilledAtEveryCallOfAWS kills the process before and after each call of a
// run. Cleaned, nothing is left; resumed, the image is there exactly once.
func TestKilledAtEveryCallOfAWS(t *testing.T) {
	template := tiny
	if whole() {
		template = tested
	}
	then := []string{"clean", "resume", "clean, then resume"}
	for n := 1; ; n++ {
		reached := false
		for i, after := range []bool{false, true} {
			for k, what := range then {
				if !sampled(n, (k+i)%len(then), len(then)) {
					reached = reached || n%4 != 1
					continue
				}
				t.Run(fmt.Sprintf("call %d, carried out %v, %s", n, after, what), func(t *testing.T) {
					w := newWorld(t)
					p := w.compile(template)
					if err := w.engine(w.journal).Pin(t.Context(), "r1", p); err != nil {
						t.Fatal(err)
					}
					if !w.killed(p, n, after) {
						return
					}
					reached = true
					w.goOn(p, what)
				})
			}
		}
		if !reached {
			t.Logf("%d calls", n-1)
			break
		}
	}
}

// aged is a journal as it is read an hour later: what does not show by then
// was never made. What may yet show is waited for (builder.Lagging).
type aged struct{ builder.Journal }

func (j aged) Entries(ctx context.Context) ([]builder.Entry, error) {
	entries, err := j.Journal.Entries(ctx)
	for i := range entries {
		entries[i].Time = entries[i].Time.Add(-time.Hour)
	}
	return entries, err
}

// goOn cleans a run whose process died, or goes on with it, or both.
func (w *world) goOn(p *builder.Plan, what string) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Minute)
	defer cancel()
	if what != "resume" {
		if err := w.engine(aged{w.journal}).Release(ctx); err != nil {
			w.t.Fatal(err)
		}
		w.wantOnly("after clean", w.accepted()...)
	}
	if what == "clean" {
		return
	}
	if _, err := w.engine(aged{w.journal}).Run(ctx, "r1", p); err != nil {
		w.t.Fatal(err)
	}
	w.wantOnly("after resume", "image web-1 available ready", "snapshot")
}

// accepted is what stays after a clean: the image, if its build was accepted.
func (w *world) accepted() []string {
	entries, err := w.journal.Entries(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	if slices.ContainsFunc(entries, func(e builder.Entry) bool {
		return e.Kind == builder.StepEnd && e.Step.Phase() == builder.Accept
	}) {
		return []string{"image web-1 available ready", "snapshot"}
	}
	return nil
}

// TestCrashAtEveryWriteOfTheJournal is the same for the moments before and
// after each entry.
func TestCrashAtEveryWriteOfTheJournal(t *testing.T) {
	then := []string{"clean", "resume", "clean, then resume"}
	for n := 1; ; n++ {
		reached := false
		for k, what := range then {
			if !sampled(n, k, len(then)) {
				reached = reached || n%4 != 1
				continue
			}
			t.Run(fmt.Sprintf("write %d, %s", n, what), func(t *testing.T) {
				w := newWorld(t)
				p := w.compile(tiny)
				if err := w.engine(w.journal).Pin(t.Context(), "r1", p); err != nil {
					t.Fatal(err)
				}
				fuse := buildertest.NewFuse(n)
				_, err := w.engine(fuse.Journal(w.journal)).Run(t.Context(), "r1", p)
				if fuse.Seen() < n {
					return
				}
				if !errors.Is(err, buildertest.ErrCrash) {
					t.Fatalf("error %v, want a crash", err)
				}
				reached = true
				w.goOn(p, what)
			})
		}
		if !reached {
			t.Logf("%d writes", n-1)
			break
		}
	}
}

// TestFaultAtEveryCallOfAWS lets each call of a run go wrong in turn. A run that
// fails leaves nothing and can be resumed; one that does not has made its image
// exactly once.
func TestFaultAtEveryCallOfAWS(t *testing.T) {
	faults := []api.Fault{
		{Kind: api.FaultError, Code: "InternalError", Status: 500},
		{Kind: api.FaultError, Code: "InvalidParameterValue"},
		{Kind: api.FaultError, Code: "UnauthorizedOperation", Status: 403},
		{Kind: api.FaultThrottle},
		{Kind: api.FaultLost},
		{Kind: api.FaultDrop},
	}
	for n := 0; ; n++ {
		reached := false
		for k, f := range faults {
			if !sampled(n, k, len(faults)) {
				reached = reached || n%4 != 1
				continue
			}
			f.After = n
			t.Run(fmt.Sprintf("call %d, %s %s", n+1, f.Kind, f.Code), func(t *testing.T) {
				w := newWorld(t)
				p := w.compile(tiny)
				if err := w.engine(w.journal).Pin(t.Context(), "r1", p); err != nil {
					t.Fatal(err)
				}
				hit := w.faulty(f)
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				_, err := w.engine(w.journal).Run(ctx, "r1", p)
				if !hit() {
					if err != nil {
						t.Fatal(err)
					}
					return
				}
				reached = true
				w.sandbox.Faults.Clear()
				switch {
				case err == nil:
					w.wantOnly("after a run that came through", "image web-1 available ready", "snapshot")
				case errors.Is(err, builder.ErrLeft):
					w.goOn(p, "clean, then resume")
				default:
					w.wantOnly("after a run that failed", w.accepted()...)
					w.goOn(p, "resume")
				}
			})
		}
		if !reached {
			t.Logf("%d calls", n)
			break
		}
	}
}

// faulty makes a call go wrong. hit tells whether it came to it.
func (w *world) faulty(f api.Fault) (hit func() bool) {
	w.t.Helper()
	if err := w.sandbox.Faults.Add(f); err != nil {
		w.t.Fatal(err)
	}
	calls := 0
	var mu sync.Mutex
	w.sandbox.Faults.OnCall(func(_ *api.Call, _ int, done bool) {
		mu.Lock()
		defer mu.Unlock()
		if !done {
			calls++
		}
	})
	return func() bool {
		mu.Lock()
		defer mu.Unlock()
		return calls > f.After
	}
}

func TestWhatWasJustMadeMayNotBeSeenAtFirst(t *testing.T) {
	for _, reads := range []int{1, 2, 5} {
		t.Run(fmt.Sprintf("%d reads", reads), func(t *testing.T) {
			w := newWorld(t)
			p := w.compile(tested)
			if err := w.engine(w.journal).Pin(t.Context(), "r1", p); err != nil {
				t.Fatal(err)
			}
			if err := w.sandbox.Faults.Add(api.Fault{Kind: api.FaultHidden, Times: reads}); err != nil {
				t.Fatal(err)
			}
			_, err := w.engine(w.journal).Run(t.Context(), "r1", p)
			w.sandbox.Faults.Clear()
			if err != nil {
				t.Fatal(err)
			}
			w.wantOnly("after the run", "image web-1 available ready", "snapshot")
		})
	}
}
