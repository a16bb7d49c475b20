package oci

import (
	"maps"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"bake/templates"
)

// configure changes a config as the template says. What the template does not
// name stays the base's, but for one thing: a new entrypoint without a cmd
// has none, because the base's cmd are arguments of another program.
func configure(c *v1.Config, b templates.Block) error {
	var t templates.Config
	if err := templates.Decode(b, &t).Err(); err != nil {
		return err
	}
	if b.Has("entrypoint") {
		c.Entrypoint, c.Cmd = t.Entrypoint, nil
	}
	if b.Has("cmd") {
		c.Cmd = t.Cmd
	}
	if t.User != "" {
		c.User = t.User
	}
	if t.Workdir != "" {
		c.WorkingDir = t.Workdir
	}
	if t.StopSignal != "" {
		c.StopSignal = t.StopSignal
	}
	if b.Has("shell") {
		c.Shell = t.Shell
	}
	if b.Has("onbuild") {
		c.OnBuild = t.OnBuild
	}
	c.Env = environment(c.Env, t.Env)
	if len(t.Labels) > 0 {
		labels := maps.Clone(c.Labels)
		if labels == nil {
			labels = map[string]string{}
		}
		maps.Copy(labels, t.Labels)
		c.Labels = labels
	}
	c.ExposedPorts = with(c.ExposedPorts, t.Ports, func(p string) string {
		if strings.Contains(p, "/") {
			return p
		}
		return p + "/tcp"
	})
	c.Volumes = with(c.Volumes, t.Volumes, func(v string) string { return v })
	if t.Healthcheck != nil {
		c.Healthcheck = healthcheck(*t.Healthcheck, b.At("healthcheck"))
	}
	return nil
}

// environment changes variables where they stand and adds new ones sorted by name.
func environment(env []string, changes map[string]string) []string {
	env = slices.Clone(env)
	left := maps.Clone(changes)
	for i, e := range env {
		name, _, _ := strings.Cut(e, "=")
		if v, ok := left[name]; ok {
			env[i] = name + "=" + v
			delete(left, name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(left)) {
		env = append(env, name+"="+left[name])
	}
	return env
}

func with(set map[string]struct{}, names []string, as func(string) string) map[string]struct{} {
	if len(names) == 0 {
		return set
	}
	all := map[string]struct{}{}
	maps.Copy(all, set)
	for _, n := range names {
		all[as(n)] = struct{}{}
	}
	return all
}

// healthcheck writes the check as Docker has it: NONE, CMD-SHELL or CMD first.
func healthcheck(h templates.Healthcheck, b templates.Block) *v1.HealthConfig {
	if h.Disable {
		return &v1.HealthConfig{Test: []string{"NONE"}}
	}
	out := &v1.HealthConfig{Interval: h.Interval, Timeout: h.Timeout, StartPeriod: h.StartPeriod, Retries: h.Retries}
	switch {
	case len(h.Test) == 1:
		out.Test = []string{"CMD-SHELL", h.Test[0]}
	case len(h.Test) > 1 && (h.Test[0] == "CMD" || h.Test[0] == "CMD-SHELL" || h.Test[0] == "NONE"):
		out.Test = h.Test
	default:
		out.Test = append([]string{"CMD"}, h.Test...)
	}
	return out
}
