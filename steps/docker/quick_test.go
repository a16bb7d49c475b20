package docker

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"bake/builder"
)

// stuckEngine passes calls on to a real engine, but none whose path ends with
// one of calls: it tells stuck and never answers.
func stuckEngine(t *testing.T, calls ...string) (e *Engine, stuck <-chan struct{}) {
	t.Helper()
	_, socket, _ := strings.Cut(shared.Start(t), "://")
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: "docker"})
	proxy.Transport = &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}
	seen, over := make(chan struct{}, 100), make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, call := range calls {
			if strings.HasSuffix(r.URL.Path, call) {
				seen <- struct{}{}
				<-over
				return
			}
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	t.Cleanup(func() { close(over) })
	return New(Options{Host: "tcp://" + server.Listener.Addr().String()}), seen
}

func TestInterruptIsHeededWhileTheEngineDoesNotAnswer(t *testing.T) {
	good := engine(t)
	img := busybox(t, v1.Config{Env: []string{"PATH=/bin"}})
	for _, call := range []string{"/attach", "/start"} {
		t.Run(call, func(t *testing.T) {
			sc, m := machine(t, good, img, builder.Opening{})
			bad, stuck := stuckEngine(t, call)
			m.Where = bad.where()
			comm, err := bad.Dial(t.Context(), sc, m)
			if err != nil {
				t.Fatal(err)
			}
			interrupted := errors.New("interrupted")
			ctx, cancel := context.WithCancelCause(t.Context())
			ran := make(chan error, 1)
			go func() { ran <- errors.Join(comm.Run(ctx, builder.Command{Script: "true"}), comm.Close()) }()
			<-stuck
			cancel(interrupted)
			select {
			case err := <-ran:
				if !errors.Is(err, interrupted) && !errors.Is(err, context.Canceled) {
					t.Errorf("error %v", err)
				}
			case <-time.After(10 * time.Second):
				t.Error("it still waits after 10 s")
			}
		})
	}
}

func TestCallThatIsNotAnsweredIsGivenUp(t *testing.T) {
	e, _ := stuckEngine(t)
	err := e.quick(t.Context(), "starting container x", time.Millisecond, func(ctx context.Context) error {
		<-ctx.Done()
		return ctx.Err()
	})
	if err == nil || err.Error() != "starting container x: no answer from the Docker engine within 1ms" {
		t.Errorf("error %v", err)
	}
}

func TestEngineGetsNoMoreCallsAtOnceThanItCanServe(t *testing.T) {
	e, _ := stuckEngine(t)
	for range atOnce {
		if _, err := e.turn(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := e.turn(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("one call more: error %v", err)
	}
}
