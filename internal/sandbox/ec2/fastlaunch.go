package ec2

// A fastLaunch is Windows fast launch: kept and shown, for it changes nothing here.
type fastLaunch struct {
	State string
}
