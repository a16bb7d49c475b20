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

const (
	// settling is how long what was just made may be unknown: AWS is eventually
	// consistent.
	settling = 2 * time.Minute
	// silence is how long AWS may fail to answer at all.
	silence = 10 * time.Minute
	// blame is how long AWS may say that the question is wrong: credentials that
	// have expired may be renewed meanwhile, as by `aws sso login`.
	blame = time.Minute
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
	wake    chan struct{} // a watch has come, or the last is gone
	running bool
}

type watch[T any] struct {
	id   string
	news chan observation[T] // the newest only
	plan timetable
	far  float64   // its progress; of the loop alone
	next time.Time // when it is to be looked at; of the loop, once it is added
}

type observation[T any] struct {
	found bool
	value T
	at    time.Time
	err   error // AWS could not be asked, and will not be
}

func newPoller[T any](kind string, batch int, describe func(context.Context, []string) (map[string]T, error)) *poller[T] {
	return &poller[T]{kind: kind, batch: batch, describe: describe, watches: map[*watch[T]]bool{}, wake: make(chan struct{}, 1)}
}

// wait returns what id is when done says so. done is called with each new
// state, in this goroutine; its error ends the wait. The error is
// builder.ErrNotFound if there is no such thing, or no longer.
func (p *poller[T]) wait(ctx context.Context, id string, done func(T) (bool, error)) (T, error) {
	v, _, err := p.follow(ctx, id, timetable{from: time.Now()}, done)
	return v, err
}

// follow is wait with a timetable of its own. It also returns how long what was
// waited for took, as well as the looks tell; 0 if it did not come about.
func (p *poller[T]) follow(ctx context.Context, id string, plan timetable, done func(T) (bool, error)) (T, time.Duration, error) {
	w := &watch[T]{id: id, plan: plan, news: make(chan observation[T], 1)}
	now := time.Now()
	w.next = now.Add(plan.first(now.Sub(plan.from)))
	p.add(w)
	defer p.remove(w)
	var last T
	seen, pending := now, now // what was begun before was not over yet when somebody saw it last
	for {
		select {
		case <-ctx.Done():
			return last, 0, context.Cause(ctx)
		case o := <-w.news:
			switch {
			case o.err != nil:
				return last, 0, o.err
			case o.found:
				last, seen = o.value, o.at
				if ok, err := done(o.value); err != nil {
					return last, 0, err
				} else if ok { // it came about between two looks
					return last, pending.Add(o.at.Sub(pending) / 2).Sub(plan.from), nil
				}
				pending = o.at
			case time.Since(seen) > settling:
				return last, 0, fmt.Errorf("%s %s: %w", p.kind, w.id, builder.ErrNotFound)
			}
		}
	}
}

func (p *poller[T]) add(w *watch[T]) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.watches[w] = true
	if !p.running {
		p.running = true
		go p.run()
	}
	p.rouse()
}

func (p *poller[T]) remove(w *watch[T]) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.watches, w)
	if len(p.watches) == 0 {
		p.rouse() // the loop is over
	}
}

func (p *poller[T]) rouse() {
	select {
	case p.wake <- struct{}{}:
	default: // it is awake
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
		now := time.Now()
		if early := due(watches, looked, now).Sub(now); early > 0 {
			timer.Reset(early)
			continue
		}
		looked = now
		if err := p.look(watches); err == nil {
			answered = time.Now()
		} else if isDenied(err) || time.Since(answered) > patienceWith(err) {
			tell(watches, func(*watch[T]) observation[T] { return observation[T]{err: err} })
		}
		now = time.Now()
		for _, w := range watches {
			w.next = now.Add(w.plan.pause(now.Sub(w.plan.from), w.far))
		}
		timer.Reset(due(watches, looked, now).Sub(now))
	}
}

// patienceWith is how long an error of a look is got over.
func patienceWith(err error) time.Duration {
	if blamesCaller(err) {
		return blame
	}
	return silence
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

// due is when to look next: as soon as one of the watches wants it, but not
// sooner after the last look than the one who has waited longest would. So fifty
// builds, each with a time of its own, do not look fifty times.
func due[T any](watches []*watch[T], looked, now time.Time) time.Time {
	next, longest := watches[0].next, time.Duration(0)
	for _, w := range watches {
		if w.next.Before(next) {
			next = w.next
		}
		longest = max(longest, now.Sub(w.plan.from))
	}
	if gap := looked.Add(min(max(soonest, longest/finest), crowd)); next.Before(gap) {
		return gap
	}
	return next
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
		maps.Copy(found, some)
		ids = ids[n:]
	}
	at := time.Now()
	tell(watches, func(w *watch[T]) observation[T] {
		v, ok := found[w.id]
		if ok && p.progress != nil {
			w.far = p.progress(v)
		}
		return observation[T]{found: ok, value: v, at: at}
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
