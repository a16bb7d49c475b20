package image

import (
	"bake/builder"
	"bake/steps/amazon"
)

// Deps is what the outputs need.
type Deps struct {
	Cloud *amazon.Cloud
}

// Outputs returns the kinds of outputs that publish an AMI.
func Outputs(d Deps) map[string]func() builder.Output {
	return map[string]func() builder.Output{
		Kind:              func() builder.Output { return &AMI{deps: d} },
		"ssm_parameter":   func() builder.Output { return &Parameter{deps: d} },
		"launch_template": func() builder.Output { return &LaunchTemplate{deps: d} },
	}
}
