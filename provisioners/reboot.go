package provisioners

import (
	"context"
	"fmt"
	"time"

	"bake/builder"
)

// Reboot restarts the machine and waits until it is back.
type Reboot struct {
	Command string        `yaml:"command" bake:"main" doc:"What restarts the machine; default: its own way."`
	Timeout time.Duration `yaml:"timeout" default:"10m" min:"1s" doc:"How long the machine may take to go and to come back."`
}

// A NoRebootError is a machine that cannot be restarted, such as a container.
type NoRebootError struct{}

func (e *NoRebootError) Error() string { return "rebooting: this machine cannot be restarted" }

// Hint says what to do.
func (e *NoRebootError) Hint() string {
	return "a container has no kernel of its own: leave the step out; machines reached over SSH can be restarted"
}

// Provision restarts the machine.
func (r *Reboot) Provision(ctx context.Context, sc *builder.Scope, comm builder.Communicator) (builder.Outcome, error) {
	machine, ok := builder.As[builder.Rebooter](comm)
	if !ok {
		return builder.Outcome{}, &NoRebootError{}
	}
	began := time.Now()
	if err := machine.Reboot(ctx, sc, r.Command, r.Timeout); err != nil {
		return builder.Outcome{}, err
	}
	return builder.Outcome{Note: fmt.Sprintf("back after %v", time.Since(began).Round(time.Second))}, nil
}
