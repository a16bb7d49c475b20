package amazon

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"bake/builder"
)

// How often a poller asks: after a quarter of the time that its youngest watch
// has waited, so that nothing is noticed late by more than that; and never more
// often than soonest, nor less often than latest. Of what tells how far it is,
// it asks after half of the time that it will still take, as it seems.
const (
	share   = 4
	soonest = 500 * time.Millisecond
	latest  = 5 * time.Second
	// farthest is how long what tells its progress is left alone, and closest
	// the share of its time that is waited even if it seems to be nearly done.
	farthest = 10 * time.Second
	closest  = 40
	// settling is how long what was just made may be unknown: AWS is eventually
	// consistent.
	settling = 2 * time.Minute
	// silence is how long AWS may fail to answer at all.
	silence = 10 * time.Minute
)

// A poller watches resources of one kind for all builds of this process: one
// Describe call serves every watch, so calls grow with time and not with builds.
type poller[T any] struct {
	kind string
	// describe returns those of ids that exist, by id; up to batch ids.
	describe func(ctx context.Context, ids []string) (map[string]T, error)
	batch    int
	// progress is how far a thing is, between 0 (that may mean unknown) and 1;
	// nil if things of this kind do not tell.
	progress func(T) float64

	mu      sync.Mutex
	watches map[*watch[T]]bool
	wake    chan struct{} // a new watch: look at once
	running bool
}

type watch[T any] struct {
	id   string
	from time.Time
	news chan observation[T] // the newest only
	calm bool                // it is in no hurry to learn of a change
	far  float64             // its progress; of the loop alone
}

type observation[T any] struct {
	found bool
	value T
	err   error // AWS could not be asked, and will not be
}

func newPoller[T any](kind string, batch int, describe func(context.Context, []string) (map[string]T, error)) *poller[T] {
	return &poller[T]{kind: kind, batch: batch, describe: describe, watches: map[*watch[T]]bool{}, wake: make(chan struct{}, 1)}
}

// wait returns what id is when done says so. done is called with each new
// state, in this goroutine; its error ends the wait. The error is
// builder.ErrNotFound if there is no such thing, or no longer.
func (p *poller[T]) wait(ctx context.Context, id string, done func(T) (bool, error)) (T, error) {
	return p.follow(ctx, newWatch[T](id), done)
}

// guard is wait for who expects no change: it asks as seldom as it may.
func (p *poller[T]) guard(ctx context.Context, id string, done func(T) (bool, error)) (T, error) {
	w := newWatch[T](id)
	w.calm = true
	return p.follow(ctx, w, done)
}

func (p *poller[T]) follow(ctx context.Context, w *watch[T], done func(T) (bool, error)) (T, error) {
	p.add(w)
	defer p.remove(w)
	var last T
	seen := w.from
	for {
		select {
		case <-ctx.Done():
			return last, context.Cause(ctx)
		case o := <-w.news:
			switch {
			case o.err != nil:
				return last, o.err
			case o.found:
				last, seen = o.value, time.Now()
				if ok, err := done(o.value); ok || err != nil {
					return last, err
				}
			case time.Since(seen) > settling:
				return last, fmt.Errorf("%s %s: %w", p.kind, w.id, builder.ErrNotFound)
			}
		}
	}
}

func newWatch[T any](id string) *watch[T] {
	return &watch[T]{id: id, from: time.Now(), news: make(chan observation[T], 1)}
}

func (p *poller[T]) add(w *watch[T]) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.watches[w] = true
	if !p.running {
		p.running = true
		go p.run()
	}
	select {
	case p.wake <- struct{}{}:
	default: // it is awake
	}
}

func (p *poller[T]) remove(w *watch[T]) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.watches, w)
	if len(p.watches) > 0 {
		return
	}
	select {
	case p.wake <- struct{}{}: // the loop is over
	default:
	}
}

// run looks until nobody watches.
func (p *poller[T]) run() {
	answered := time.Now()
	var looked time.Time
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-p.wake:
		}
		watches := p.current()
		if watches == nil {
			return
		}
		// Fifty builds that begin to wait at once are one look, not fifty.
		if early := soonest - time.Since(looked); early > 0 {
			timer.Reset(early)
			continue
		}
		looked = time.Now()
		if err := p.look(watches); err == nil {
			answered = time.Now()
		} else if isDenied(err) || time.Since(answered) > silence {
			tell(watches, func(*watch[T]) observation[T] { return observation[T]{err: err} })
		}
		timer.Reset(pause(watches))
	}
}

// current returns who watches; nil if nobody does, and then the loop is over.
func (p *poller[T]) current() []*watch[T] {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.watches) == 0 {
		p.running = false
		return nil
	}
	return slices.Collect(maps.Keys(p.watches))
}

// pause is how long to wait until the next look.
func pause[T any](watches []*watch[T]) time.Duration {
	least := farthest
	for _, w := range watches {
		least = min(least, w.pause())
	}
	return max(least, soonest)
}

func (w *watch[T]) pause() time.Duration {
	waited := time.Since(w.from)
	switch {
	case w.calm:
		return latest
	case w.far <= 0 || w.far >= 1:
		return min(waited/share, latest)
	}
	left := time.Duration(float64(waited) * (1 - w.far) / w.far)
	return max(left/2, min(waited/closest, latest))
}

// look asks for everything that is watched and tells each watch what it is now.
func (p *poller[T]) look(watches []*watch[T]) error {
	unique := map[string]bool{}
	var ids []string
	for _, w := range watches {
		if !unique[w.id] {
			unique[w.id] = true
			ids = append(ids, w.id)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), silence)
	defer cancel()
	found := map[string]T{}
	for len(ids) > 0 {
		n := min(len(ids), p.batch)
		some, err := p.describe(ctx, ids[:n])
		if err != nil {
			return fmt.Errorf("asking AWS about %s %s: %w", p.kind, ids[0], err)
		}
		for id, v := range some {
			found[id] = v
		}
		ids = ids[n:]
	}
	tell(watches, func(w *watch[T]) observation[T] {
		v, ok := found[w.id]
		if ok && p.progress != nil {
			w.far = p.progress(v)
		}
		return observation[T]{found: ok, value: v}
	})
	return nil
}

// tell gives each watch its newest observation; one that was not taken yet is dropped.
func tell[T any](watches []*watch[T], of func(*watch[T]) observation[T]) {
	for _, w := range watches {
		select {
		case <-w.news:
		default:
		}
		w.news <- of(w) // there is room: only this goroutine writes
	}
}
