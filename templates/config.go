package templates

import (
	"regexp"
	"strconv"
	"time"
)

// Config is what `config:` says about how a container of the image starts.
// Engines decode Build.Config into it when its expressions are resolved. A
// field that is not given leaves what the base image has.
type Config struct {
	Entrypoint  Strings           `yaml:"entrypoint" doc:"the program that every container runs; a single string is a program without arguments"`
	Cmd         Strings           `yaml:"cmd" doc:"its default arguments, or the default program"`
	Env         map[string]string `yaml:"env" doc:"environment variables"`
	User        string            `yaml:"user" doc:"user, or user:group, by name or number"`
	Workdir     string            `yaml:"workdir" doc:"the directory that containers start in"`
	Ports       []string          `yaml:"ports" pattern:"^[0-9]{1,5}(/(tcp|udp|sctp))?$" doc:"ports that it listens on: 8080 or 53/udp"`
	Labels      map[string]string `yaml:"labels" doc:"labels of the image"`
	Volumes     []string          `yaml:"volumes" pattern:"^/" doc:"directories that hold data of their own"`
	StopSignal  string            `yaml:"stop_signal" pattern:"^(SIG[A-Z0-9+-]+|[0-9]+)$" doc:"the signal that asks it to stop, like SIGTERM"`
	Healthcheck *Healthcheck      `yaml:"healthcheck" doc:"how to see that a container works"`
	Shell       Strings           `yaml:"shell" doc:"the shell that the shell forms of Docker's tools use"`
	OnBuild     []string          `yaml:"onbuild" doc:"instructions that Docker runs when another image is built from this one"`
}

// Healthcheck is how Docker sees that a container works.
type Healthcheck struct {
	Test        Strings       `yaml:"test" bake:"main" doc:"a shell command, or a program with its arguments as a list"`
	Interval    time.Duration `yaml:"interval" doc:"time between two checks"`
	Timeout     time.Duration `yaml:"timeout" doc:"how long one check may take"`
	StartPeriod time.Duration `yaml:"start_period" doc:"time in which failures do not count"`
	Retries     int           `yaml:"retries" min:"0" doc:"failures in a row that make the container unhealthy"`
	Disable     bool          `yaml:"disable" doc:"switch off the check of the base image"`
}

// Validate checks what the tags cannot say: numbers of ports, and that a
// health check is one.
func (c *Config) Validate(b Block) Diagnostics {
	var diags Diagnostics
	for i, port := range c.Ports {
		if digits := leadingDigits.FindString(port); len(digits) > 4 && digits > "65535" {
			diags = append(diags, b.At("ports", strconv.Itoa(i)).Errorf("port %s is larger than 65535", digits))
		}
	}
	for _, name := range sortedKeys(c.Env) {
		if !environmentName.MatchString(name) {
			diags = append(diags, b.Key("env", name).Errorf("%q is not a name for an environment variable", shorten(name)))
		}
	}
	return diags
}

// Validate checks that there is a test unless the check is disabled.
func (h *Healthcheck) Validate(b Block) Diagnostics {
	switch {
	case h.Disable && b.Has("test"):
		return Diagnostics{b.Key("disable").Errorf("a disabled health check has no test")}
	case !h.Disable && !b.Unresolved() && len(h.Test) == 0:
		return Diagnostics{b.Errorf("the health check has no test")}
	}
	return nil
}

var (
	leadingDigits   = regexp.MustCompile(`^[0-9]+`)
	environmentName = regexp.MustCompile(`^[^=\s]+$`)
)
