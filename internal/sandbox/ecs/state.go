package ecs

import (
	"bake/internal/sandbox/ecs/wire"
)

// A region is the state of one account in one region. All of it survives JSON.
type region struct {
	place
	Clusters  map[string]*cluster               // by name
	Families  map[string]*family                // by name
	Settings  map[string]string                 // of the account
	Providers map[string]*wire.CapacityProvider // the caller's own, by name
	Tokens    map[string]string                 // client token of CreateService, RunTask -> what it made
}

// A cluster with what is in it.
type cluster struct {
	wire.Cluster
	Services  map[string]*service                // by name
	Tasks     map[string]*task                   // by id
	Instances map[string]*wire.ContainerInstance // by id
}

// A family is the revisions of one task definition.
type family struct {
	Last      int32
	Revisions map[int32]*revision
}

// A revision is one task definition.
type revision struct {
	wire.TaskDefinition
	Tags []wire.Tag
}

// region returns a place's state. The lock is held.
func (c *T) region(p place) *region {
	r := c.places[p]
	if r == nil {
		r = &region{place: p}
		r.fill()
		c.places[p] = r
	}
	return r
}

// fill makes the maps that JSON may have left out.
func (r *region) fill() {
	if r.Clusters == nil {
		r.Clusters = map[string]*cluster{}
	}
	if r.Families == nil {
		r.Families = map[string]*family{}
	}
	if r.Settings == nil {
		r.Settings = map[string]string{}
	}
	if r.Providers == nil {
		r.Providers = map[string]*wire.CapacityProvider{}
	}
	if r.Tokens == nil {
		r.Tokens = map[string]string{}
	}
}
