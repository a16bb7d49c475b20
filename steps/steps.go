// Package steps lists what templates may name as sources and outputs, and
// what removes what they make. The lists are values; cmd/bake makes them.
package steps

import (
	"maps"

	"bake/builder"
	"bake/steps/amazon"
	"bake/steps/amazon/ami"
	"bake/steps/amazon/ecr"
	"bake/steps/amazon/ecs"
	"bake/steps/amazon/image"
	"bake/steps/amazon/instance"
	"bake/steps/amazon/keypair"
	"bake/steps/amazon/volume"
	"bake/steps/container"
	"bake/steps/publish"
	"bake/steps/ssh"
)

// Deps is what the kinds need. Engines are asked for when they are needed,
// so that a template can be checked where there is none.
type Deps struct {
	Container container.Deps
	Publish   publish.Deps
	Amazon    *amazon.Cloud
	ECR       ecr.Deps
	// Passphrases of SSH keys; nil: nobody can be asked for them.
	Passphrases *ssh.Passphrases
	// Cleaners of the engines, by kind of resource: "workspace", "container".
	Cleaners []map[string]builder.Cleaner
}

// ECS is what deployments need.
func (d Deps) ECS() ecs.Deps { return ecs.Deps{Cloud: d.Amazon, Registry: d.Publish.Registry} }

// Sources returns every kind of source.
func Sources(d Deps) map[string]func() builder.Source {
	all := container.Sources(d.Container)
	all["ssh"] = ssh.NewSource(d.Passphrases)
	all["ami"] = ami.New(d.Amazon)
	all["build"] = newBase(all["build"], d.Amazon)
	maps.Copy(all, publish.Sources(d.Publish))
	return all
}

// Outputs returns every kind of output.
func Outputs(d Deps) map[string]func() builder.Output {
	all := publish.Outputs(d.Publish)
	all["keypair"] = keypair.New(d.Amazon)
	all["volume"] = volume.New(d.Amazon)
	all["instance"] = instance.New(d.Amazon)
	maps.Copy(all, image.Outputs(image.Deps{Cloud: d.Amazon}))
	maps.Copy(all, ecr.Outputs(d.ECR))
	maps.Copy(all, ecs.Outputs(d.ECS()))
	return all
}

// Cleaners returns what removes each kind of resource.
func Cleaners(d Deps) map[string]builder.Cleaner {
	all := ecs.Cleaners(d.ECS())
	maps.Copy(all, ecr.Cleaners(d.ECR))
	for _, c := range d.Cleaners {
		maps.Copy(all, c)
	}
	maps.Copy(all, image.Cleaners(image.Deps{Cloud: d.Amazon}))
	maps.Copy(all, ami.Cleaners(d.Amazon))
	return all
}
