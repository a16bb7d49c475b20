//go:build !linux

package agent

// watchMemory returns when the container is killed or has ended.
func (c *Container) watchMemory() { <-c.killed.Done() }
