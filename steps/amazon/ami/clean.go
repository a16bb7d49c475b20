package ami

import (
	"fmt"
	"slices"
	"strings"
)

// The parts of a machine that Clean removes.
const (
	partKeys      = "keys"
	partHostKeys  = "host-keys"
	partMachineID = "machine-id"
	partHistory   = "history"
	partCloudInit = "cloud-init"
	partLogs      = "logs"
)

// script removes from a machine what must not be in its image, and then looks
// for what else must not. publics are the keys that somebody logs in with for
// the build. They go last, in one breath with the machine's own: without them
// nobody gets in any more, and nobody could finish the work.
func (c *Clean) script(publics []string, scan string) string {
	if c != nil && !c.On {
		return scan
	}
	var b strings.Builder
	b.WriteString("trap '' HUP\nexec 2>/dev/null\n")
	for _, part := range []struct{ name, script string }{
		{partHistory, historyScript},
		{partCloudInit, cloudInitScript},
		{partMachineID, machineIDScript},
		{partLogs, logsScript},
		{"", scan},
		{partKeys, keysScript(publics)},
		{partHostKeys, "rm -f /etc/ssh/ssh_host_*_key /etc/ssh/ssh_host_*_key.pub\n"},
	} {
		if !c.keeps(part.name) {
			b.WriteString(part.script)
		}
	}
	b.WriteString("true\n")
	return b.String()
}

// keeps reports whether a part is left as it is.
func (c *Clean) keeps(part string) bool {
	return c != nil && (!c.On && part != "" || slices.Contains(c.Keep, part))
}

const homes = `/root /home/*`

const historyScript = `for h in ` + homes + `; do rm -f "$h"/.bash_history "$h"/.ash_history "$h"/.sh_history "$h"/.zsh_history "$h"/.python_history "$h"/.lesshst "$h"/.viminfo "$h"/.wget-hsts; done
`

// cloud-init shall run on the image's instances as if it had never run. Its
// own command keeps some of it in old versions.
const cloudInitScript = `if command -v cloud-init >/dev/null; then cloud-init clean --logs >/dev/null || cloud-init clean >/dev/null; fi
rm -rf /var/lib/cloud/instance /var/lib/cloud/instances /var/lib/cloud/data /var/lib/cloud/sem
rm -f /etc/sudoers.d/90-bake
`

// An empty machine-id is made anew at the first boot; a missing one makes
// systemd believe that it is the very first boot of all.
const machineIDScript = `if [ -f /etc/machine-id ]; then : >/etc/machine-id; fi
if [ -f /var/lib/dbus/machine-id ] && [ ! -L /var/lib/dbus/machine-id ]; then rm -f /var/lib/dbus/machine-id; fi
rm -f /var/lib/systemd/random-seed /var/lib/dhcp/*.lease* /var/lib/dhclient/*.lease* /var/lib/NetworkManager/*.lease
`

const logsScript = `rm -f /var/log/cloud-init.log /var/log/cloud-init-output.log /var/log/wtmp.1 /var/log/btmp.1
for f in /var/log/wtmp /var/log/btmp /var/log/lastlog /var/log/auth.log /var/log/secure; do [ -f "$f" ] && : >"$f"; done
rm -rf /tmp/bake-* /var/tmp/bake-*
`

// keysScript takes the keys out of every authorized_keys; an empty file goes.
func keysScript(publics []string) string {
	if len(publics) == 0 {
		return ""
	}
	var blobs strings.Builder
	for _, public := range publics {
		blobs.WriteString(" -e " + quote(blobOf(public)))
	}
	return fmt.Sprintf(`for h in %s; do
f="$h/.ssh/authorized_keys"
[ -f "$f" ] || continue
grep -vF%s "$f" >"$f.bake"
cat "$f.bake" >"$f"; rm -f "$f.bake"
[ -s "$f" ] || rm -f "$f"
done
`, homes, blobs.String())
}

// blobOf is a public key without its kind and its comment, which differ.
func blobOf(public string) string {
	if fields := strings.Fields(public); len(fields) > 1 {
		return fields[1]
	}
	return public
}

// syncScript writes everything to the disks. With freeze, file systems take no
// more writes for as long as a snapshot needs to begin: a little script thaws
// them, whatever becomes of the connection.
const syncScript = "sync\n"

// freezeScript freezes every file system on a disk but the root's for a
// moment; the root cannot be frozen by who works on it, and is journaled.
const freezeScript = `sync
frozen=
for m in $(awk '$1 ~ "^/dev/" && $2 != "/" && ($3 == "ext4" || $3 == "xfs" || $3 == "btrfs" || $3 == "ext3") {print $2}' /proc/mounts); do
fsfreeze -f "$m" 2>/dev/null && frozen="$frozen $m"
done
[ -n "$frozen" ] && nohup sh -c "sleep 20; for m in $frozen; do fsfreeze -u \$m; done" </dev/null >/dev/null 2>&1 &
true
`
