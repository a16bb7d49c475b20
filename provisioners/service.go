package provisioners

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"bake/builder"
	"bake/internal/shell"
	"bake/templates"
)

// Service says which services start with the machine, and whether they run
// now. While an image is built no service manager runs: then only the former
// is done, and the step says so.
type Service struct {
	Name    templates.Strings `yaml:"name" bake:"main,required" pattern:"^[A-Za-z0-9_@:.\\\\-]+$" doc:"The service, or several."`
	Enabled bool              `yaml:"enabled" default:"true" doc:"Whether it starts with the machine."`
	State   string            `yaml:"state" enum:"started|stopped|restarted" doc:"What it is to be now, if a service manager runs."`
}

// A NoServiceManagerError is a machine whose service manager bake does not know.
type NoServiceManagerError struct{}

func (e *NoServiceManagerError) Error() string {
	return "the machine has no service manager: looked for systemctl, rc-update, update-rc.d, chkconfig"
}

// Hint tells what to do about it.
func (e *NoServiceManagerError) Hint() string {
	return "in a container image the entrypoint starts what it is for: set config.entrypoint instead"
}

// Provision enables or disables the services, and starts or stops them if it can.
func (s *Service) Provision(ctx context.Context, sc *builder.Scope, comm builder.Communicator) (builder.Outcome, error) {
	out := sc.Stdout()
	defer out.Close()
	script := fmt.Sprintf("names=%s\nenabled=%s\nstate=%s\n", shell.Quote(strings.Join(s.Name, " ")), strconv.FormatBool(s.Enabled), s.State) + serviceScript
	answers, err := ask(ctx, comm, script, out)
	if exit, ok := errors.AsType[*builder.ExitError](err); ok {
		switch {
		case len(answers["no-manager"]) > 0:
			return builder.Outcome{}, &NoServiceManagerError{}
		case len(answers["doing"]) > 0:
			doing := answers["doing"]
			return builder.Outcome{}, fmt.Errorf("%s: %w", doing[len(doing)-1], exit)
		}
	}
	if err != nil {
		return builder.Outcome{}, err
	}
	return builder.Outcome{Unchanged: len(answers["changed"]) == 0, Note: strings.Join(answers["note"], "; ")}, nil
}

// serviceScript has, for each manager M, the functions M_is_enabled,
// M_enable, M_disable, M_is_up, M_start, M_stop, M_restart NAME, and
// M_runs, whether it is the one that runs the machine.
const serviceScript = `
say() { printf 'bake:%s\n' "$*"; }

systemd_runs() { [ -d /run/systemd/system ]; }
systemd_is_enabled() { systemctl --quiet is-enabled "$1" >/dev/null 2>&1; }
systemd_enable() { systemctl enable "$1"; }
systemd_disable() { systemctl disable "$1"; }
systemd_is_up() { systemctl --quiet is-active "$1" >/dev/null 2>&1; }
systemd_start() { systemctl start "$1"; }
systemd_stop() { systemctl stop "$1"; }
systemd_restart() { systemctl restart "$1"; }

openrc_runs() { [ -e /run/openrc/softlevel ]; }
openrc_is_enabled() { [ -e "/etc/runlevels/default/$1" ] || [ -e "/etc/runlevels/boot/$1" ] || [ -e "/etc/runlevels/sysinit/$1" ]; }
openrc_enable() { rc-update add "$1" default; }
openrc_disable() { rc-update --all del "$1"; }
openrc_is_up() { rc-service "$1" status >/dev/null 2>&1; }
openrc_start() { rc-service "$1" start; }
openrc_stop() { rc-service "$1" stop; }
openrc_restart() { rc-service "$1" restart; }

sysv_runs() { [ -e /run/initctl ] || [ -e /dev/initctl ]; }
sysv_is_enabled() {
  for l in /etc/rc[2345].d/S[0-9][0-9]"$1" /etc/rc.d/rc[2345].d/S[0-9][0-9]"$1"; do
    if [ -h "$l" ] || [ -e "$l" ]; then return 0; fi
  done
  return 1
}
sysv_enable() {
  [ -e "/etc/init.d/$1" ] || { echo "/etc/init.d/$1 does not exist"; return 1; }
  if command -v update-rc.d >/dev/null 2>&1; then update-rc.d "$1" defaults && update-rc.d "$1" enable; else chkconfig "$1" on; fi
}
sysv_disable() { if command -v update-rc.d >/dev/null 2>&1; then update-rc.d "$1" disable; else chkconfig "$1" off; fi; }
sysv_is_up() { "/etc/init.d/$1" status >/dev/null 2>&1; }
sysv_start() { "/etc/init.d/$1" start; }
sysv_stop() { "/etc/init.d/$1" stop; }
sysv_restart() { "/etc/init.d/$1" restart; }

if command -v systemctl >/dev/null 2>&1; then m=systemd
elif command -v rc-update >/dev/null 2>&1; then m=openrc
elif command -v update-rc.d >/dev/null 2>&1 || command -v chkconfig >/dev/null 2>&1; then m=sysv
else say no-manager; exit 1
fi
changed=
for name in $names; do
  if [ $enabled = true ]; then
    ${m}_is_enabled "$name" || { say "doing enabling $name"; ${m}_enable "$name" >&2; changed=1; }
  elif ${m}_is_enabled "$name"; then
    say "doing disabling $name"; ${m}_disable "$name" >&2; changed=1
  fi
  [ -n "$state" ] || continue
  if ! ${m}_runs; then
    say "note $name is not $state now: no service manager runs while this image is built"
    continue
  fi
  case $state in
    started) ${m}_is_up "$name" || { say "doing starting $name"; ${m}_start "$name" >&2; changed=1; };;
    stopped) if ${m}_is_up "$name"; then say "doing stopping $name"; ${m}_stop "$name" >&2; changed=1; fi;;
    restarted) say "doing restarting $name"; ${m}_restart "$name" >&2; changed=1;;
  esac
done
if [ -n "$changed" ]; then say changed; fi
`
