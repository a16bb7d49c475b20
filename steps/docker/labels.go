package docker

import (
	"os"
	"strconv"
	"strings"
	"time"

	"bake/builder"
)

// Labels of containers say whose they are, so that they are found without a
// journal. Step images inherit them emptied: an image is nobody's container.
const (
	labelRun     = "bake.run"
	labelToken   = "bake.token"
	labelBuild   = "bake.build"
	labelHost    = "bake.host"    // machine that bake runs on
	labelExpires = "bake.expires" // when any other machine may remove it; seconds since 1970
)

// Labels of step images and of the images that only hold facts.
const (
	labelKey      = "bake.key"      // of the step
	labelParent   = "bake.parent"   // image id that the step started from
	labelStep     = "bake.step"     // what the step is called
	labelBase     = "bake.base"     // id of the image that a plain image was made from
	labelConfig   = "bake.config"   // config file of an image
	labelArtifact = "bake.artifact" // builder.Image as JSON
)

// lifetime is how long another machine leaves a container alone whose run it
// knows nothing of.
const lifetime = 24 * time.Hour

// containerLabels are the labels of a container that serves a step of a run.
// They override what it would inherit from a step image.
func containerLabels(run builder.RunID, build, token string) map[string]string {
	return map[string]string{
		labelRun: string(run), labelBuild: build, labelToken: token,
		labelHost: hostName(), labelExpires: strconv.FormatInt(time.Now().Add(lifetime).Unix(), 10),
		labelKey: "", labelParent: "", labelStep: "",
	}
}

// stepLabels are the labels of a step's image: its own, and those of
// containers emptied, which it would inherit.
func stepLabels(key builder.SnapshotKey, parent string) map[string]string {
	return map[string]string{
		labelKey: string(key.Key), labelParent: parent, labelStep: key.Step,
		labelRun: "", labelBuild: "", labelToken: "", labelHost: "", labelExpires: "",
	}
}

func hostName() string {
	name, _ := os.Hostname()
	return name
}

// containerName is the name of the container made with a token: stable, so
// that a machine keeps its identity when its container is made anew.
func containerName(build, token string) string {
	clean := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' || r == '.' || r == '-' {
			return r
		}
		return '-'
	}, build)
	return "bake-" + clean + "-" + token[:min(len(token), 24)]
}

func short(digest string) string {
	_, hex, ok := strings.Cut(digest, ":")
	if !ok {
		hex = digest
	}
	return hex[:min(len(hex), 32)]
}
