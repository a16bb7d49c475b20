package guest

import (
	"testing"
	"time"
)

func TestTimesOfShutdown(t *testing.T) {
	now := time.Date(2026, 11, 22, 23, 50, 0, 0, time.UTC)
	for when, want := range map[string]time.Duration{
		"now": 0, "+0": 0, "+5": 5 * time.Minute, "7": 7 * time.Minute,
		"23:55": 5 * time.Minute, "00:10": 20 * time.Minute, "23:50": 24 * time.Hour,
	} {
		if got, ok := until(when, now); !ok || got != want {
			t.Errorf("%s: %v, %v; want %v", when, got, ok, want)
		}
	}
	for _, when := range []string{"", "soon", "+x", "-1", "25:00"} {
		if got, ok := until(when, now); ok {
			t.Errorf("%q is taken for %v", when, got)
		}
	}
}

func TestUnitsAreReadAsSystemdDoes(t *testing.T) {
	u := &unit{name: "web@blue.service", settings: map[string][]string{}}
	u.read([]byte("[Service]\nExecStart=/bin/old\nExecStart=\nExecStart=-/bin/web --name \"%i one\" $ARGS ${PORT}x \\\n  last\nEnvironment=\"ARGS=a b\" PORT=80\n# no\nType=simple\nRemainAfterExit=yes\n"))
	lines := u.commands("Service.ExecStart", u.environment())
	if len(lines) != 1 || !lines[0].optional {
		t.Fatalf("got %+v", lines)
	}
	want := []string{"/bin/web", "--name", "blue one", "a", "b", "80x", "last"}
	for i, w := range want {
		if i >= len(lines[0].argv) || lines[0].argv[i] != w {
			t.Fatalf("got %q, want %q", lines[0].argv, want)
		}
	}
	if u.get("Service.Type") != "simple" || !u.isTrue("Service.RemainAfterExit") {
		t.Error("settings are lost")
	}
}
