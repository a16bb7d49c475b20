package builder

import (
	"context"
	"time"
)

// A Resource is something bake made that it has to remove again, unless it is kept.
type Resource struct {
	Kind  string `json:"kind"`            // "container", "workspace", "ec2-instance"; the key of Catalog.Cleaners
	Name  string `json:"name"`            // unique within its step
	Where string `json:"where,omitempty"` // region, engine or host
	Token string `json:"token"`           // idempotency token; the API's client token, or a label set at creation
	ID    string `json:"id,omitempty"`    // empty until known
}

// EntryKind says what a journal entry records.
type EntryKind string

// The entries of a journal.
const (
	Began     EntryKind = "began"     // Plan
	Intended  EntryKind = "intended"  // Step, Resource without ID
	Created   EntryKind = "created"   // Step, Resource
	Releasing EntryKind = "releasing" // Step, Resource: it is being removed and must not be used any more
	Released  EntryKind = "released"  // Step, Resource: it is gone
	StepEnd   EntryKind = "step-done" // Step, State, Keep
	Ended     EntryKind = "ended"     // Err if it failed; nothing is left to do or to remove
)

// An Entry is one durable fact about a run.
type Entry struct {
	Time     time.Time `json:"time"`
	Kind     EntryKind `json:"kind"`
	Run      RunID     `json:"run,omitempty"`
	Step     StepID    `json:"step,omitempty"`
	Resource *Resource `json:"resource,omitempty"`
	State    *State    `json:"state,omitempty"`
	Keep     []string  `json:"keep,omitempty"` // tokens of the resources that are the product
	Plan     *Plan     `json:"plan,omitempty"`
	Err      string    `json:"err,omitempty"`
}

// A Journal is the durable record of one run. Safe for concurrent use.
type Journal interface {
	// Append returns nil when the entry is durable: it survives kill -9 and power loss.
	Append(ctx context.Context, e Entry) error
	// Entries returns all entries in the order they were appended.
	Entries(ctx context.Context) ([]Entry, error)
}
