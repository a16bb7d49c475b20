package ec2

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"sync"
	"time"

	"bake/internal/sandbox/api"
	"bake/internal/sandbox/machine"
)

// Options are what EC2 needs of the rest of the sandbox. All may be zero.
type Options struct {
	// Machines is the folder of the machines' disks; "": instances are states only.
	Machines string
	Profiles Profiles
	Keys     Keys
	// Organizations may be nil: then no account is in one.
	Organizations Organizations
	// Log is told what went wrong behind the caller's back (a disk that could not be deleted).
	Log func(format string, args ...any)
}

// Profiles are IAM's instance profiles.
type Profiles interface {
	// InstanceProfile finds the profile of an account by name or ARN; ok is
	// false as long as EC2 cannot see it.
	InstanceProfile(account, nameOrARN string) (arn string, ok bool)
}

// Keys are KMS's keys.
type Keys interface {
	// Resolve returns the ARN of the key that an id, an ARN or an alias means,
	// or why the account cannot use it.
	Resolve(account, region, idOrAlias string) (arn string, err error)
	// Shared reports whether other accounts may use the key: not those of AWS ("alias/aws/ebs").
	Shared(account, region, idOrAlias string) bool
}

// A Control is EC2's control plane. It is safe for use by many goroutines.
type Control struct {
	world   *api.World
	options Options
	ctx     context.Context // of the machines: ends with Close
	cancel  context.CancelFunc
	work    sync.WaitGroup
	room    *machineRoom

	mu    sync.Mutex
	state *state
	live  map[string]*guest // by instance

	network  [2]byte // see ownNetwork
	reserved net.Listener
}

// New returns a control plane with nothing in it but Amazon's images.
func New(w *api.World, o Options) *Control {
	if o.Log == nil {
		o.Log = func(string, ...any) {}
	}
	if o.Keys == nil {
		o.Keys = anyKey{}
	}
	ctx, cancel := context.WithCancel(context.Background())
	return &Control{world: w, options: o, ctx: ctx, cancel: cancel, room: newMachineRoom(o.Machines, o.Log), state: newState(), live: map[string]*guest{}}
}

// Close kills all machines and waits for what is under way. States stay as they are.
func (x *Control) Close() error {
	x.cancel()
	x.mu.Lock()
	var all []*machine.Machine
	for _, g := range x.live {
		if g.machine != nil {
			all = append(all, g.machine)
		}
	}
	x.mu.Unlock()
	for _, m := range all {
		x.work.Go(m.Kill)
	}
	x.work.Wait()
	err := x.room.close()
	if x.reserved != nil {
		err = errors.Join(err, x.reserved.Close())
		x.reserved = nil // a second Close has nothing to give back
	}
	return err
}

// Save returns the state as JSON.
func (x *Control) Save() (json.RawMessage, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.settleAll(x.world.Now())
	return json.Marshal(x.state)
}

// Load replaces the state by one that Save returned, and starts the machines
// of the instances that were running then.
func (x *Control) Load(data json.RawMessage) error {
	s := newState()
	if err := json.Unmarshal(data, s); err != nil {
		return err
	}
	for _, r := range s.Regions {
		r.fill()
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.state = s
	x.revive()
	return nil
}

// An op is one call that is being answered: where it is, who calls, and when.
type op struct {
	*Control
	call *api.Call
	r    *region
	me   *account // the caller's, in this region
	now  time.Time
	// after runs once the answer is certain, and outside after that, without the lock; with DryRun neither does.
	after, outside []func()
}

// then has f done after the call has succeeded. All that reaches outside of the state goes through it.
func (o *op) then(f func()) { o.after = append(o.after, f) }

// unlocked has f done after all that, before the answer is sent, by which time the lock is free.
func (o *op) unlocked(f func()) { o.outside = append(o.outside, f) }

// dry is in every request that has DryRun.
type dry struct {
	DryRun bool `q:"DryRun"`
}

func (d *dry) isDry() bool { return d.DryRun }

// act makes an action of a method of op. With DryRun the method runs as ever,
// but on a copy of the state.
func act[In, Out any](x *Control, f func(*op, *In) (*Out, error)) api.Action {
	return api.Do(func(ctx context.Context, c *api.Call, in *In) (*Out, error) {
		var out *Out
		outside, err := x.locked(c, in, func(o *op) (err error) {
			out, err = f(o, in)
			return err
		})
		for _, g := range outside {
			g()
		}
		return out, err
	})
}

// locked answers a call under the lock, and returns what is to be done without it.
func (x *Control) locked(c *api.Call, in any, f func(*op) error) (outside []func(), err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	now := x.world.Now()
	x.settleAll(now)
	if d, ok := in.(interface{ isDry() bool }); ok && d.isDry() {
		return nil, x.rehearse(c, now, f)
	}
	o, err := x.begin(c, now)
	if err != nil {
		return nil, err
	}
	if err := f(o); err != nil {
		return nil, err
	}
	for _, g := range o.after {
		g()
	}
	x.settleAll(now) // what takes no time has been done
	return o.outside, nil
}

// rehearse runs f on a copy of the state and returns its error, or DryRunOperation.
func (x *Control) rehearse(c *api.Call, now time.Time, f func(*op) error) error {
	real := x.state
	defer func() { x.state = real }()
	data, err := json.Marshal(real)
	if err != nil {
		return err
	}
	x.state = newState()
	if err := json.Unmarshal(data, x.state); err != nil {
		return err
	}
	o, err := x.begin(c, now)
	if err == nil {
		err = f(o)
	}
	if err != nil {
		return err
	}
	return api.DryRun()
}

func (x *Control) begin(c *api.Call, now time.Time) (*op, error) {
	r, err := x.region(c.Region, now)
	if err != nil {
		return nil, err
	}
	o := &op{Control: x, call: c, r: r, now: now}
	o.me = o.enter(r, c.Account)
	return o, nil
}
