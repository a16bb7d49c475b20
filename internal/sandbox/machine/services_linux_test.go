package machine_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"bake/builder"
	"bake/builder/buildertest"
	"bake/internal/need"
	"bake/internal/sandbox/machine"
	"bake/internal/sandbox/machinetest"
	"bake/provisioners"
	"bake/templates"
)

// page is what a machine serves on port 80.
func page(m *machine.Machine) string {
	answer, err := http.Get("http://" + m.Address().String() + "/")
	if err != nil {
		return err.Error()
	}
	defer answer.Body.Close()
	data, err := io.ReadAll(answer.Body)
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(data))
}

// TestAnInstanceOfAnImageServesWhatWasEnabled installs a web server on a Debian
// with and without systemd, and starts another machine from the image.
func TestAnInstanceOfAnImageServesWhatWasEnabled(t *testing.T) {
	if _, err := tunDevice(); err != nil {
		need.Missing(t, "no TUN devices: %v", err)
	}
	for _, packages := range []string{"nginx-light", "systemd nginx-light"} {
		t.Run(packages, func(t *testing.T) {
			l := newLab(t, machine.Base{Fixed: machinetest.Debian(t)})
			spec := l.spec("i-1")
			m := l.start(spec)
			config := l.config(m, m.Login())
			config.Become.User = "root"
			c := l.connectWith(config)
			if err := c.Run(t.Context(), builder.Command{Script: "apt-get update -qq"}); err != nil {
				need.Missing(t, "no packages: %v", err)
			}
			for _, p := range strings.Fields(packages) {
				l.sh(c, "DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "+p+" >/dev/null")
			}
			l.sh(c, "echo baked >/var/www/html/index.html; rm -f /var/www/html/index.nginx-debian.html")
			if strings.Contains(packages, "systemd") {
				// The package's scripts found a machine without systemd when it began.
				if err := m.Reboot(t.Context()); err != nil {
					t.Fatal(err)
				}
				l.booted(m)
			}
			scope := buildertest.Scope(t, builder.Catalog{}, t.TempDir())
			for _, state := range []string{"stopped", "started", "restarted"} {
				service := provisioners.Service{Name: templates.Strings{"nginx"}, Enabled: true, State: state}
				if _, err := service.Provision(t.Context(), scope, c); err != nil {
					t.Fatalf("%s: %v\n%s", state, err, m.Console())
				}
				if state == "stopped" {
					await(t, "nothing to listen", func() bool { return strings.Contains(page(m), "refused") })
				} else {
					await(t, "the page", func() bool { return page(m) == "baked" })
				}
			}
			if err := m.Stop(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := l.host.Snapshot(t.Context(), spec.Disk, "snap-1"); err != nil {
				t.Fatal(err)
			}
			l.base = "snap-1"
			other := l.start(l.spec("i-2"))
			l.booted(other)
			if got := page(other); got != "baked" {
				await(t, fmt.Sprintf("the page of an instance of the image (first: %s)\n%s", got, other.Console()), func() bool { return page(other) == "baked" })
			}
		})
	}
}
