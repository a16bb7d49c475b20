package templates_test

import (
	"flag"
	"testing"

	"bake/builder"
	"bake/provisioners"
	"bake/templates"
	"bake/templates/templatestest"
)

var update = flag.Bool("update", false, "write testdata/templates/invalid/*/want.txt")

const testdata = "../testdata/templates"

func TestInvalidTemplatesSayWhatIsWrong(t *testing.T) {
	templatestest.Invalid(t, testdata+"/invalid", *update, compile)
}

func TestValidTemplatesAreValid(t *testing.T) {
	templatestest.Valid(t, testdata+"/valid", compile)
}

func TestSchemaAgreesWithParse(t *testing.T) {
	templatestest.Schema(t, testdata, catalog().Language())
}

func compile(file string, opts templates.Options) templates.Diagnostics {
	cat := catalog()
	tmpl, diags := templates.Parse(file, cat.Language(), opts)
	if len(diags) > 0 {
		return diags
	}
	_, diags = builder.Compile(tmpl, cat)
	return diags
}

// catalog has the steps that bake has, and stands in for sources and outputs.
func catalog() builder.Catalog {
	return builder.Catalog{
		Provisioners: provisioners.All(),
		Sources: map[string]func() builder.Source{
			"image":    func() builder.Source { return new(image) },
			"rootfs":   func() builder.Source { return new(rootfs) },
			"packages": func() builder.Source { return new(packages) },
			"scratch":  func() builder.Source { return new(scratch) },
			"builtin":  func() builder.Source { return new(builtin) },
			"build":    func() builder.Source { return new(build) },
		},
		Outputs: map[string]func() builder.Output{
			"image":    func() builder.Output { return new(imageOutput) },
			"archive":  func() builder.Output { return new(archive) },
			"registry": func() builder.Output { return new(registry) },
			"manifest": func() builder.Output { return new(manifest) },
		},
	}
}

type image struct {
	builder.Source
	Name     string   `yaml:"name" bake:"main,required"`
	From     string   `yaml:"from" enum:"registry|docker|layout|archive"`
	Tag      string   `yaml:"tag"`
	Pull     string   `yaml:"pull" enum:"always|missing" default:"always"`
	Mirrors  []string `yaml:"mirrors"`
	Insecure bool     `yaml:"insecure"`
}

type rootfs struct {
	builder.Source
	Path     string `yaml:"path" bake:"main,required"`
	Checksum string `yaml:"checksum" pattern:"^sha256:[0-9a-f]{64}$"`
}

type packages struct {
	builder.Source
	Release      string   `yaml:"release" bake:"main,required" pattern:"^[a-z0-9][a-z0-9.-]*$"`
	Distribution string   `yaml:"distribution" enum:"debian|ubuntu" default:"debian"`
	Mirror       string   `yaml:"mirror" pattern:"^(https?|file)://"`
	Include      []string `yaml:"include"`
	Variant      string   `yaml:"variant" enum:"minbase|essential|apt|standard|buildd" default:"minbase"`
	Components   []string `yaml:"components"`
}

type scratch struct {
	builder.Source
	Yes bool `yaml:"scratch" bake:"main" default:"true"`
}

type builtin struct {
	builder.Source
	Yes bool `yaml:"builtin" bake:"main" default:"true"`
}

type build struct {
	builder.Source
	Name string `yaml:"build" bake:"main,required"`
}

type imageOutput struct {
	accepting
	Name string            `yaml:"name" bake:"main,required"`
	Tags templates.Strings `yaml:"tags"`
}

type archive struct {
	accepting
	Path     string `yaml:"path" bake:"main,required"`
	Format   string `yaml:"format" enum:"oci|oci-dir|docker|rootfs" default:"oci"`
	Compress string `yaml:"compress" enum:"none|gzip|zstd"`
}

type registry struct {
	accepting
	Repository string            `yaml:"repository" bake:"main,required"`
	Tags       templates.Strings `yaml:"tags"`
}

type manifest struct {
	accepting
	Path string `yaml:"path" bake:"main,required"`
}

// accepting is an output for container images.
type accepting struct{ builder.Output }

func (accepting) Accepts(k builder.ArtifactKind) bool { return k == builder.ImageArtifact }
