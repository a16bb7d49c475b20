package imageconfig

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"bake/builder"
	"bake/templates"
)

const (
	hashA = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	hashB = "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
)

const base = `{"architecture":"amd64","os":"linux","author":"somebody","container":"c0ffee","docker_version":"20","created":"2020-01-01T00:00:00Z",
"config":{"Entrypoint":["/old"],"Cmd":["old"],"Env":["PATH=/bin","A=1"],"Labels":{"l":"1"},"ExposedPorts":{"80/tcp":{}},"User":"old","WorkingDir":"/old"},
"rootfs":{"type":"layers","diff_ids":["` + hashA + `"]},"history":[{"created_by":"the base"}]}`

func TestTemplateChangesOnlyWhatItNames(t *testing.T) {
	whole := v1.Config{
		Entrypoint: []string{"/old"}, Cmd: []string{"old"}, Env: []string{"PATH=/bin", "A=1"}, Labels: map[string]string{"l": "1"},
		ExposedPorts: map[string]struct{}{"80/tcp": {}}, User: "old", WorkingDir: "/old",
	}
	for _, tc := range []struct {
		name, config string
		change       func(c *v1.Config)
	}{
		{"nothing", ``, func(*v1.Config) {}},
		{"a new entrypoint takes the base's cmd away", `{"entrypoint":["/app"]}`, func(c *v1.Config) { c.Entrypoint, c.Cmd = []string{"/app"}, nil }},
		{"a new entrypoint with a cmd", `{"entrypoint":"/app","cmd":["x"]}`, func(c *v1.Config) { c.Entrypoint, c.Cmd = []string{"/app"}, []string{"x"} }},
		{"a new cmd keeps the entrypoint", `{"cmd":["x","y"]}`, func(c *v1.Config) { c.Cmd = []string{"x", "y"} }},
		{"environment keeps its order", `{"env":{"Z":"1","B":"2","A":"3"}}`, func(c *v1.Config) { c.Env = []string{"PATH=/bin", "A=3", "B=2", "Z=1"} }},
		{"labels and ports are added", `{"labels":{"m":"2"},"ports":["8080","53/udp"]}`, func(c *v1.Config) {
			c.Labels = map[string]string{"l": "1", "m": "2"}
			c.ExposedPorts = map[string]struct{}{"80/tcp": {}, "8080/tcp": {}, "53/udp": {}}
		}},
		{"user, directory, signal", `{"user":"65532","workdir":"/srv","stop_signal":"SIGQUIT"}`, func(c *v1.Config) {
			c.User, c.WorkingDir, c.StopSignal = "65532", "/srv", "SIGQUIT"
		}},
		{"a check as a command", `{"healthcheck":{"test":"curl -f localhost","interval":"5s","retries":2}}`, func(c *v1.Config) {
			c.Healthcheck = &v1.HealthConfig{Test: []string{"CMD-SHELL", "curl -f localhost"}, Interval: 5 * time.Second, Retries: 2}
		}},
		{"a check as a program", `{"healthcheck":{"test":["curl","-f"]}}`, func(c *v1.Config) {
			c.Healthcheck = &v1.HealthConfig{Test: []string{"CMD", "curl", "-f"}}
		}},
		{"no check", `{"healthcheck":{"disable":true}}`, func(c *v1.Config) { c.Healthcheck = &v1.HealthConfig{Test: []string{"NONE"}} }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := builder.Freezing{Created: time.Unix(1700000000, 0)}
			if tc.config != "" {
				var err error
				if f.Config, err = templates.FromJSON([]byte(tc.config), templates.Pos{}, new(templates.Env)); err != nil {
					t.Fatal(err)
				}
			}
			data, err := Final([]byte(base), []string{hashA, hashB}, []string{"a step"}, f)
			if err != nil {
				t.Fatal(err)
			}
			got, err := v1.ParseConfigFile(strings.NewReader(string(data)))
			if err != nil {
				t.Fatal(err)
			}
			want := *whole.DeepCopy()
			tc.change(&want)
			if diff := cmp.Diff(want, got.Config); diff != "" {
				t.Errorf("config (-want +got):\n%s", diff)
			}
			history := []v1.History{{CreatedBy: "the base"}, {Created: v1.Time{Time: f.Created.UTC()}, CreatedBy: "a step", Comment: "bake"}}
			if diff := cmp.Diff(history, got.History); diff != "" {
				t.Errorf("history (-want +got):\n%s", diff)
			}
			//lint:ignore SA1019 the base has the field
			if got.Author+got.Container+got.DockerVersion != "" || !got.Created.Equal(f.Created) {
				t.Errorf("it tells how it was made: %s", data)
			}
		})
	}
}

func TestLayersMustAddUp(t *testing.T) {
	if _, err := Final([]byte(base), []string{hashA}, []string{"a step"}, builder.Freezing{}); err == nil {
		t.Error("a step without a layer was accepted")
	}
}
