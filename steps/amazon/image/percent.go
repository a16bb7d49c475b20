package image

import (
	"context"
	"strconv"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"bake/builder"
)

// A percent tells how far the snapshots of an image are that is being made.
type percent struct {
	p        *place
	id, verb string
	cancel   context.CancelFunc
	watchers sync.WaitGroup

	mu   sync.Mutex
	done map[string]int64 // by snapshot
}

func newPercent(p *place, doing string) *percent {
	verb, at, _ := strings.Cut(doing, " ")
	return &percent{p: p, id: at + " " + p.label, verb: verb, done: map[string]int64{}}
}

// watch begins to watch the snapshots that the image shows by now.
func (s *percent) watch(ctx context.Context, i types.Image) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range snapshotsOf(i) {
		if _, known := s.done[id]; known {
			continue
		}
		if s.cancel == nil {
			ctx, s.cancel = context.WithCancel(ctx)
		}
		s.done[id] = 0
		s.watchers.Go(func() {
			// What goes wrong with a snapshot goes wrong with its image, which tells.
			_, _ = s.p.cloud.WaitSnapshot(ctx, s.p.access, id, func(snap types.Snapshot) (bool, error) {
				n, _ := strconv.ParseInt(strings.TrimSuffix(aws.ToString(snap.Progress), "%"), 10, 64)
				s.tell(id, n, false)
				return snap.State == types.SnapshotStateCompleted || snap.State == types.SnapshotStateError, nil
			})
		})
	}
}

func (s *percent) tell(id string, n int64, ended bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.done[id] = n
	var sum int64
	for _, v := range s.done {
		sum += v
	}
	s.p.sc.Progress(builder.Progress{ID: s.id, Verb: s.verb, Done: sum / int64(len(s.done)), Total: 100, Unit: "%", Ended: ended})
}

// stop ends the watching.
func (s *percent) stop() {
	s.mu.Lock()
	cancel, watched := s.cancel, len(s.done) > 0
	s.mu.Unlock()
	if cancel != nil {
		cancel()
	}
	s.watchers.Wait()
	if watched {
		s.p.sc.Progress(builder.Progress{ID: s.id, Verb: s.verb, Done: 100, Total: 100, Unit: "%", Ended: true})
	}
}
