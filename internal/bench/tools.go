package main

import (
	"context"
	"os/exec"
	"strings"
	"time"
)

// A toolbox maps the programs that a case may need to their paths, "" if one
// is not installed.
type toolbox map[string]string

func findTools(bake string) toolbox {
	t := toolbox{}
	for _, name := range []string{"packer", "docker", "dockerd", "buildah", "skopeo", "crane", "docker-registry", "mmdebstrap", "debootstrap", "ssh", "scp", "rsync"} {
		t[name], _ = exec.LookPath(name)
	}
	t["bake"] = bake
	return t
}

// versions asks each tool who it is.
func (t toolbox) versions(ctx context.Context) map[string]string {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	words := map[string]string{"bake": "version", "packer": "version", "crane": "version"}
	out := map[string]string{}
	for name, path := range t {
		if out[name] = ""; path == "" {
			continue
		}
		word := words[name]
		if word == "" {
			word = "--version"
		}
		text, err := exec.CommandContext(ctx, path, word).CombinedOutput()
		line, _, _ := strings.Cut(strings.TrimSpace(string(text)), "\n")
		if err != nil || line == "" {
			line = "unknown version"
		}
		out[name] = line
	}
	return out
}
