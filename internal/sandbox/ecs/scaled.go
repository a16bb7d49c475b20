package ecs

import (
	"bake/internal/sandbox/api"
	"bake/internal/sandbox/epoch"
)

// DesiredCount returns a service's desired count; ok is false if there is no
// such service that is active.
func (c *T) DesiredCount(account, regionName, clusterName, name string) (n int32, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	cl := c.region(place{account, regionName}).Clusters[clusterName]
	if cl == nil || cl.Services[name] == nil || cl.Services[name].Status != "ACTIVE" {
		return 0, false
	}
	return cl.Services[name].DesiredCount, true
}

// SetDesiredCount scales a service, as UpdateService does.
func (c *T) SetDesiredCount(account, regionName, clusterName, name string, n int32) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	cl := c.region(place{account, regionName}).Clusters[clusterName]
	if cl == nil || cl.Services[name] == nil || cl.Services[name].Status != "ACTIVE" {
		return api.Errorf("ServiceNotFoundException", "Service not found.")
	}
	s := cl.Services[name]
	s.DesiredCount, s.Steady = n, false
	s.Rollouts[0].DesiredCount, s.Rollouts[0].UpdatedAt = n, epoch.At(c.now())
	s.wake()
	return nil
}
