package ecs

import (
	"encoding/json"
	"fmt"

	"bake/internal/sandbox/epoch"
)

// Save returns the state of all accounts and regions.
func (c *T) Save() (json.RawMessage, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []*region
	for _, r := range c.places {
		all = append(all, r)
	}
	return json.Marshal(all)
}

// Load replaces the state of a T that was just made by what Save
// returned. Tasks that ran then are stopped now; services start others.
func (c *T) Load(data json.RawMessage) error {
	var all []*region
	if err := json.Unmarshal(data, &all); err != nil {
		return fmt.Errorf("reading the state of ECS: %w", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range all {
		r.fill()
		c.places[r.place] = r
		for _, cl := range r.Clusters {
			c.revive(r, cl)
		}
	}
	return nil
}

// revive makes a cluster's state what it is after a restart. The lock is held.
func (c *T) revive(r *region, cl *cluster) {
	for _, t := range cl.Tasks {
		t.stopping, t.stop = c.ctx, func() {} // nothing runs
		if t.LastStatus == statusStopped {
			t.counted = true
			continue
		}
		c.askStop(t, codeTermination, "The sandbox was stopped while the task ran.")
		t.LastStatus, t.counted = statusStopped, true
		t.StoppedAt = epoch.At(c.now())
		for i := range t.Containers {
			t.Containers[i].LastStatus = statusStopped
		}
	}
	for _, s := range cl.Services {
		s.woken = make(chan struct{}, 1)
		if s.Status != "INACTIVE" {
			woken := s.woken
			c.start(func() { c.schedule(r, cl, s, woken) })
		}
	}
}
