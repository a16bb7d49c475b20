package docker

import "time"

// Lag is how long the engine may take to make a container that it was asked
// for: it goes on with the request when the client dies in the middle of it.
func (cs *containers) Lag() time.Duration { return 15 * time.Second }
