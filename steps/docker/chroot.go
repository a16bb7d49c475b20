package docker

import (
	"context"

	"bake/builder"
)

var _ builder.Chrooter = (*communicator)(nil)

// Connection names ansible's docker connection to the container. It starts the
// container, which that connection expects to run; if that fails, ansible says so.
func (c *communicator) Connection() (plugin, host string, vars map[string]string) {
	ctx, cancel := context.WithTimeout(context.Background(), killTimeout)
	defer cancel()
	if c.begin(ctx) == nil {
		_ = c.takeMain().keep()
		c.mu.Lock()
		c.execs++ // ansible's, of which we do not hear
		c.mu.Unlock()
		c.end()
	}
	vars = map[string]string{}
	if ep, err := c.engine.find(); err == nil {
		vars["ansible_docker_extra_args"] = "--host=" + ep.host
		if ep.context != "" {
			vars["ansible_docker_extra_args"] = "--context=" + ep.context
		}
	}
	return "docker", c.id, vars
}
